// Where training looks: densities of noise levels, and the correction of those that learn from losses.

#include <cmath>
#include <numbers>
#include <set>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/level_samplers.h"
#include "tests/catch.h"

using namespace thaw;

namespace {

SchedulePtr schedule(const char* name) {
  ScheduleRegistry registry("schedule");
  register_schedules(registry);
  return registry.create(Config::parse("{}", "t"), name);
}

LevelSampler sampler(const char* name, const char* yaml = "{}") {
  LevelSamplerRegistry registry("level sampler");
  register_level_samplers(registry);
  return registry.create(Config::parse(yaml, "t"), name);
}

double share_of(const Schedule& schedule, const Level& level) {
  return (schedule.time_of(level.lambda()) - schedule.t_min()) / (schedule.t_max() - schedule.t_min());
}

double normal_cdf(double x) {
  return 0.5 * std::erfc(-x / std::numbers::sqrt2);
}

}  // namespace

CATCH_TEST_CASE("level samplers have the distributions their papers write", "[core][levels]") {
  struct Case {
    const char *name, *yaml;
    double (*cdf)(double share);
  };
  const auto uniform = [](double t) { return t; };
  const Case cases[] = {{"uniform", "{}", uniform},
                        {"antithetic", "{}", uniform},
                        {"independent", "{}", uniform},
                        {"logit_normal", "{mean: 0.5, deviation: 0.8}",
                         [](double t) { return normal_cdf((std::log(t / (1 - t)) - 0.5) / 0.8); }},
                        // Esser et al. 2024: density 2 / (pi - 2 pi t + 2 pi t^2).
                        {"cosine_map", "{}", [](double t) { return 2 / std::numbers::pi * std::atan(t / (1 - t)); }},
                        {"mode", "{scale: 0}", uniform}};
  constexpr std::int64_t kDraws = 20000;
  constexpr double kTolerance = 5 * 0.5 / 141.4;  // five standard errors of a share of 1/2
  const SchedulePtr process = schedule("cosine");
  for (const Case& c : cases)
    for (const double t : {0.1, 0.35, 0.5, 0.8}) {
      CATCH_CAPTURE(c.name, t);
      const LevelSampler levels = sampler(c.name, c.yaml);
      int below = 0;
      for (std::int64_t i = 0; i < kDraws; ++i)
        below += share_of(*process, levels(*process, {.seed = 5, .batch = kDraws}, i)) <= t ? 1 : 0;
      CATCH_CHECK(below / static_cast<double>(kDraws) == Catch::Approx(c.cdf(t)).margin(kTolerance));
    }
}

CATCH_TEST_CASE("mode levels are distributed by the inverse of their map", "[core][levels]") {
  const SchedulePtr process = schedule("cosine");
  for (const double scale : {-1.0, -0.4, 1.29}) {
    // Esser et al. 2024, eq. 20, falls in u: the share of t below x is that of u above the u whose t is x.
    const auto cdf = [&](double x) {
      double low = 0.0, high = 1.0;
      for (int i = 0; i < 60; ++i) {
        const double u = 0.5 * (low + high), c = std::cos(0.5 * std::numbers::pi * u);
        (1 - u - scale * (c * c - 1 + u) > x ? low : high) = u;
      }
      return 1 - low;
    };
    const LevelSampler levels = sampler("mode", concat("{scale: ", format_double(scale), "}").c_str());
    constexpr std::int64_t kDraws = 4000;
    for (const double x : {0.1, 0.3, 0.8}) {
      int below = 0;
      for (std::int64_t i = 0; i < kDraws; ++i)
        below += share_of(*process, levels(*process, {.seed = 5, .batch = kDraws}, i)) <= x ? 1 : 0;
      CATCH_CAPTURE(scale, x);
      CATCH_CHECK(std::abs(below - kDraws * cdf(x)) <= 2);  // stratified
    }
  }
}

CATCH_TEST_CASE("antithetic levels come in pairs that mirror each other", "[core][levels]") {
  const SchedulePtr process = schedule("cosine");
  const LevelSampler levels = sampler("antithetic");
  std::set<double> seen;
  for (std::int64_t i = 0; i < 16; i += 2) {
    const double a = share_of(*process, levels(*process, {.seed = 5, .step = 3, .batch = 16}, i));
    const double b = share_of(*process, levels(*process, {.seed = 5, .step = 3, .batch = 16}, i + 1));
    CATCH_CHECK(a + b == Catch::Approx(1.0).margin(1e-9));
    seen.insert(a);
  }
  CATCH_CHECK(seen.size() == 8);
}

