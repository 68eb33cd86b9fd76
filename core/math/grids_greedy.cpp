#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "core/base/text.h"
#include "core/math/greedy.h"
#include "core/math/grid.h"
#include "core/math/grid_parts.h"
#include "core/math/philox.h"

namespace thaw {
namespace {

using namespace grids;

constexpr std::size_t kTrajectories = 15;

LineMixture read_data(const Settings& settings) {
  const std::vector<double>&weights = settings.numbers("weights"), &means = settings.numbers("means"),
        &stds = settings.numbers("stds");
  for (const auto& [name, values] : {std::pair{"means", &means}, std::pair{"stds", &stds}})
    if (values->size() != weights.size())
      settings.fail(name, concat("has ", values->size(), " entries, weights has ", weights.size(), "."));
  if (weights.empty()) settings.fail("weights", "is empty; at least one part is needed.");
  const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
  LineMixture data;
  for (std::size_t k = 0; k < weights.size(); ++k)
    data.parts.push_back({.weight = weights[k] / total, .data = {means[k], stds[k] * stds[k]}});
  return data;
}

// Candidates even in lambda between the ends; the ratio 0 is the clean level.
std::vector<double> candidate_ratios(const Settings& settings, const Schedule& schedule, const Ask& ask) {
  double low = settings.number("sigma_min"), high = settings.number("sigma_max");
  if (low == 0.0) low = schedule.at(schedule.t_min()).rho();
  if (high == 0.0) high = own_end(settings, schedule, "sigma_max", schedule.at(schedule.t_max()).rho());
  if (!(low < high)) settings.fail("sigma_max", concat("must be above sigma_min ", low, ", got ", high, "."));
  const auto count = static_cast<int>(settings.integer("candidates"));
  if (count < ask.points())
    settings.fail("candidates",
                  concat("must be at least the ", ask.points(), " noisy levels asked for, got ", count, "."));
  std::vector<double> ratios;
  for (const double lambda : spaced(-std::log(high), -std::log(low), count)) ratios.push_back(std::exp(-lambda));
  return ratios;
}

Grid make_greedy(const Settings& settings, const Schedule& schedule) {
  const Ask ask = read_ask(settings);
  std::vector<double> ratios = candidate_ratios(settings, schedule, ask);
  if (ask.end == End::kClean) ratios.push_back(0.0);
  const int steps = ask.end == End::kThenSigmaMin ? ask.steps - 1 : ask.steps;
  const auto costs = euler_errors(read_data(settings), ratios);
  const std::vector<std::size_t> path =
      steps == 0 ? std::vector<std::size_t>{0} : cheapest_path(costs, steps, settings.number("growth"));
  std::vector<double> lambdas;
  for (const std::size_t i : path)
    if (ratios[i] > 0.0) lambdas.push_back(-std::log(ratios[i]));
  return at_lambdas(settings, schedule, lambdas, ask);
}

}  // namespace

std::vector<std::vector<double>> euler_errors(const LineMixture& data, std::span<const double> ratios) {
  const std::size_t nodes = ratios.size();
  double mean = 0.0, square = 0.0;
  for (const auto& [weight, part] : data.parts) {
    mean += weight * part.mean;
    square += weight * (part.variance + part.mean * part.mean);
  }
  const double spread = std::sqrt(square - mean * mean + ratios[0] * ratios[0]);
  std::vector<std::vector<double>> states(nodes), denoised(nodes);
  for (std::size_t i = 0; i < nodes; ++i)
    for (std::size_t q = 0; q < kTrajectories; ++q) {
      const double start = mean + spread * normal_quantile((static_cast<double>(q) + 0.5) / kTrajectories);
      const Level first{1.0, ratios[0]}, here{1.0, ratios[i]};
      states[i].push_back(data.flow(start, first, here));
      denoised[i].push_back(here.is_clean() ? states[i][q] : data.denoise(states[i][q], here));
    }
  std::vector<std::vector<double>> costs(nodes, std::vector<double>(nodes, 0.0));
  for (std::size_t i = 0; i < nodes; ++i)
    for (std::size_t j = i + 1; j < nodes; ++j) {
      const double kept = ratios[j] / ratios[i];
      double sum = 0.0;
      for (std::size_t q = 0; q < kTrajectories; ++q) {
        const double gap = denoised[i][q] + kept * (states[i][q] - denoised[i][q]) - states[j][q];
        sum += gap * gap;
      }
      costs[i][j] = std::sqrt(sum / kTrajectories);
    }
  return costs;
}

std::vector<std::size_t> cheapest_path(const std::vector<std::vector<double>>& costs, int steps, double growth) {
  const std::size_t nodes = costs.size();
  std::vector<double> best(nodes, std::numeric_limits<double>::infinity());
  best[0] = 0.0;
  std::vector<std::vector<std::size_t>> came(static_cast<std::size_t>(steps), std::vector<std::size_t>(nodes, 0));
  for (std::vector<std::size_t>& from : came) {
    std::vector<double> next(nodes, std::numeric_limits<double>::infinity());
    for (std::size_t j = 1; j < nodes; ++j)
      for (std::size_t i = 0; i < j; ++i)
        if (const double total = growth * best[i] + costs[i][j]; total < next[j]) {
          next[j] = total;
          from[j] = i;
        }
    best = std::move(next);
  }
  std::vector<std::size_t> path{nodes - 1};
  for (std::size_t k = came.size(); k-- > 0;) path.insert(path.begin(), came[k][path.front()]);
  return path;
}

void register_grid_greedy(GridRegistry& registry) {
  registry.add(
      {{.name = "greedy",
        .summary = "the levels with the least sum of local Euler errors on a known mixture, by dynamic "
                   "programming",
        .source = "Chen et al. 2024 (GITS), section 4, on an analytic model",
        .options = options_with({{"candidates", std::int64_t{128}, "noisy levels to choose from", 2, 4096},
                                 {"growth", 1.0, "of the error so far at every step; GITS uses 1.15", 0.1, 10.0},
                                 {"sigma_min", 0.0, "smallest sigma / alpha; 0: the schedule's", 0.0, 1e9},
                                 {"sigma_max", 0.0, "largest sigma / alpha; 0: the schedule's", 0.0, 1e9},
                                 {"weights", std::vector<double>{1.0}, "of the mixture's parts", 1e-9, 1e9},
                                 {"means", std::vector<double>{0.0}, "of the mixture's parts", -1e6, 1e6},
                                 {"stds", std::vector<double>{0.5}, "of the mixture's parts", 1e-6, 1e6}}),
        .traits = {"refuses_alpha_zero"}},
       make_greedy});
}

}  // namespace thaw
