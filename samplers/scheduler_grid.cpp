#include "samplers/scheduler_grid.h"

#include <algorithm>
#include <cmath>

#include <boost/math/distributions/beta.hpp>

#include "core/base/error.h"
#include "core/base/text.h"

namespace thaw {
namespace {

// numpy.linspace: i times the step, the last one exact.
std::vector<double> linspace(double first, double last, int points) {
  std::vector<double> result;
  const double step = points > 1 ? (last - first) / (points - 1) : 0.0;
  for (int i = 0; i + 1 < points; ++i) result.push_back(first + i * step);
  result.push_back(points == 1 ? first : last);
  return result;
}

void round_all(std::vector<double>& values) {
  for (double& value : values) value = std::nearbyint(value);  // halves to even, as numpy
}

}  // namespace

std::vector<double> trailing_times(const SchedulerOptions& options, double first, double total, int steps) {
  const double ratio = total / steps;
  const double delta = (first - ratio) - first;  // numpy.arange takes its step from its first two values
  const auto count = static_cast<int>(std::ceil(first / ratio));
  std::vector<double> times;
  for (int i = 0; i < count; ++i) times.push_back(std::nearbyint(first + i * delta) - 1.0);
  if (times.back() < 0.0)
    throw ConfigError(concat(options.file(), ": timestep_spacing: \"trailing\" with ", steps, " steps of ", total,
                             " timesteps ends at timestep -1 in diffusers (rounding in numpy.arange), which is the "
                             "noisiest one. Take another number of steps."));
  return times;
}

TimestepRule read_timestep_rule(const SchedulerOptions& options) {
  TimestepRule rule;
  const std::string name = options.text("timestep_spacing", {"linspace", "leading", "trailing"});
  rule.spacing = name == "linspace" ? Spacing::kLinspace : name == "leading" ? Spacing::kLeading : Spacing::kTrailing;
  if (rule.spacing == Spacing::kLeading) rule.offset = static_cast<int>(options.integer("steps_offset", 0, 100000));
  return rule;
}

std::vector<double> TimestepRule::times(const SchedulerOptions& options, std::size_t table, int steps) const {
  const auto total = static_cast<double>(table);
  const double noisiest = first > 0.0 ? first : total;
  if (spacing == Spacing::kTrailing) return trailing_times(options, noisiest, total, steps);
  const int points = has_spare_point ? steps + 1 : steps;
  std::vector<double> times;
  if (spacing == Spacing::kLinspace) {
    times = linspace(0.0, noisiest - 1.0, points);
    if (is_rounded) round_all(times);
  } else {
    const double ratio = std::floor(noisiest / points);
    for (int i = 0; i < points; ++i) times.push_back(i * ratio);
  }
  std::reverse(times.begin(), times.end());
  if (has_spare_point) times.pop_back();
  for (double& t : times) t += offset;
  return times;
}

std::vector<double> whole_times(const SchedulerOptions& options, const TimestepRule& rule, const PeerTable& table,
                                int steps) {
  if (steps > static_cast<int>(table.size()))
    options.fail("num_train_timesteps",
                 concat(steps, " steps were asked for, the table has ", table.size(), " timesteps."));
  std::vector<double> times = rule.times(options, table.size(), steps);
  if (times.front() > table.last())
    options.fail("steps_offset",
                 concat("the first timestep would be ", times.front(), ", the table ends at ", table.last(), "."));
  return times;
}

Grid table_grid(const PeerTable& table, std::vector<double> times, std::optional<Level> end) {
  Grid grid{.levels = {}, .times = std::move(times), .path = &variance_preserving()};
  for (const double t : grid.times) grid.levels.push_back(table.level(static_cast<std::size_t>(t)));
  grid.at_time = [table](double t) { return table.level(static_cast<std::size_t>(t)); };
  if (!end) return grid;
  grid.levels.push_back(*end);
  grid.times.push_back(-1.0);
  return grid;
}

std::string grid_yaml(const TimestepRule& rule, const std::string& final) {
  const char* names[] = {"linspace", "leading", "trailing"};
  return concat("{type: ", names[static_cast<int>(rule.spacing)], ", steps: 20",
                rule.offset > 0 ? concat(", offset: ", rule.offset) : "",
                rule.has_spare_point ? ", drop_last: true" : "",
                rule.is_rounded || rule.spacing != Spacing::kLinspace ? "" : ", round: false, interpolation: ratio",
                ", final: ", final, "}");
}

SigmaKind read_sigma_kind(const SchedulerOptions& options) {
  const std::pair<const char*, SigmaKind> kinds[] = {{"use_karras_sigmas", SigmaKind::kKarras},
                                                     {"use_lu_lambdas", SigmaKind::kLu},
                                                     {"use_exponential_sigmas", SigmaKind::kExponential},
                                                     {"use_beta_sigmas", SigmaKind::kBeta},
                                                     {"use_flow_sigmas", SigmaKind::kFlow}};
  SigmaKind found = SigmaKind::kTable;
  std::string first;
  for (const auto& [key, kind] : kinds) {
    if (!options.is_own(key) || !options.flag(key)) continue;
    if (!first.empty()) options.fail(key, concat("contradicts ", first, "; only one of them may be true."));
    first = key;
    found = kind;
  }
  return found;
}

std::vector<double> spaced_sigmas(SigmaKind kind, double low, double high, int steps, double rho) {
  std::vector<double> sigmas;
  if (kind == SigmaKind::kKarras) {
    // Karras et al. 2022, eq. 5.
    const double from = std::pow(high, 1.0 / rho);
    const double to = std::pow(low, 1.0 / rho);
    for (const double ramp : linspace(0.0, 1.0, steps)) sigmas.push_back(std::pow(from + ramp * (to - from), rho));
  } else if (kind == SigmaKind::kBeta) {
    // Lee et al. 2024, "Beta sampling is all you need": quantiles of Beta(0.6, 0.6).
    const boost::math::beta_distribution<double> beta(0.6, 0.6);
    for (const double ramp : linspace(0.0, 1.0, steps)) {
      const double p = 1.0 - ramp;
      const double share = p <= 0.0 ? 0.0 : p >= 1.0 ? 1.0 : boost::math::quantile(beta, p);
      sigmas.push_back(low + share * (high - low));
    }
  } else {
    for (const double lambda : linspace(std::log(high), std::log(low), steps)) sigmas.push_back(std::exp(lambda));
  }
  return sigmas;
}

double shifted(double sigma, double shift) {
  return shift * sigma / (1.0 + (shift - 1.0) * sigma);
}

Grid SigmaGrid::on(const Path& path) const {
  const auto level = [&path](double sigma) -> Level {
    if (&path == &variance_exploding()) return {1.0, sigma};
    if (&path == &linear_path()) return {1.0 - sigma, sigma};
    const double alpha = 1.0 / std::sqrt(sigma * sigma + 1.0);
    return {alpha, sigma * alpha};
  };
  Grid grid{.levels = {}, .times = times, .path = &path};
  for (const double sigma : sigmas) grid.levels.push_back(level(sigma));
  if (repeats_last) return grid;
  grid.levels.push_back(end == 0.0 ? Level{1.0, 0.0} : level(end));
  grid.times.push_back(end == 0.0 ? -1.0 : 0.0);
  return grid;
}

void expect_falling(const SchedulerOptions& options, const SigmaGrid& grid) {
  std::vector<double> all = grid.sigmas;
  if (!grid.repeats_last) all.push_back(grid.end);
  for (std::size_t i = 1; i < all.size(); ++i)
    if (!(all[i] < all[i - 1]))
      throw ConfigError(concat(options.file(), ": ", grid.sigmas.size(), " steps: sigma ", format_short(all[i], 8),
                               " at level ", i, " is not below ", format_short(all[i - 1], 8),
                               " before it, where diffusers divides by 0. Take another number of steps or spacing."));
}

}  // namespace thaw
