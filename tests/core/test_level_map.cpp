// A plan whose positions are at levels of their own: what each of them goes through is the plan.

#include <cmath>
#include <limits>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/guidance.h"
#include "core/level_map.h"
#include "core/math/plan_analysis.h"
#include "core/model.h"
#include "samplers/sampler.h"
#include "tests/catch.h"
#include "tests/core/plans_on_tensors.h"

using namespace thaw;

namespace {

const Gaussian kData{0.4, 0.09};

LevelMap level_map(const std::string& name, const std::string& options = "{}") {
  LevelMapRegistry registry("level map");
  register_level_maps(registry);
  return registry.create(Config::parse(options, "t"), name);
}

Grid grid_of(const std::string& yaml) {
  ScheduleRegistry schedules("schedule");
  register_schedules(schedules);
  GridRegistry grids("grid");
  register_grids(grids);
  return grids.create(Config::parse(yaml, "t"), "trailing", *schedules.create(Config::empty(), "linear"));
}

bool tells_target(const Plan& plan) {
  for (const Instruction& instruction : plan.program)
    if (const auto* evaluate = std::get_if<Evaluate>(&instruction); evaluate != nullptr && evaluate->target)
      return true;
  return false;
}

/// The exact denoiser of independent coordinates, and everything else a plan may ask for.
Outputs independent(const Latent& x, const Query& query) {
  std::vector<double> gain, shift;
  for (const Level& level : query.parts.empty() ? std::vector<Level>{query.at} : query.parts) {
    gain.push_back(kData.gain(level));
    shift.push_back(kData.mean - kData.gain(level) * level.alpha * kData.mean);
  }
  const at::Tensor& state = x.main();
  Estimate estimate(Latent::of(query.parts.empty() ? state * gain[0] + shift[0]
                                                   : state * per_sample(gain, state) + per_sample(shift, state)));
  estimate.unguided = Latent::of(estimate.data.main() * 0.5);
  estimate.variance = Latent::of(at::tanh(state));
  return {estimate};
}

/// E[x0 | x] of jointly normal positions [K], x [N, 1, K], each position at its own level, the same for all samples.
Denoiser joint_denoiser(const at::Tensor& covariance) {
  return [covariance](const Latent& x, const Query& query) -> Outputs {
    const std::int64_t positions = covariance.size(0);
    std::vector<double> alpha, noise;
    for (std::int64_t k = 0; k < positions; ++k) {
      const Level& level = query.parts.empty() ? query.at : query.parts[static_cast<std::size_t>(k)];
      alpha.push_back(level.alpha);
      noise.push_back(level.sigma * level.sigma);
    }
    const at::Tensor a = at::diag(at::tensor(alpha, at::kDouble));
    const at::Tensor own = a.matmul(covariance).matmul(a) + at::diag(at::tensor(noise, at::kDouble));
    const at::Tensor map = covariance.matmul(a).matmul(at::linalg_inv(own));
    return {Latent::of(x.main().matmul(map.t()))};
  };
}

at::Tensor covariance_of_a_walk(std::int64_t positions) {
  const at::Tensor k = at::arange(positions, at::kDouble);
  return at::pow(at::full({}, 0.8, at::kDouble), (k.unsqueeze(0) - k.unsqueeze(1)).abs()) * 0.5;
}

/// Covariance of what a linear sampler makes of standard normal starts: exact, without sampling.
at::Tensor covariance_made(const Plan& plan, const at::Tensor& covariance, const LevelMap& map) {
  const std::int64_t positions = covariance.size(0);
  const at::Tensor starts =
      at::eye(positions, at::kDouble).unsqueeze(1) * std::hypot(plan.start.alpha, plan.start.sigma);
  NoiseSource noise(1, std::vector<std::uint64_t>(static_cast<std::size_t>(positions), 0));
  const at::Tensor rows = run_plan_apart(plan, joint_denoiser(covariance), Latent::of(starts), noise, map).x.main();
  const at::Tensor matrix = rows.squeeze(1);  // row i: what unit vector i becomes
  return matrix.t().matmul(matrix);
}

}  // namespace

CATCH_TEST_CASE("where positions do not depend on each other, no bit depends on the level map", "[core][level_map]") {
  const SamplerRegistry samplers = all_samplers();
  const Grid grid = grid_of("steps: 7");
  int planned = 0;
  for (const auto& entry : samplers.entries()) {
    const std::string& name = entry.info.name;
    CATCH_CAPTURE(name);
    if (entry.info.has_trait("adaptive") || entry.info.has_trait("inverts")) continue;
    const Plan plan = samplers.create(Config::empty(), name)(grid);
    const Denoiser denoiser = with_velocity(independent, *grid.path);
    const Latent like = Latent::of(at::zeros({2, 3, 5, 7}, at::kDouble));
    NoiseSource noise(3, {4, 9});
    const Latent start = noise.start(like, plan.start);
    if (tells_target(plan)) {
      CATCH_CHECK_THROWS_WITH(run_plan_apart(plan, denoiser, start, noise, level_map("pyramid")),
                              Catch::Contains("goes to one of its own"));
      continue;
    }
    ++planned;
    const at::Tensor same = run_plan(plan, denoiser, start, noise).main();
    CATCH_REQUIRE(at::isfinite(same).all().item<bool>());
    for (const LevelMap& map : {level_map("same"), level_map("pyramid"), level_map("pyramid", "lag: 3"),
                                level_map("autoregressive", "block: 2")}) {
      NoiseSource again(3, {4, 9});
      const at::Tensor apart = run_plan_apart(plan, denoiser, start, again, map).x.main();
      CATCH_CHECK((apart - same).abs().max().item<double>() <= 1e-12);
    }
  }
  CATCH_CHECK(planned >= 55);
}

