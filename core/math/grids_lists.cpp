// Grids of published or given levels.

#include <algorithm>
#include <array>
#include <cmath>
#include <span>
#include <utility>

#include "core/base/text.h"
#include "core/math/grid.h"
#include "core/math/grid_parts.h"

namespace thaw {
namespace {

using namespace grids;

// Sabour et al. 2024, the authors' page: sigma / alpha for 10 steps, and the level they end at; timesteps where they
// have published some.
struct AlignedSteps {
  const char* model;
  std::array<double, 11> ratios;
  std::array<double, 10> timesteps;
};
constexpr AlignedSteps kAligned[] = {
    {"sd15",
     {14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029},
     {999, 850, 736, 645, 545, 455, 343, 233, 124, 24}},
    {"sdxl",
     {14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.029},
     {999, 845, 730, 587, 443, 310, 193, 116, 53, 13}},
    {"svd", {700.00, 54.5, 15.886, 7.977, 4.248, 1.789, 0.981, 0.403, 0.173, 0.034, 0.002}, {}},
};

// Logarithms linear in the share of the way, as the authors resample their tables.
double log_linear(std::span<const double> values, double share) {
  const double place = share * static_cast<double>(values.size() - 1);
  const auto i = std::min(static_cast<std::size_t>(place), values.size() - 2);
  const double part = place - static_cast<double>(i);
  if (part == 0.0) return values[i];
  if (part == 1.0) return values[i + 1];
  return std::exp(std::log(values[i]) + part * std::log(values[i + 1] / values[i]));
}

Grid aligned_timesteps(const Settings& settings, const Schedule& schedule, const AlignedSteps& table, const Ask& ask) {
  if (table.timesteps[0] == 0.0) settings.fail("by", concat("\"timestep\" is not published for ", table.model, "."));
  if (ask.steps != 10) settings.fail("steps", concat("timesteps are published for 10 steps, got ", ask.steps, "."));
  if (schedule.discrete_steps() != 1000)
    settings.fail("by", concat("\"timestep\" needs a schedule of 1000 timesteps; \"", schedule.name(), "\" has ",
                               schedule.discrete_steps(), "."));
  std::vector<double> times(table.timesteps.begin(), table.timesteps.end());
  Ask closed = ask;
  if (closed.end == End::kSigmaMin) closed.end = End::kThenSigmaMin;
  return at_times(settings, schedule, std::move(times), closed);
}

Grid make_ays(const Settings& settings, const Schedule& schedule) {
  const Ask ask = read_ask(settings);
  const auto* table = std::find_if(std::begin(kAligned), std::end(kAligned),
                                   [&](const AlignedSteps& one) { return settings.text("model") == one.model; });
  if (settings.text("by") == "timestep") return aligned_timesteps(settings, schedule, *table, ask);
  std::vector<double> lambdas;
  for (int i = 0; i < ask.points(); ++i)
    lambdas.push_back(-std::log(log_linear(table->ratios, static_cast<double>(i) / ask.steps)));
  return at_lambdas(settings, schedule, lambdas, ask);
}

bool falls_in_noise(const std::string& by, double from, double to) {
  return by == "lambda" ? from < to : from > to;
}

// The clean end a list of noise scales may bring along is the end's to add.
std::vector<double> read_levels(const Settings& settings, const std::string& by, const Ask& ask) {
  std::vector<double> values = settings.numbers("levels");
  for (std::size_t i = 1; i < values.size(); ++i)
    if (!falls_in_noise(by, values[i - 1], values[i]))
      settings.fail("levels", concat("must ", by == "lambda" ? "rise" : "fall", ": entry ", i, " is ", values[i - 1],
                                     " and entry ", i + 1, " is ", values[i], "."));
  const bool is_scale = by == "ratio" || by == "sigma";
  if (is_scale && !values.empty() && values.back() == 0.0) {
    if (ask.end != End::kClean) settings.fail("levels", "ends at 0, which only \"final: clean\" does.");
    values.pop_back();
  }
  if (is_scale && !values.empty() && values.back() < 0.0)
    settings.fail("levels", concat("entry ", values.size(), " is ", values.back(), "; noise is at least 0."));
  return values;
}

void expect_within(const Settings& settings, const std::vector<double>& values, double low, double high,
                   const std::string& whose) {
  for (std::size_t i = 0; i < values.size(); ++i)
    if (values[i] < low || values[i] > high)
      settings.fail("levels",
                    concat("entry ", i + 1, " is ", values[i], "; ", whose, " runs from ", low, " to ", high, "."));
}

Grid make_list(const Settings& settings, const Schedule& schedule) {
  Ask ask = read_ask(settings);
  const std::string& by = settings.text("by");
  const std::vector<double> values = read_levels(settings, by, ask);
  const int intervals = static_cast<int>(values.size()) - (ask.end == End::kSigmaMin ? 1 : 0);
  if (intervals < 1) settings.fail("levels", concat("gives ", intervals, " steps, at least 1 is needed."));
  if (settings.integer("steps") != 0 && settings.integer("steps") != intervals)
    settings.fail("steps", concat("the list has ", intervals, " steps, got ", ask.steps, "."));
  ask.steps = intervals;
  if (by == "time") {
    expect_within(settings, values, schedule.t_min(), schedule.t_max(), concat("schedule \"", schedule.name(), "\""));
    return at_times(settings, schedule, values, ask);
  }
  std::vector<Level> levels;
  if (by == "sigma")
    expect_within(settings, values, 0.0, schedule.path().largest_sigma(), concat("path ", schedule.path().name()));
  for (const double value : values)
    levels.push_back(by == "sigma" ? schedule.path().at_sigma(value)
                                   : schedule.path().at(by == "lambda" ? value : -std::log(value)));
  return at_levels(settings, schedule, levels, ask);
}

}  // namespace

void register_grid_ays(GridRegistry& registry) {
  registry.add(
      {{.name = "ays",
        .summary = "published optima for Stable Diffusion 1.5, XL and Video; other counts log-linearly between",
        .source = "Sabour et al. 2024 (Align Your Steps), the authors' page; diffusers AysSchedules",
        .options = options_with({Option{.name = "model",
                                        .fallback = std::string("sd15"),
                                        .help = "the model the levels were fitted to",
                                        .choices = {"sd15", "sdxl", "svd"}},
                                 Option{.name = "by",
                                        .fallback = std::string("ratio"),
                                        .help = "which published table: sigma / alpha, or timesteps",
                                        .choices = {"ratio", "timestep"}}}),
        .traits = {"own_ends"}},
       make_ays});
}

void register_grid_list(GridRegistry& registry) {
  std::vector<Option> options =
      options_with({Option{.name = "levels",
                           .fallback = std::vector<double>{},
                           .help = "noisy levels from the noisiest on",
                           .required = true},
                    Option{.name = "by",
                           .fallback = std::string("ratio"),
                           .help = "what the numbers are: sigma / alpha (EDM's sigma), sigma, "
                                   "lambda, or the schedule's time",
                           .choices = {"ratio", "sigma", "lambda", "time"}}});
  options.front() = {"steps", std::int64_t{0}, "must be the number of steps of the list; 0: whatever it is", 0, 100000};
  registry.add({{.name = "list",
                 .summary = "the levels given",
                 .source = "the list of a configuration",
                 .options = std::move(options),
                 .traits = {"own_ends"}},
                make_list});
}

}  // namespace thaw
