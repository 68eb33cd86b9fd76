// Grids that are even in the schedule's own time, or in a warp of it.

#include <cmath>
#include <numbers>
#include <utility>

#include "core/base/text.h"
#include "core/math/grid.h"
#include "core/math/grid_parts.h"

namespace thaw {
namespace {

using namespace grids;

// A step finer than t_min would leave the schedule: those times count as t_min, and two of them are one level.
void expect_coarser_than_t_min(const Settings& settings, const Schedule& schedule, std::vector<double>& times) {
  if (!(times.back() < schedule.t_min())) return;
  if (times.size() > 1 && times[times.size() - 2] <= schedule.t_min())
    settings.fail("steps", concat("steps of ", format_short(times[times.size() - 2] - times.back()),
                                  " are finer than t_min = ", format_short(schedule.t_min()), "."));
  times.back() = schedule.t_min();
}

// Times warp(1), warp(1 - 1 / N) ... of a continuous schedule: towards t = 0 before the clean level, to t_min else.
template <class Warp>
Grid toward_clean(const Settings& settings, const Schedule& schedule, const Ask& ask, Warp warp) {
  std::vector<double> times;
  for (int i = 0; i < ask.steps; ++i) {
    const double left = warp(1.0 - static_cast<double>(i) / ask.steps);
    times.push_back(ask.end != End::kSigmaMin ? schedule.t_max() * left
                                              : schedule.t_min() + (schedule.t_max() - schedule.t_min()) * left);
  }
  if (ask.end == End::kSigmaMin)
    times.push_back(schedule.t_min());
  else
    expect_coarser_than_t_min(settings, schedule, times);
  return at_times(settings, schedule, std::move(times), ask);
}

// Timesteps of a table that stop before 0, so that every end but the clean one is one more level.
Grid short_of_zero(const Settings& settings, const Schedule& schedule, std::vector<double> times, Ask ask) {
  expect_table_has(settings, schedule, ask.points());
  if (ask.end == End::kSigmaMin) ask.end = End::kThenSigmaMin;
  return at_times(settings, schedule, std::move(times), ask);
}

Grid make_trailing(const Settings& settings, const Schedule& schedule) {
  const Ask ask = read_ask(settings);
  if (schedule.discrete_steps() > 0)
    return short_of_zero(settings, schedule, trailing_timesteps(schedule, ask.steps), ask);
  return toward_clean(settings, schedule, ask, [](double left) { return left; });
}

Grid make_leading(const Settings& settings, const Schedule& schedule) {
  Ask ask = read_ask(settings);
  const bool drops = read_drop(settings, ask);
  expect_table_has(settings, schedule, ask.points());
  if (schedule.discrete_steps() == 0) {
    const int spread = drops ? ask.points() + 1 : ask.points();
    std::vector<double> times;
    for (int i = spread - 1; i >= spread - ask.points(); --i)
      times.push_back(schedule.t_min() + (schedule.t_max() - schedule.t_min()) * i / spread);
    return at_times(settings, schedule, std::move(times), ask);
  }
  // With an offset the last point of the table is not 0 yet, so that sigma_min takes one more level.
  const auto offset = static_cast<double>(settings.integer("offset"));
  if (ask.end == End::kSigmaMin && offset > 0.0) ask.end = End::kThenSigmaMin;
  return at_times(settings, schedule, leading_timesteps(settings, schedule, ask.points(), offset, drops), ask);
}

// Between two timesteps diffusers' Euler and its kin interpolate sigma / alpha; we interpolate lambda.
Level at_ratio(const Schedule& schedule, double t) {
  const double below = std::floor(t);
  if (t == below) return schedule.at(t);
  const double low = schedule.at(below).rho(), high = schedule.at(below + 1.0).rho();
  return schedule.path().at(-std::log(low + (t - below) * (high - low)));
}

Grid even_timesteps(const Settings& settings, const Schedule& schedule, const Ask& ask, bool drops, bool rounds) {
  if (rounds) expect_table_has(settings, schedule, ask.points());
  // From the clean end up, as numpy.linspace does, so that halves round as its do.
  const int intervals = drops ? ask.points() : ask.points() - 1;
  const double stride = intervals > 0 ? schedule.t_max() / intervals : 0.0;
  std::vector<double> times{schedule.t_max()};
  for (int i = intervals - 1; i > intervals - ask.points(); --i)
    times.push_back(rounds ? std::nearbyint(i * stride) : i * stride);
  if (rounds || settings.text("interpolation") == "lambda") return at_times(settings, schedule, std::move(times), ask);
  std::vector<Level> levels;
  for (const double t : times) levels.push_back(at_ratio(schedule, t));
  return close(settings, schedule, std::move(levels), std::move(times), ask);
}

Grid make_linspace(const Settings& settings, const Schedule& schedule) {
  const Ask ask = read_ask(settings);
  const bool drops = read_drop(settings, ask);
  if (schedule.discrete_steps() > 0) return even_timesteps(settings, schedule, ask, drops, settings.flag("round"));
  return at_times(settings, schedule, spaced(schedule.t_max(), schedule.t_min(), ask.points(), drops), ask);
}

Grid make_sgm_uniform(const Settings& settings, const Schedule& schedule) {
  Ask ask = read_ask(settings);
  if (ask.end == End::kSigmaMin) {  // the point left out is t_min: it comes back as the end
    const std::vector<double> times = spaced(schedule.t_max(), schedule.t_min(), ask.points());
    return at_times(settings, schedule, times, ask);
  }
  std::vector<double> times = spaced(schedule.t_max(), schedule.t_min(), ask.points(), true);
  if (settings.flag("floor")) {
    if (schedule.discrete_steps() == 0) settings.fail("floor", "needs a schedule with a table.");
    for (double& t : times) t = std::floor(t);
  }
  return at_times(settings, schedule, std::move(times), ask);
}

Grid make_simple(const Settings& settings, const Schedule& schedule) {
  const Ask ask = read_ask(settings);
  if (schedule.discrete_steps() == 0) return toward_clean(settings, schedule, ask, [](double left) { return left; });
  const double stride = usable_timesteps(schedule) / ask.steps;
  std::vector<double> times;
  for (int i = 0; i < ask.steps; ++i) times.push_back(schedule.t_max() - std::floor(i * stride));
  return short_of_zero(settings, schedule, std::move(times), ask);
}

Grid make_lcm(const Settings& settings, const Schedule& schedule) {
  const Ask ask = read_ask(settings);
  const auto original = static_cast<double>(settings.integer("original_steps"));
  if (ask.steps > original)
    settings.fail("original_steps", concat("must be at least steps ", ask.steps, ", got ", original, "."));
  const double stride = original / ask.steps;  // a float, as numpy.linspace has it
  const auto left = [&](int i) { return original - std::floor(i * stride); };
  if (schedule.discrete_steps() == 0)
    return toward_clean(settings, schedule, ask, [&](double share) {
      return left(static_cast<int>(std::lround((1.0 - share) * ask.steps))) / original;
    });
  const double table = usable_timesteps(schedule);
  if (original > table)
    settings.fail("original_steps", concat("must be at most the ", table, " timesteps of schedule \"", schedule.name(),
                                           "\", got ", original, "."));
  std::vector<double> times;
  for (int i = 0; i < ask.steps; ++i) times.push_back(left(i) * std::floor(table / original) - 1.0);
  return short_of_zero(settings, schedule, std::move(times), ask);
}

Grid make_crash(const Settings& settings, const Schedule& schedule) {
  // sigma = sin^2(pi s / 2) on the cosine schedule, whose sigma is sin(pi t / 2).
  return toward_clean(settings, schedule, read_ask(settings), [](double s) {
    const double sine = std::sin(0.5 * std::numbers::pi * s);
    return 2.0 / std::numbers::pi * std::asin(sine * sine);
  });
}

}  // namespace

void register_grid_trailing(GridRegistry& registry) {
  registry.add({{.name = "trailing",
                 .summary = "even in t from t_max; the last interval ends at the clean level",
                 .source = "Lin et al. 2023, table 2; linspace(1, 1/N, N) of flow pipelines",
                 .options = options_with()},
                make_trailing});
}

void register_grid_leading(GridRegistry& registry) {
  registry.add({{.name = "leading",
                 .summary = "even in t, ending next to the clean level and starting below t_max",
                 .source = "Lin et al. 2023, table 2; Song et al. 2021 (DDIM)",
                 .options = options_with_drop({{"offset", std::int64_t{0},
                                                "added to the timesteps of a table (Stable Diffusion: 1)", 0, 1000}})},
                make_leading});
}

void register_grid_linspace(GridRegistry& registry) {
  registry.add({{.name = "linspace",
                 .summary = "even in t from t_max to t_min, both included",
                 .source = "Lin et al. 2023, table 2; Nichol and Dhariwal 2021",
                 .options = options_with_drop(
                     {{"round", true, "whole timesteps of a table"},
                      Option{.name = "interpolation",
                             .fallback = std::string("lambda"),
                             .help = "what is linear between two timesteps of a table (diffusers' Euler: ratio, which "
                                     "is sigma / alpha)",
                             .choices = {"lambda", "ratio"}}})},
                make_linspace});
}

void register_grid_simple(GridRegistry& registry) {
  registry.add({{.name = "simple",
                 .summary = "every (T / N)th level of a table, from the noisiest; else as trailing",
                 .source = "k-diffusion front ends, scheduler \"simple\"",
                 .options = options_with()},
                make_simple});
}

void register_grid_sgm_uniform(GridRegistry& registry) {
  registry.add({{.name = "sgm_uniform",
                 .summary = "even in t from t_max, real valued, the point at t_min left out",
                 .source = "Stability AI generative-models, LegacyDDPMDiscretization",
                 .options = options_with({{"floor", false, "whole timesteps of a table, rounded down"}})},
                make_sgm_uniform});
}

void register_grid_lcm(GridRegistry& registry) {
  registry.add({{.name = "lcm",
                 .summary = "spread over the timesteps that a distilled model was trained on",
                 .source = "Luo et al. 2023 (LCM), released code; diffusers LCMScheduler and TCDScheduler",
                 .options = options_with({{"original_steps", std::int64_t{50},
                                           "timesteps of the distillation, evenly spaced", 1, 1000000}})},
                make_lcm});
}

void register_grid_crash(GridRegistry& registry) {
  registry.add({{.name = "crash",
                 .summary = "t = 2 / pi asin(sin^2(pi s / 2)), s even: dense at both ends",
                 .source = "Crowson 2021, v-diffusion, \"crash\" schedule; diffusers IPNDMScheduler",
                 .options = options_with()},
                make_crash});
}

}  // namespace thaw
