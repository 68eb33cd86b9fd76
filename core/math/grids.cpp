#include <algorithm>
#include <cmath>
#include <utility>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/math/grid.h"

namespace thaw {
namespace {

std::vector<Option> grid_options(std::vector<Option> own = {}) {
  std::vector<Option> options{
      {"steps", std::int64_t{20}, "intervals from the noisiest level to the end", 1, 100000},
      Option{.name = "final",
             .fallback = std::string("clean"),
             .help = "where the last step ends: the clean level, or the schedule's smallest noise",
             .choices = {"clean", "sigma_min"}}};
  options.insert(options.end(), own.begin(), own.end());
  return options;
}

struct Ask {
  int steps;
  bool ends_clean;
  int points() const { return ends_clean ? steps : steps + 1; }  // noisy levels
};

Ask read_ask(const Settings& settings) {
  return {static_cast<int>(settings.integer("steps")), settings.text("final") == "clean"};
}

// Noisy levels at `times`, then the clean one if asked for.
Grid grid_at_times(const Schedule& schedule, std::vector<double> times, const Ask& ask) {
  Grid grid{.levels = {}, .times = {}, .path = &schedule.path()};
  for (const double t : times) grid.levels.push_back(schedule.at(t));
  grid.times = std::move(times);
  if (ask.ends_clean) {
    grid.levels.push_back({1.0, 0.0});
    grid.times.push_back(schedule.discrete_steps() > 0 ? -1.0 : 0.0);
  }
  return grid;
}

Grid grid_at_lambdas(const Schedule& schedule, const std::vector<double>& lambdas, const Ask& ask) {
  std::vector<double> times;
  for (const double lambda : lambdas) times.push_back(schedule.time_of(lambda));
  Grid grid = grid_at_times(schedule, std::move(times), ask);
  // The schedule may not reach lambdas a user has given; the level is on the path all the same.
  for (std::size_t i = 0; i < lambdas.size(); ++i) grid.levels[i] = schedule.path().at(lambdas[i]);
  return grid;
}

void expect_table_has(const Schedule& schedule, int points, const Settings& settings) {
  const std::int64_t table = schedule.discrete_steps();
  if (table > 0 && points > table)
    settings.fail("steps", concat("schedule \"", schedule.name(), "\" has ", table, " timesteps, ", points,
                                  " levels were asked for."));
}

// Points from `first` down to `last`, both included; a single one is the first.
std::vector<double> spaced(double first, double last, int points) {
  std::vector<double> result;
  for (int i = 0; i + 1 < points; ++i) result.push_back(first + (last - first) * i / (points - 1));
  result.push_back(points == 1 ? first : last);
  return result;
}

Grid make_trailing(const Settings& settings, const Schedule& schedule) {
  const Ask ask = read_ask(settings);
  const std::int64_t table = schedule.discrete_steps();
  expect_table_has(schedule, ask.points(), settings);
  std::vector<double> times;
  for (int i = 0; i < ask.steps; ++i) {
    const double left = 1.0 - static_cast<double>(i) / ask.steps;
    // Lin et al. 2023, table 2, on tables: round(T left) - 1, halves to even as numpy rounds.
    if (table > 0)
      times.push_back(std::nearbyint(static_cast<double>(table) - i * (static_cast<double>(table) / ask.steps)) - 1.0);
    else if (ask.ends_clean)
      times.push_back(schedule.t_max() * left);
    else
      times.push_back(schedule.t_min() + (schedule.t_max() - schedule.t_min()) * left);
  }
  if (!ask.ends_clean) times.push_back(schedule.t_min());
  // A step finer than t_min would leave the schedule: those times count as t_min, and two of them are one level.
  if (table == 0 && ask.ends_clean && times.back() < schedule.t_min()) {
    if (times.size() > 1 && times[times.size() - 2] <= schedule.t_min())
      settings.fail("steps", concat("steps of ", format_short(schedule.t_max() / ask.steps),
                                    " are finer than t_min = ", format_short(schedule.t_min()), "."));
    times.back() = schedule.t_min();
  }
  return grid_at_times(schedule, std::move(times), ask);
}

Grid make_leading(const Settings& settings, const Schedule& schedule) {
  const Ask ask = read_ask(settings);
  const std::int64_t table = schedule.discrete_steps();
  const std::int64_t offset = table > 0 ? settings.integer("offset") : 0;
  // With an offset the last point of the table is not 0 yet, so that sigma_min takes one more level.
  const bool adds_end = !ask.ends_clean && offset > 0;
  const int points = adds_end ? ask.steps : ask.points();
  expect_table_has(schedule, points, settings);
  std::vector<double> times;
  for (int i = points - 1; i >= 0; --i) {
    if (table > 0)
      times.push_back(static_cast<double>(i * (table / points) + offset));
    else
      times.push_back(schedule.t_min() + (schedule.t_max() - schedule.t_min()) * i / points);
  }
  if (table > 0 && times.front() > schedule.t_max())
    settings.fail("offset",
                  concat("the first timestep would be ", times.front(), ", the table ends at ", schedule.t_max(), "."));
  if (adds_end) times.push_back(0.0);
  return grid_at_times(schedule, std::move(times), ask);
}

Grid make_linspace(const Settings& settings, const Schedule& schedule) {
  const Ask ask = read_ask(settings);
  expect_table_has(schedule, ask.points(), settings);
  std::vector<double> times = spaced(schedule.t_max(), schedule.t_min(), ask.points());
  if (schedule.discrete_steps() > 0)
    for (double& t : times) t = std::nearbyint(t);
  return grid_at_times(schedule, std::move(times), ask);
}

// The schedule's own end of a range, which a grid in sigma / alpha or in lambda can only use where there is signal.
double own_end(const Settings& settings, const Schedule& schedule, const char* option, double own) {
  if (std::isfinite(own)) return own;
  settings.fail(option, concat("must be given: schedule \"", schedule.name(),
                               "\" has no signal at t = ", format_double(schedule.t_max()), "."));
}

Grid make_karras(const Settings& settings, const Schedule& schedule) {
  const Ask ask = read_ask(settings);
  double low = settings.number("sigma_min");
  double high = settings.number("sigma_max");
  if (low == 0.0) low = schedule.at(schedule.t_min()).rho();
  if (high == 0.0) high = own_end(settings, schedule, "sigma_max", schedule.at(schedule.t_max()).rho());
  if (!(low < high)) settings.fail("sigma_max", concat("must be above sigma_min ", low, ", got ", high, "."));
  const double rho = settings.number("rho");
  std::vector<double> lambdas;
  for (const double root : spaced(std::pow(high, 1.0 / rho), std::pow(low, 1.0 / rho), ask.points()))
    lambdas.push_back(-rho * std::log(root));
  return grid_at_lambdas(schedule, lambdas, ask);
}

Grid make_uniform_lambda(const Settings& settings, const Schedule& schedule) {
  const Ask ask = read_ask(settings);
  std::vector<double> range = settings.numbers("range");
  if (range.empty())
    range = {own_end(settings, schedule, "range", schedule.lambda(schedule.t_max())),
             schedule.lambda(schedule.t_min())};
  if (range.size() != 2 || !(range[0] < range[1]))
    settings.fail("range", "must be two rising numbers, the lambda of the first and of the last noisy level.");
  return grid_at_lambdas(schedule, spaced(range[0], range[1], ask.points()), ask);
}

}  // namespace

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

void register_grid_trailing(GridRegistry& registry) {
  registry.add({{.name = "trailing",
                 .summary = "even in t from t_max; the last interval ends at the clean level",
                 .source = "Lin et al. 2023, table 2; linspace(1, 1/N, N) of flow pipelines",
                 .options = grid_options()},
                make_trailing});
}

void register_grid_leading(GridRegistry& registry) {
  registry.add({{.name = "leading",
                 .summary = "even in t, ending next to the clean level and starting below t_max",
                 .source = "Lin et al. 2023, table 2; Song et al. 2021 (DDIM)",
                 .options = grid_options({{"offset", std::int64_t{0},
                                           "added to the timesteps of a table (Stable "
                                           "Diffusion: 1)",
                                           0, 1000}})},
                make_leading});
}

void register_grid_linspace(GridRegistry& registry) {
  registry.add({{.name = "linspace",
                 .summary = "even in t from t_max to t_min, both included",
                 .source = "Lin et al. 2023, table 2; Nichol and Dhariwal 2021",
                 .options = grid_options()},
                make_linspace});
}

void register_grid_karras(GridRegistry& registry) {
  registry.add({{.name = "karras",
                 .summary = "sigma / alpha to the power 1 / rho even in steps",
                 .source = "Karras et al. 2022, eq. 5",
                 .options = grid_options({{"rho", 7.0, "7 refines the clean end, 1 is even", 0.1, 100.0},
                                          {"sigma_min", 0.0, "smallest sigma / alpha; 0: the schedule's", 0.0, 1e9},
                                          {"sigma_max", 0.0, "largest sigma / alpha; 0: the schedule's", 0.0, 1e9}}),
                 .traits = {"refuses_alpha_zero"}},
                make_karras});
}

void register_grid_uniform_lambda(GridRegistry& registry) {
  registry.add({{.name = "uniform_lambda",
                 .summary = "even in lambda = ln(alpha / sigma)",
                 .source = "Lu et al. 2022 (DPM-Solver), section 3.4, \"logSNR\"",
                 .options = grid_options({{"range", std::vector<double>{},
                                           "[first, last] lambda of the noisy levels; "
                                           "empty: the schedule's",
                                           -16.0, 16.0}}),
                 .traits = {"refuses_alpha_zero"}},
                make_uniform_lambda});
}

}  // namespace thaw
