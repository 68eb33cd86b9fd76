#include "samplers/velocity.h"

#include <cmath>

namespace thaw {
namespace {

Expr velocity(Reg x, Reg denoised, const Level& level, const PathSlope& slope) {
  return slope.alpha * Expr(denoised) + (slope.sigma / level.sigma) * (Expr(x) - level.alpha * Expr(denoised));
}

bool is_circle(const Path& path) {
  return path.name() == "variance_preserving" || path.name() == "trigonometric";
}

}  // namespace

double path_time(const Path& path, const Level& level) {
  if (is_circle(path)) return std::atan2(level.sigma / path.largest_sigma(), level.alpha);
  return path.name() == "sub_variance_preserving" ? 1.0 - level.alpha : level.sigma;
}

Level level_at_path_time(const Path& path, double time) {
  if (is_circle(path)) return {std::cos(time), path.largest_sigma() * std::sin(time)};
  if (path.name() == "sub_variance_preserving") return {1.0 - time, time * (2.0 - time)};
  if (path.name() == "variance_exploding") return {1.0, time};
  return {1.0 - time, time};
}

Plan velocity_plan(const Grid& grid, const VelocityScheme& scheme, CleanRule rule) {
  Builder b(grid);
  const Path& path = *grid.path;
  Reg x = b.input();
  for (std::size_t i = 0; i + 1 < grid.size(); ++i) {
    const Level &s = grid[i], &t = grid[i + 1];
    const double from = path_time(path, s), step = path_time(path, t) - from;
    const bool is_short = t.is_clean() && rule == CleanRule::kEuler;
    Expr slope = velocity(x, b.evaluate(x, s), s, path.slope(s));
    Expr mean = (is_short ? 1.0 : scheme.weights[0]) * slope;
    for (std::size_t k = 1; k < scheme.nodes.size() && !is_short; ++k) {
      const Reg stage = b.combine(Expr(x) + (scheme.nodes[k] * step) * slope, Role::kStage);
      const Level at = scheme.nodes[k] == 1.0 ? t : level_at_path_time(path, from + scheme.nodes[k] * step);
      slope = at.is_clean() ? (path.slope(at).alpha / at.alpha) * Expr(stage)
                            : velocity(stage, b.evaluate(stage, at), at, path.slope(at));
      mean += scheme.weights[k] * slope;
    }
    x = b.combine(Expr(x) + step * mean);
    b.mark(x, t);
  }
  return b.finish(x);
}

Option clean_option() {
  return Option{.name = "clean",
                .fallback = std::string("euler"),
                .help = "into the clean level: one Euler step, or the limit of the velocity there (eps = 0, D = x)",
                .choices = {"euler", "limit"}};
}

CleanRule read_clean_rule(const Settings& settings) {
  return settings.text("clean") == "limit" ? CleanRule::kLimit : CleanRule::kEuler;
}

}  // namespace thaw
