#include <cmath>
#include <utility>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/math/grid.h"
#include "core/math/grid_parts.h"

namespace thaw {

Grid make_grid(const Path& path, std::vector<Level> levels) {
  Grid grid{.levels = std::move(levels), .times = {}, .path = &path};
  for (const Level& level : grid.levels) grid.times.push_back(-level.lambda());
  return grid;
}

void expect_grid(const Grid& grid) {
  if (grid.path == nullptr) throw Error(ExitCode::kBug, "grid: has no path");
  if (grid.size() < 2) throw ConfigError(concat("grid: at least 2 levels are needed, got ", grid.size(), "."));
  for (std::size_t i = 0; i < grid.size(); ++i) {
    const Level& level = grid[i];
    if (!std::isfinite(level.alpha) || !std::isfinite(level.sigma) || level.alpha < 0 || level.sigma < 0)
      throw ConfigError(concat("grid: level ", i, " has alpha ", level.alpha, " and sigma ", level.sigma,
                               "; both must be finite and at least 0."));
    if (level.is_clean() && i + 1 < grid.size())
      throw ConfigError(concat("grid: level ", i, " of ", grid.size(), " is clean; only the last may be."));
    if (i > 0 && !(level.lambda() > grid[i - 1].lambda()))
      throw ConfigError(concat("grid: levels must fall in noise: lambda ", level.lambda(), " at level ", i,
                               " does not exceed ", grid[i - 1].lambda(), " before it."));
  }
}

namespace grids {

std::vector<Option> options_with(std::vector<Option> own) {
  std::vector<Option> options{
      {"steps", std::int64_t{20}, "intervals from the noisiest level to the end", 1, 100000},
      Option{.name = "final",
             .fallback = std::string("clean"),
             .help =
                 "where the last step ends: the clean level, or the schedule's smallest noise; then_sigma_min: that "
                 "noise in place of the clean level",
             .choices = {"clean", "sigma_min", "then_sigma_min"}}};
  options.insert(options.end(), own.begin(), own.end());
  return options;
}

std::vector<Option> options_with_drop(std::vector<Option> own) {
  own.insert(own.begin(), Option{"drop_last", false, "space one point more and leave the cleanest out"});
  return options_with(std::move(own));
}

Ask read_ask(const Settings& settings) {
  const std::string& end = settings.text("final");
  return {static_cast<int>(settings.integer("steps")), end == "clean"       ? End::kClean
                                                       : end == "sigma_min" ? End::kSigmaMin
                                                                            : End::kThenSigmaMin};
}

bool read_drop(const Settings& settings, const Ask& ask) {
  const bool drops = settings.flag("drop_last");
  if (drops && ask.end == End::kSigmaMin)
    settings.fail("drop_last", "leaves out the level at which \"final: sigma_min\" ends: use clean or then_sigma_min.");
  return drops;
}

std::vector<double> spaced(double first, double last, int points, bool drops_last) {
  const int intervals = drops_last ? points : points - 1;
  std::vector<double> result;
  for (int i = 0; i < points; ++i) result.push_back(i == 0 ? first : first + (last - first) * i / intervals);
  if (!drops_last && points > 1) result.back() = last;
  return result;
}

Grid close(const Settings& settings, const Schedule& schedule, std::vector<Level> levels, std::vector<double> times,
           const Ask& ask) {
  const bool is_discrete = schedule.discrete_steps() > 0;
  if (ask.end == End::kClean) {
    levels.push_back({1.0, 0.0});
    times.push_back(is_discrete ? -1.0 : 0.0);
  } else if (ask.end == End::kThenSigmaMin) {
    levels.push_back(schedule.at(schedule.t_min()));
    times.push_back(schedule.t_min());
  }
  for (std::size_t i = 1; i < levels.size(); ++i)
    if (!(levels[i].lambda() > levels[i - 1].lambda()))
      settings.fail(ask.end == End::kThenSigmaMin && i + 1 == levels.size() ? "final" : "steps",
                    concat("levels ", i - 1, " and ", i, " do not fall in noise: lambda ",
                           format_short(levels[i - 1].lambda()), " at t = ", format_short(times[i - 1]), ", then ",
                           format_short(levels[i].lambda()), " at t = ", format_short(times[i]), "."));
  Grid grid{.levels = std::move(levels), .times = std::move(times), .path = &schedule.path()};
  if (is_discrete)
    // A schedule on the stack (tests) has no owner to share.
    grid.at_time = [owner = schedule.weak_from_this().lock(), &schedule](double t) { return schedule.at(t); };
  return grid;
}

Grid at_times(const Settings& settings, const Schedule& schedule, std::vector<double> times, const Ask& ask) {
  std::vector<Level> levels;
  for (const double t : times) levels.push_back(schedule.at(t));
  return close(settings, schedule, std::move(levels), std::move(times), ask);
}

Grid at_levels(const Settings& settings, const Schedule& schedule, const std::vector<Level>& levels, const Ask& ask) {
  std::vector<double> times;
  for (const Level& level : levels) times.push_back(schedule.time_of(level.lambda()));
  return close(settings, schedule, levels, std::move(times), ask);
}

Grid at_lambdas(const Settings& settings, const Schedule& schedule, const std::vector<double>& lambdas,
                const Ask& ask) {
  std::vector<Level> levels;
  for (const double lambda : lambdas) levels.push_back(schedule.path().at(lambda));
  return at_levels(settings, schedule, levels, ask);
}

double usable_timesteps(const Schedule& schedule) {
  return schedule.t_max() + 1.0;
}

void expect_table_has(const Settings& settings, const Schedule& schedule, int points) {
  if (schedule.discrete_steps() > 0 && points > usable_timesteps(schedule))
    settings.fail("steps", concat("schedule \"", schedule.name(), "\" has ", usable_timesteps(schedule), " timesteps, ",
                                  points, " levels were asked for."));
}

std::vector<double> trailing_timesteps(const Schedule& schedule, int steps) {
  const double usable = usable_timesteps(schedule);
  // numpy.arange steps by the rounded difference of its first two values, and halves then round to even.
  const double ratio = static_cast<double>(schedule.discrete_steps()) / steps;
  const double stride = (usable - ratio) - usable;
  std::vector<double> times;
  for (int i = 0; i < std::ceil(usable / ratio); ++i) times.push_back(std::nearbyint(usable + i * stride) - 1.0);
  return times;
}

std::vector<double> leading_timesteps(const Settings& settings, const Schedule& schedule, int points, double offset,
                                      bool drops_last) {
  const int spread = drops_last ? points + 1 : points;
  const double stride = std::floor(usable_timesteps(schedule) / spread);
  std::vector<double> times;
  for (int i = spread - 1; i >= spread - points; --i) times.push_back(i * stride + offset);
  if (times.front() > schedule.t_max())
    settings.fail("offset",
                  concat("the first timestep would be ", times.front(), ", the table ends at ", schedule.t_max(), "."));
  return times;
}

double own_end(const Settings& settings, const Schedule& schedule, const char* option, double own) {
  if (std::isfinite(own)) return own;
  settings.fail(option, concat("must be given: schedule \"", schedule.name(),
                               "\" has no signal at t = ", format_double(schedule.t_max()), "."));
}

}  // namespace grids
}  // namespace thaw
