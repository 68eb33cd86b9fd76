// Grids that space a noise scale between two ends: sigma / alpha, sigma, lambda, the angle, or time by quantiles.

#include <algorithm>
#include <boost/math/special_functions/beta.hpp>
#include <cmath>
#include <numbers>
#include <utility>

#include "core/base/text.h"
#include "core/math/grid.h"
#include "core/math/grid_parts.h"

namespace thaw {
namespace {

using namespace grids;

// First and last noisy time a grid runs between: the schedule's own, or those that a spacing of timesteps would have.
std::pair<double, double> end_times(const Settings& settings, const Schedule& schedule, const Ask& ask) {
  const std::string& ends = settings.text("ends");
  if (ends == "schedule") return {schedule.t_max(), schedule.t_min()};
  if (schedule.discrete_steps() == 0) settings.fail("ends", concat("\"", ends, "\" needs a schedule with a table."));
  expect_table_has(settings, schedule, ask.points());
  const std::vector<double> times =
      ends == "trailing"
          ? trailing_timesteps(schedule, ask.points())
          : leading_timesteps(settings, schedule, ask.points(), static_cast<double>(settings.integer("offset")));
  return {times.front(), times.back()};
}

enum class Variable { kTime, kRatio, kSigma };

Variable read_variable(const Settings& settings) {
  const std::string& name = settings.text("variable");
  return name == "time" ? Variable::kTime : name == "sigma" ? Variable::kSigma : Variable::kRatio;
}

double value_at(const Schedule& schedule, Variable variable, double t) {
  const Level level = schedule.at(t);
  return variable == Variable::kTime ? t : variable == Variable::kSigma ? level.sigma : level.rho();
}

/// What is spaced, from high (noisiest) to low.
struct Span {
  double high = 0.0, low = 0.0;
  Variable variable = Variable::kRatio;
};

Span read_span(const Settings& settings, const Schedule& schedule, const Ask& ask, Variable variable) {
  const auto [first, last] = end_times(settings, schedule, ask);
  Span span{settings.number("sigma_max"), settings.number("sigma_min"), variable};
  if (variable == Variable::kTime) {
    for (const char* name : {"sigma_min", "sigma_max"})
      if (settings.number(name) != 0.0) settings.fail(name, "is not read with \"variable: time\".");
    return {first, last, variable};
  }
  if (span.low == 0.0) span.low = value_at(schedule, variable, last);
  if (span.high == 0.0) span.high = own_end(settings, schedule, "sigma_max", value_at(schedule, variable, first));
  if (!(span.low < span.high))
    settings.fail("sigma_max", concat("must be above sigma_min ", span.low, ", got ", span.high, "."));
  if (variable == Variable::kSigma && span.high > schedule.path().largest_sigma())
    settings.fail("sigma_max", concat("the path of schedule \"", schedule.name(), "\" ends at sigma ",
                                      schedule.path().largest_sigma(), ", got ", span.high, "."));
  return span;
}

// Levels where the spanned variable has these values.
Grid at_values(const Settings& settings, const Schedule& schedule, const std::vector<double>& values, const Ask& ask,
               Variable variable) {
  if (variable == Variable::kTime) return at_times(settings, schedule, values, ask);
  std::vector<Level> levels;
  for (const double value : values)
    levels.push_back(variable == Variable::kSigma ? schedule.path().at_sigma(value)
                                                  : schedule.path().at(-std::log(value)));
  return at_levels(settings, schedule, levels, ask);
}

// A grid whose spanned variable is value(ramp), the ramp falling evenly from 1 to 0.
template <class Value>
Grid along(const Settings& settings, const Schedule& schedule, Variable variable, Value value) {
  const Ask ask = read_ask(settings);
  const bool drops = read_drop(settings, ask);
  const Span span = read_span(settings, schedule, ask, variable);
  std::vector<double> values;
  for (const double ramp : spaced(1.0, 0.0, ask.points(), drops))
    values.push_back(ramp == 1.0 ? span.high : ramp == 0.0 ? span.low : value(span, ramp));
  return at_values(settings, schedule, values, ask, variable);
}

Grid make_karras(const Settings& settings, const Schedule& schedule) {
  const double rho = settings.number("rho");
  return along(settings, schedule, read_variable(settings), [&](const Span& span, double ramp) {
    const double low = std::pow(span.low, 1.0 / rho), high = std::pow(span.high, 1.0 / rho);
    return std::pow(low + ramp * (high - low), rho);
  });
}

Grid make_polyexponential(const Settings& settings, const Schedule& schedule) {
  const double rho = settings.number("rho");
  return along(settings, schedule, read_variable(settings), [&](const Span& span, double ramp) {
    return span.low * std::pow(span.high / span.low, std::pow(ramp, rho));
  });
}

Grid make_exponential(const Settings& settings, const Schedule& schedule) {
  return along(settings, schedule, read_variable(settings),
               [](const Span& span, double ramp) { return span.low * std::pow(span.high / span.low, ramp); });
}

Grid make_uniform_sigma(const Settings& settings, const Schedule& schedule) {
  return along(settings, schedule, read_variable(settings),
               [](const Span& span, double ramp) { return span.low + ramp * (span.high - span.low); });
}

// Values at even quantiles of a density on [0, 1].
template <class Quantile>
Grid at_quantiles(const Settings& settings, const Schedule& schedule, Quantile quantile) {
  const Variable variable = read_variable(settings);
  const bool rounds = settings.flag("round");
  if (rounds && (variable != Variable::kTime || schedule.discrete_steps() == 0))
    settings.fail("round", "needs \"variable: time\" and a schedule with a table.");
  return along(settings, schedule, variable, [&](const Span& span, double ramp) {
    const double value = span.low + quantile(ramp) * (span.high - span.low);
    return rounds ? std::nearbyint(value) : value;
  });
}

Grid make_beta(const Settings& settings, const Schedule& schedule) {
  const double a = settings.number("a"), b = settings.number("b");
  return at_quantiles(settings, schedule, [&](double share) { return boost::math::ibeta_inv(a, b, share); });
}

Grid make_cosine(const Settings& settings, const Schedule& schedule) {
  return at_quantiles(settings, schedule, [](double share) {
    const double sine = std::sin(0.5 * std::numbers::pi * share);
    return sine * sine;
  });
}

Grid make_kl_optimal(const Settings& settings, const Schedule& schedule) {
  const Ask ask = read_ask(settings);
  const bool drops = read_drop(settings, ask);
  const auto [first, last] = end_times(settings, schedule, ask);
  double low = settings.number("sigma_min"), high = settings.number("sigma_max");
  if (low == 0.0) low = schedule.at(last).rho();
  if (high == 0.0) high = schedule.at(first).rho();  // infinite without signal: the angle pi / 2
  if (!(low < high)) settings.fail("sigma_max", concat("must be above sigma_min ", low, ", got ", high, "."));
  std::vector<double> lambdas;
  for (const double ramp : spaced(1.0, 0.0, ask.points(), drops))
    lambdas.push_back(ramp == 1.0 ? -std::log(high)
                                  : -std::log(std::tan(std::atan(low) + ramp * (std::atan(high) - std::atan(low)))));
  return at_lambdas(settings, schedule, lambdas, ask);
}

Grid make_uniform_lambda(const Settings& settings, const Schedule& schedule) {
  const Ask ask = read_ask(settings);
  const bool drops = read_drop(settings, ask);
  std::vector<double> range = settings.numbers("range");
  if (range.empty())
    range = {own_end(settings, schedule, "range", schedule.lambda(schedule.t_max())),
             schedule.lambda(schedule.t_min())};
  if (range.size() != 2 || !(range[0] < range[1]))
    settings.fail("range", "must be two rising numbers, the lambda of the first and of the last noisy level.");
  return at_lambdas(settings, schedule, spaced(range[0], range[1], ask.points(), drops), ask);
}

std::vector<Option> span_options(std::vector<Option> own = {}) {
  const std::vector<Option> common{
      {"sigma_min", 0.0, "smallest value of the variable; 0: the schedule's", 0.0, 1e9},
      {"sigma_max", 0.0, "largest value of the variable; 0: the schedule's", 0.0, 1e9},
      Option{.name = "ends",
             .fallback = std::string("schedule"),
             .help = "where an end that is not given comes from: the schedule's range, or the first and last timestep "
                     "of this spacing of its table",
             .choices = {"schedule", "leading", "trailing"}},
      {"offset", std::int64_t{0}, "of \"ends: leading\"", 0, 1000}};
  own.insert(own.end(), common.begin(), common.end());
  return options_with_drop(std::move(own));
}

Option variable_option(const char* fallback, std::vector<std::string> choices = {"ratio", "sigma"}) {
  return {.name = "variable",
          .fallback = std::string(fallback),
          .help = "what is spaced: ratio is sigma / alpha, which EDM calls sigma",
          .choices = std::move(choices)};
}

std::vector<Option> quantile_options(std::vector<Option> own = {}) {
  own.push_back(variable_option("time", {"time", "ratio", "sigma"}));
  own.push_back({"round", false, "whole timesteps of a table"});
  return span_options(std::move(own));
}

}  // namespace

void register_grid_karras(GridRegistry& registry) {
  registry.add({{.name = "karras",
                 .summary = "sigma / alpha to the power 1 / rho even in steps",
                 .source = "Karras et al. 2022, eq. 5",
                 .options = span_options(
                     {{"rho", 7.0, "7 refines the clean end, 1 is even", 0.1, 100.0}, variable_option("ratio")}),
                 .traits = {"refuses_alpha_zero"}},
                make_karras});
}

void register_grid_exponential(GridRegistry& registry) {
  registry.add({{.name = "exponential",
                 .summary = "logarithm of sigma / alpha even in steps",
                 .source = "k-diffusion get_sigmas_exponential",
                 .options = span_options({variable_option("ratio")}),
                 .traits = {"refuses_alpha_zero"}},
                make_exponential});
}

void register_grid_polyexponential(GridRegistry& registry) {
  registry.add(
      {{.name = "polyexponential",
        .summary = "logarithm of sigma / alpha a power rho of even steps; 1 is exponential",
        .source = "k-diffusion get_sigmas_polyexponential",
        .options = span_options({{"rho", 1.0, "above 1 refines the clean end", 0.1, 100.0}, variable_option("ratio")}),
        .traits = {"refuses_alpha_zero"}},
       make_polyexponential});
}

void register_grid_uniform_sigma(GridRegistry& registry) {
  registry.add({{.name = "uniform_sigma",
                 .summary = "even in sigma",
                 .source = "Karras et al. 2022, eq. 5 with rho = 1; Song and Ermon 2019 space sigma itself",
                 .options = span_options({variable_option("sigma")})},
                make_uniform_sigma});
}

void register_grid_uniform_lambda(GridRegistry& registry) {
  registry.add({{.name = "uniform_lambda",
                 .summary = "even in lambda = ln(alpha / sigma)",
                 .source = "Lu et al. 2022 (DPM-Solver), section 3.4, \"logSNR\"",
                 .options = options_with_drop(
                     {{"range", std::vector<double>{},
                       "[first, last] lambda of the noisy levels; empty: the schedule's", -16.0, 16.0}}),
                 .traits = {"refuses_alpha_zero"}},
                make_uniform_lambda});
}

void register_grid_kl_optimal(GridRegistry& registry) {
  registry.add({{.name = "kl_optimal",
                 .summary = "even in the angle atan(sigma / alpha)",
                 .source = "Sabour et al. 2024 (Align Your Steps), section 3.1, the optimum for Gaussian data",
                 .options = span_options()},
                make_kl_optimal});
}

void register_grid_beta(GridRegistry& registry) {
  registry.add({{.name = "beta",
                 .summary = "quantiles of a beta distribution over t, or over sigma",
                 .source = "Lee et al. 2024 (Beta Sampling is All You Need); over ratio: diffusers use_beta_sigmas",
                 .options = quantile_options({{"a", 0.6, "below 1 refines the clean end", 0.01, 100.0},
                                              {"b", 0.6, "below 1 refines the noisy end", 0.01, 100.0}})},
                make_beta});
}

void register_grid_cosine(GridRegistry& registry) {
  registry.add(
      {{.name = "cosine",
        .summary = "t follows half a period of a cosine: quantiles of the arcsine distribution, beta(1/2, 1/2)",
        .source = "Chebyshev nodes; the closed form in the family of Lee et al. 2024",
        .options = quantile_options()},
       make_cosine});
}

}  // namespace thaw
