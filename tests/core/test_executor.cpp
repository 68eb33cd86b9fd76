#include <ATen/ATen.h>

#include "core/executor.h"
#include "core/math/plan_analysis.h"
#include "samplers/sampler.h"
#include "tests/catch.h"

using namespace thaw;

namespace {

const Gaussian kData{1.5, 0.09};

Outputs exact_denoiser(const Latent& x, const Query& query) {
  const Level& level = query.at;
  return {Latent::of(kData.mean + kData.gain(level) * (x.main() - level.alpha * kData.mean))};
}

}  // namespace

CATCH_TEST_CASE("every registered sampler gives on tensors the moments its plan has", "[core][executor]") {
  SamplerRegistry samplers("sampler");
  register_samplers(samplers);
  ScheduleRegistry schedules("schedule");
  register_schedules(schedules);
  GridRegistry grids("grid");
  register_grids(grids);
  const SchedulePtr schedule = schedules.create(Config::empty(), "linear");
  CATCH_CHECK(samplers.entries().size() >= 6);
  for (const std::string& name : samplers.names()) {
    CATCH_CAPTURE(name);
    const Plan plan = samplers.create(Config::empty(), name)(grids.create(Config::parse("steps: 12", "t"), "trailing", *schedule));
    std::vector<std::uint64_t> indices;
    for (std::uint64_t i = 0; i < 64; ++i) indices.push_back(i);
    NoiseSource noise(3, indices);
    const Latent like = Latent::of(at::zeros({64, 1000}, at::kDouble));
    const Latent x = run_plan(plan, exact_denoiser, noise.start(like, plan.start), noise);
    const Moments moments = gaussian_moments(plan, kData).output;
    const double scale = std::hypot(plan.start.alpha, plan.start.sigma);
    const double deviation = std::sqrt(moments.variance(scale * scale));
    // n = 64000: the mean has a standard error of deviation / 253, the deviation one of deviation / 358; five of each.
    CATCH_CHECK(x.main().mean().item<double>() ==
                Catch::Approx(moments.mean(0.0)).margin(5 * deviation / 253 + 1e-9));
    CATCH_CHECK(x.main().std().item<double>() == Catch::Approx(deviation).margin(5 * deviation / 358 + 1e-9));
  }
}

CATCH_TEST_CASE("guidance is neutral at scale 1 and weighs the branches off it", "[core][guidance]") {
  GuidanceRegistry registry("guidance");
  register_guidance(registry);
  int asked = 0;
  const Denoiser two = [&](const Latent& x, const Query& query) {
    Outputs outputs;
    asked += static_cast<int>(query.branches.size());
    for (const Branch branch : query.branches)
      outputs.push_back(Latent::of(at::full_like(x.main(), branch == Branch::kConditional ? 3.0 : 1.0)));
    return outputs;
  };
  const auto value = [&](const char* yaml, const Level& level) {
    const Denoiser guided = with_guidance(two, registry.create(Config::parse(yaml, "t"), "cfg"));
    return guided(Latent::of(at::zeros({1})), {level}).front().main().item<double>();
  };
  const Level middle{0.7, 0.7}, noisy{0.01, 0.9999};
  CATCH_CHECK(value("scale: 1", middle) == 3.0);
  CATCH_CHECK(asked == 1);  // the unconditional branch costs nothing when it has no weight
  CATCH_CHECK(value("scale: 2", middle) == Catch::Approx(5.0));
  CATCH_CHECK(value("{scale: 2, interval: [0.2, 0.8]}", middle) == Catch::Approx(5.0));
  CATCH_CHECK(value("{scale: 2, interval: [0.2, 0.8]}", noisy) == 3.0);
}