CATCH_TEST_CASE("timesteps are the table's own, each once in a batch of its length", "[core][levels]") {
  const SchedulePtr table = schedule("linear");
  const LevelSampler levels = sampler("timesteps");
  const std::int64_t n = table->discrete_steps();
  CATCH_REQUIRE(n == 1000);
  std::set<std::int64_t> seen;
  for (std::int64_t i = 0; i < n; ++i) {
    const double t = table->time_of(levels(*table, {.seed = 5, .batch = n}, i).lambda());
    CATCH_REQUIRE(t == Catch::Approx(std::round(t)).margin(1e-6));
    seen.insert(std::lround(t));
  }
  CATCH_CHECK(seen.size() == 1000);
  CATCH_CHECK_THROWS_WITH(levels(*schedule("cosine"), {}, 0),
                          Catch::StartsWith("objective.levels: \"timesteps\" needs a schedule with a table"));
}

namespace {

double loss_of(double share) {
  return std::exp(6 * share);
}

// Notes `rounds` losses in every bin.
void observe(const LevelSampler& levels, const Schedule& process, std::int64_t bins, int rounds) {
  for (int round = 0; round < rounds; ++round) {
    std::vector<std::int64_t> where;
    std::vector<double> losses;
    for (std::int64_t bin = 0; bin < bins; ++bin) {
      where.push_back(bin);
      losses.push_back(loss_of((static_cast<double>(bin) + 0.5) / static_cast<double>(bins)));
    }
    levels->observe(where, at::tensor(losses, at::kDouble), static_cast<std::uint64_t>(round));
  }
  CATCH_REQUIRE(levels->draw(process, {.seed = 5}, 0).bin >= 0);
}

struct Moments {
  double plain = 0.0, corrected = 0.0, corrected_square = 0.0;
};

Moments moments(const LevelSampler& levels, const Schedule& process) {
  constexpr std::int64_t kDraws = 1 << 16;
  Moments m;
  for (std::int64_t i = 0; i < kDraws; ++i) {
    const DrawnLevel drawn = levels->draw(process, {.seed = 5, .batch = kDraws}, i);
    const double loss = loss_of(share_of(process, drawn.level)), corrected = loss * drawn.importance;
    m.plain += loss / kDraws;
    m.corrected += corrected / kDraws;
    m.corrected_square += corrected * corrected / kDraws;
  }
  return m;
}

}  // namespace

CATCH_TEST_CASE("importance sampling keeps the expected loss and lowers its spread", "[core][levels]") {
  const SchedulePtr process = schedule("cosine");
  const LevelSampler levels = sampler("loss_second_moment", "{history: 3, refresh: 1}");
  levels->prepare(*process, c10::Device(c10::kCPU));
  const double mean = (std::exp(6.0) - 1) / 6, square = (std::exp(12.0) - 1) / 12;
  const Moments before = moments(levels, *process);
  // Stratified: an error of the order of 1 / draws.
  CATCH_CHECK(before.plain == Catch::Approx(mean).epsilon(1e-3));
  CATCH_CHECK(before.corrected == before.plain);
  observe(levels, *process, 64, 2);
  CATCH_CHECK(moments(levels, *process).corrected == before.plain);  // not yet three losses a bin
  observe(levels, *process, 64, 1);
  const Moments after = moments(levels, *process);
  CATCH_CHECK(after.plain > 1.5 * mean);  // else nothing was corrected below
  CATCH_CHECK(after.corrected == Catch::Approx(mean).epsilon(1e-3));
  // A perfect proposal leaves no variance at all; bins of 1 / 64 leave that within a bin.
  CATCH_CHECK(after.corrected_square - mean * mean < 0.01 * (square - mean * mean));
}

CATCH_TEST_CASE("importance sampling goes on from its saved state and ignores losses that are not finite",
                "[core][levels][resume]") {
  const SchedulePtr table = schedule("linear");
  const LevelSampler one = sampler("loss_second_moment", "{history: 1, refresh: 1}"),
                     two = sampler("loss_second_moment", "{history: 1, refresh: 1}");
  for (const LevelSampler* each : {&one, &two}) (*each)->prepare(*table, c10::Device(c10::kCPU));
  observe(one, *table, 1000, 2);
  one->observe(std::vector<std::int64_t>{999}, at::full({1}, std::nan("")), 2);
  const NamedTensors from = one->state(), to = two->state();
  CATCH_REQUIRE(from.size() == 3);
  for (std::size_t i = 0; i < from.size(); ++i) at::Tensor(to[i].second).copy_(from[i].second);
  for (std::int64_t i = 0; i < 100; ++i) {
    const StepContext context{.seed = 5, .step = 7, .batch = 100};
    const DrawnLevel a = one->draw(*table, context, i), b = two->draw(*table, context, i);
    CATCH_CHECK((a.level == b.level && a.importance == b.importance && std::isfinite(a.importance)));
    const double t = table->time_of(a.level.lambda());
    CATCH_CHECK(t == Catch::Approx(static_cast<double>(a.bin)).margin(1e-6));  // a timestep of the table
  }
}