CATCH_TEST_CASE("noise of the other kind, in float32, is a position's own too", "[core][level_map][noise]") {
  for (const PathKind kind : {PathKind::kBrownian, PathKind::kIndependent}) {
    const Plan plan = plan_of("ddpm", 6);
    const Latent like = Latent::of(at::zeros({3, 2, 4, 6}));
    NoiseSource noise(3, {0, 1, 2}, kind), again(3, {0, 1, 2}, kind);
    const Latent start = noise.start(like, plan.start);
    const at::Tensor same = run_plan(plan, independent, start, noise).main();
    const at::Tensor apart = run_plan_apart(plan, independent, start, again, level_map("pyramid")).x.main();
    CATCH_CHECK((apart - same).abs().max().item<double>() < 2e-6);  // float32 sums in another order in the denoiser
  }
}

CATCH_TEST_CASE("positions that lag behind each other still draw jointly normal data", "[core][level_map]") {
  // A first-order method: halving its steps halves the error of the covariance, whatever the map.
  const at::Tensor covariance = covariance_of_a_walk(5);
  for (const LevelMap& map : {level_map("same"), level_map("pyramid", "lag: 4"), level_map("autoregressive")}) {
    std::vector<double> errors;
    for (const int steps : {100, 200}) {
      const at::Tensor made = covariance_made(plan_of("ddim", steps), covariance, map);
      errors.push_back((made - covariance).abs().max().item<double>());
    }
    CATCH_CHECK(errors[1] < 0.02);
    CATCH_CHECK(errors[1] < 0.75 * errors[0]);
  }
}

CATCH_TEST_CASE("a map is as many calls of the denoiser as it says", "[core][level_map]") {
  const Plan plan = plan_of("heun", 5);
  const std::int64_t own = plan.evaluations();
  const std::vector<std::pair<LevelMap, std::int64_t>> expected_calls{
      {level_map("same"), own},
      {level_map("pyramid"), own + 3},
      {level_map("pyramid", "lag: 2"), own + 6},
      {level_map("autoregressive"), 4 * own},
      {level_map("autoregressive", "block: 3"), 2 * own},
      {level_map("pyramid", "lag: 1000"), 4 * own}};
  for (const auto& [map, expected] : expected_calls) {
    std::int64_t calls = 0;
    const Denoiser counting = [&](const Latent& x, const Query& query) {
      ++calls;
      CATCH_CHECK(query.parts.size() == 2 * 4);
      CATCH_CHECK(std::isnan(query.at.alpha));
      return independent(x, query);
    };
    NoiseSource noise(1, {0, 1});
    const Latent start = noise.start(Latent::of(at::zeros({2, 1, 4})), plan.start);
    const std::int64_t counted = run_plan_apart(plan, counting, start, noise, map).evaluations;
    CATCH_CHECK(calls == expected);
    CATCH_CHECK(counted == expected);
    // What is settled stays, costs no round of its own, and changes nothing of what does not look at it.
    const MethodRun settled = run_plan_apart(plan, counting, start, noise, map, {true, false, false, false});
    CATCH_CHECK(settled.evaluations <= expected);
    CATCH_CHECK(at::equal(settled.x.main().narrow(2, 0, 1), start.main().narrow(2, 0, 1)));
  }
  NoiseSource noise(1, {0, 1});
  const Latent start = noise.start(Latent::of(at::zeros({2, 1, 4})), plan.start);
  CATCH_CHECK(run_plan_apart(plan, independent, start, noise, level_map("autoregressive"), {true, true, false, false})
                  .evaluations == 2 * own);
}

CATCH_TEST_CASE("guidance that looks at a level looks at each part's own", "[core][level_map][guidance]") {
  const Denoiser branches = [](const Latent& x, const Query& query) {
    Outputs outputs;
    for (const Branch branch : query.branches)
      outputs.emplace_back(Latent::of(at::full_like(x.main(), branch == Branch::kConditional ? 1.0 : 0.0)));
    return outputs;
  };
  const Guidance interval = weighted_branches(
      [](const Level& level) { return classifier_free_weights(noise_fraction(level) < 0.5 ? 3.0 : 1.0); });
  constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  const Level noisy = variance_preserving().at(-1.0), fine = variance_preserving().at(1.0);
  const Query query{.at = {kNone, kNone}, .parts = {noisy, fine, fine, noisy, {1.0, 0.0}, fine}};
  const at::Tensor data =
      with_guidance(branches, interval)(Latent::of(at::zeros({2, 1, 3})), query).front().data.main();
  CATCH_CHECK(data[0][0].equal(at::tensor({1.0F, 3.0F, 3.0F})));
  CATCH_CHECK(data[1][0][0].item<float>() == 1.0F);
  CATCH_CHECK(data[1][0][2].item<float>() == 3.0F);

  GuidanceRegistry registry("guidance");
  register_guidance(registry);
  MeasurementRegistry measurements("measurement");
  register_measurements(measurements);
  const Config section = Config::parse("{type: apg, scale: 2}", "t");
  Model model;
  const GuidedRun run{&model, {{"label", at::zeros({2}, at::kLong)}}, 0, 2};
  const Denoiser apg = registry.create(section, "", {registry, measurements, {}}, section)(branches, run);
  CATCH_CHECK_THROWS_WITH(apg(Latent::of(at::zeros({2, 1, 3})), query), Catch::Contains("one noise level a sample"));
}
