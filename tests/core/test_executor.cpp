#include <cstdlib>

#include <ATen/ATen.h>
#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>

#include "core/base/error.h"
#include "core/executor.h"
#include "core/kernels/weighted_sum.h"
#include "core/lanes.h"
#include "core/math/host_machine.h"
#include "core/math/philox.h"
#include "core/math/plan_analysis.h"
#include "core/math/plan_builder.h"
#include "samplers/sampler.h"
#include "tests/catch.h"
#include "tests/core/guided.h"
#include "tests/core/plans_on_tensors.h"

using namespace thaw;

namespace {

const Gaussian kData{1.5, 0.09};

Outputs exact_denoiser(const Latent& x, const Query& query) {
  const Level& level = query.at;
  if (!query.lanes.empty()) return ask_by_lane(exact_denoiser, x, query);
  return {Latent::of(kData.mean + kData.gain(level) * (x.main() - level.alpha * kData.mean))};
}

/// Counts what the CPU allocator is asked for.
class CountingAllocator : public c10::Allocator {
 public:
  c10::DataPtr allocate(std::size_t bytes) override {
    ++count;
    return c10::GetDefaultCPUAllocator()->allocate(bytes);
  }
  void copy_data(void* to, const void* from, std::size_t bytes) const override { default_copy_data(to, from, bytes); }
  int count = 0;
};

}  // namespace

CATCH_TEST_CASE("every registered sampler gives on tensors the moments its plan has", "[core][executor]") {
  SamplerRegistry samplers("sampler");
  register_samplers(samplers);
  ScheduleRegistry schedules("schedule");
  register_schedules(schedules);
  GridRegistry grids("grid");
  register_grids(grids);
  const SchedulePtr schedule = schedules.create(Config::empty(), "linear");
  int planned = 0;
  for (const auto& entry : samplers.entries()) {
    const std::string& name = entry.info.name;
    CATCH_CAPTURE(name);
    if (entry.info.has_trait("adaptive") || entry.info.has_trait("inverts")) continue;
    const Plan plan =
        samplers.create(Config::empty(), name)(grids.create(Config::parse("steps: 12", "t"), "trailing", *schedule));
    if (!asks_for_data_only(plan)) continue;
    ++planned;
    std::vector<std::uint64_t> indices;
    for (std::uint64_t i = 0; i < 64; ++i) indices.push_back(i);
    NoiseSource noise(3, indices);
    const Latent like = Latent::of(at::zeros({64, 1000}, at::kDouble));
    const Latent x = run_plan(plan, exact_denoiser, noise.start(like, plan.start), noise);
    const Moments moments = gaussian_moments(plan, kData).output;
    const double scale = std::hypot(plan.start.alpha, plan.start.sigma);
    const double deviation = std::sqrt(moments.variance(scale * scale));
    // n = 64000: the mean has a standard error of deviation / 253, the deviation one of deviation / 358; five of each.
    CATCH_CHECK(x.main().mean().item<double>() == Catch::Approx(moments.mean(0.0)).margin(5 * deviation / 253 + 1e-9));
    CATCH_CHECK(x.main().std().item<double>() == Catch::Approx(deviation).margin(5 * deviation / 358 + 1e-9));
  }
  CATCH_CHECK(planned >= 6);
}

CATCH_TEST_CASE("no tensor is made in a step", "[core][executor][speed]") {
  // The denoiser answers with one tensor of its own, so that all that is counted is the executor's.
  const Latent answer = Latent::of(at::full({8, 3, 16, 16}, 0.1));
  const Denoiser constant = [&](const Latent&, const Query&) -> Outputs { return {answer}; };
  static CountingAllocator counter;  // the allocator in place is asked again by later frees
  const auto count = [&](const std::string& name, int steps, PathKind kind) {
    const Plan plan = plan_of(name, steps);
    NoiseSource noise(1, {0, 1, 2, 3, 4, 5, 6, 7}, kind);
    Latent x = noise.start(answer, plan.start);
    counter.count = 0;
    const c10::Allocator* before = c10::GetCPUAllocator();
    c10::SetCPUAllocator(&counter, 10);
    run_plan(plan, constant, x, noise);
    c10::SetCPUAllocator(const_cast<c10::Allocator*>(before), 10);
    return counter.count;
  };
  for (const char* name : {"ddim", "dpmpp_2m", "heun", "euler", "ddpm"})
    for (const PathKind kind : {PathKind::kBrownian, PathKind::kIndependent}) {
      CATCH_CAPTURE(name);
      const int few = count(name, 6, kind), many = count(name, 60, kind);
      CATCH_CHECK(many == few);
      CATCH_CHECK(few >= 1);
      CATCH_CHECK(few <= 5);  // registers of the plan
    }
}

CATCH_TEST_CASE("an answer that is the denoiser's own tensor, or its input, is never written to", "[core][executor]") {
  const Plan plan = plan_of("dpmpp_2m", 7);
  const at::Tensor own = at::full({2, 5}, 0.25, at::kDouble), start = normals({2, 5}, 3, at::kDouble);
  const at::Tensor start_before = start.clone();
  NoiseSource noise(1, {0, 1});
  const Denoiser constant = [&](const Latent&, const Query&) -> Outputs { return {Latent::of(own)}; };
  run_plan(plan, constant, Latent::of(start), noise);
  CATCH_CHECK(at::equal(own, at::full({2, 5}, 0.25, at::kDouble)));
  CATCH_CHECK(at::equal(start, start_before));
  const Denoiser identity = [](const Latent& x, const Query&) -> Outputs { return {x}; };
  const at::Tensor x = run_plan(plan, identity, Latent::of(start), noise).main();
  const std::vector<double> expected = run_on_host(
      plan, std::span(start.data_ptr<double>(), 10),
      [](std::span<const double> state, const Level&) { return std::vector<double>(state.begin(), state.end()); });
  for (int i = 0; i < 10; ++i)
    CATCH_CHECK(x.flatten()[i].item<double>() == Catch::Approx(expected[static_cast<std::size_t>(i)]).epsilon(1e-12));
}

CATCH_TEST_CASE("independent path noise has the law of the Brownian path and is cheaper", "[core][executor][noise]") {
  // Variance of the output over n = 64000 numbers: standard error sqrt(2 / n) = 0.0056; five of them.
  const Plan plan = plan_of("ddpm", 8);
  std::vector<std::uint64_t> samples;
  for (std::uint64_t i = 0; i < 64; ++i) samples.push_back(i);
  const Latent like = Latent::of(at::zeros({64, 1000}, at::kDouble));
  const Moments moments = gaussian_moments(plan, kData).output;
  at::Tensor ends[2];
  for (const PathKind kind : {PathKind::kBrownian, PathKind::kIndependent}) {
    NoiseSource noise(3, samples, kind);
    const at::Tensor x = run_plan(plan, exact_denoiser, noise.start(like, plan.start), noise).main();
    CATCH_CHECK(x.var().item<double>() == Catch::Approx(moments.variance(1.0)).epsilon(5 * 0.0056));
    ends[static_cast<int>(kind)] = x;
  }
  CATCH_CHECK_FALSE(at::equal(ends[0], ends[1]));
  // Draws that overlap keep their covariance: W[0, 2] and W[0, 1] share half their variance.
  Builder b(make_grid(variance_exploding(), {{1, std::exp(1.0)}, {1, 1.0}, {1, std::exp(-1.0)}}));
  const Level top{1, 1.0}, middle{1, std::exp(-0.5)}, low{1, std::exp(-1.0)};
  const Reg whole = b.combine(Expr(), Builder::noise(top, low, 1.0));
  const Reg half = b.combine(Expr(), Builder::noise(top, middle, 1.0));
  b.mark(whole, low);
  b.mark(half, low);
  const Plan overlapping = b.finish(half);
  for (const PathKind kind : {PathKind::kBrownian, PathKind::kIndependent}) {
    NoiseSource noise(4, samples, kind);
    std::vector<at::Tensor> seen;
    run_plan(overlapping, exact_denoiser, like, noise,
             [&](const Mark&, const Latent& x, const Latent&) { seen.push_back(x.main().clone()); });
    CATCH_CHECK((seen[0] * seen[1]).mean().item<double>() == Catch::Approx(std::sqrt(0.5)).margin(5 / 253.0 * 1.3));
    CATCH_CHECK(seen[0].var().item<double>() == Catch::Approx(1.0).margin(5 * 0.0056));
  }
}

CATCH_TEST_CASE("a hook changes the state that the next step starts from", "[core][executor][hook]") {
  const Plan plan = plan_of("ddim", 5);
  const at::Tensor start = normals({3, 4}, 1, at::kDouble);
  const at::Tensor before = start.clone();
  NoiseSource noise(1, {0, 1, 2});
  int marks = 0;
  // Replacement of the first two columns by known data 7 at each level, without noise: the end must hold them, and the
  // other columns must not notice.
  const Hook replace = [&](const Mark& mark, Latent& x) {
    ++marks;
    x.main().narrow(1, 0, 2).fill_(7.0 * mark.level.alpha);
  };
  std::vector<double> observed;
  const Observer observe = [&](const Mark&, const Latent& x, const Latent&) {
    observed.push_back(x.main()[0][0].item<double>());
  };
  const at::Tensor free = run_plan(plan, exact_denoiser, Latent::of(start), noise).main();
  const at::Tensor held = run_plan(plan, exact_denoiser, Latent::of(start), noise, {observe, replace}).main();
  CATCH_CHECK(marks == 5);
  CATCH_CHECK(at::equal(held.narrow(1, 0, 2), at::full({3, 2}, 7.0, at::kDouble)));
  CATCH_CHECK(at::equal(held.narrow(1, 2, 2), free.narrow(1, 2, 2)));
  CATCH_CHECK(observed.back() == 7.0);
  CATCH_CHECK(at::equal(start, before));
}

CATCH_TEST_CASE("plans get the raw, unguided and velocity outputs they ask for", "[core][executor][outputs]") {
  ThresholdingRegistry thresholds("thresholding");
  register_thresholding(thresholds);
  const Denoiser two = [](const Latent& x, const Query& query) {
    Outputs outputs;
    for (const Branch branch : query.branches)
      outputs.push_back(Latent::of(at::full_like(x.main(), branch == Branch::kConditional ? 0.9 : 0.5)));
    return outputs;
  };
  const auto wrapped = [&](const char* cfg) {
    return with_velocity(with_thresholding(with_guidance(two, make_guidance(cfg)),
                                           thresholds.create(Config::parse("{type: static, range: 1}", "t"), "none")),
                         linear_path());
  };
  Builder b(make_grid(linear_path(), {{0.4, 0.6}, {1, 0}}));
  const std::vector<Reg> outputs = b.evaluate(
      b.input(), {0.4, 0.6}, {OutputKind::kData, OutputKind::kRaw, OutputKind::kUnguided, OutputKind::kVelocity});
  Reg sum = b.input();
  for (const Reg reg : outputs) {
    sum = b.combine(Expr(reg));
    b.mark(sum, {1, 0});
  }
  const Plan plan = b.finish(sum);
  const auto values = [&](const char* cfg) {
    std::vector<double> seen;
    NoiseSource noise(1, {0});
    run_plan(plan, wrapped(cfg), Latent::of(at::full({1, 2}, 2.0, at::kDouble)), noise,
             [&](const Mark&, const Latent& x, const Latent&) { seen.push_back(x.main()[0][0].item<double>()); });
    return seen;
  };
  // Guided: 2 * 0.9 - 0.5 = 1.3, clipped to 1; eps = (2 - 0.4) / 0.6, velocity eps - x0 on the straight line.
  const std::vector<double> guided = values("{scale: 2}");
  CATCH_CHECK(guided[0] == 1.0);
  CATCH_CHECK(guided[1] == Catch::Approx(1.3));
  CATCH_CHECK(guided[2] == 0.5);
  CATCH_CHECK(guided[3] == Catch::Approx(1.6 / 0.6 - 1.0));
  // Neutral guidance evaluates the unconditional branch all the same when it is asked for.
  const std::vector<double> neutral = values("{scale: 1}");
  CATCH_CHECK(neutral[0] == 0.9);
  CATCH_CHECK(neutral[2] == 0.5);
  NoiseSource noise(1, {0});
  CATCH_CHECK_THROWS_AS(run_plan(plan, two, Latent::of(at::zeros({1, 2})), noise), Error);
}

CATCH_TEST_CASE("a learned variance scales noise between its bounds, element by element", "[core][executor][outputs]") {
  Builder b(make_grid(linear_path(), {{0.4, 0.6}, {1, 0}}));
  const std::vector<Reg> outputs = b.evaluate(b.input(), {0.4, 0.6}, {OutputKind::kData, OutputKind::kVariance});
  NoiseTerm term = Builder::fresh(kChurnStream, 0, 2.0);
  term.scale = outputs[1];
  term.log_low = std::log(0.01);
  term.log_high = std::log(0.25);
  const Reg x = b.combine(Expr(outputs[0]), term);
  b.mark(x, {1, 0});
  const Plan plan = b.finish(x);
  const at::Tensor v = at::tensor({-1.0, 1.0, 0.0, -1.0, 1.0, 0.0}).reshape({1, 6}).to(at::kDouble);
  const Denoiser learned = [&](const Latent& state, const Query& query) -> Outputs {
    Estimate estimate(Latent::of(at::zeros_like(state.main())));
    if (query.wanted.variance) estimate.variance = Latent::of(v);
    return {estimate};
  };
  NoiseSource noise(1, {0});
  const Latent like = Latent::of(at::zeros({1, 6}, at::kDouble));
  const at::Tensor z = noise.draw(term.draw, like)[0];
  const at::Tensor deviation = run_plan(plan, learned, like, noise).main() / z / 2.0;
  const double expected[] = {0.1, 0.5, std::sqrt(0.05)};  // exp of half the mean of the two logarithms
  for (int i = 0; i < 6; ++i)
    CATCH_CHECK(deviation[0][i].item<double>() == Catch::Approx(expected[i % 3]).epsilon(1e-12));
}

CATCH_TEST_CASE("adaptive samplers do on tensors what they do on the host", "[core][executor][adaptive]") {
  // Doubles in another order of sums: 1e-10. Elements are one sample on both sides.
  const at::Tensor start = normals({1, 40}, 2, at::kDouble);
  const Grid grid =
      make_grid(variance_preserving(),
                {variance_preserving().at(-3), variance_preserving().at(0), variance_preserving().at(2), {1, 0}});
  const SamplerRegistry samplers = all_samplers();
  int adaptive = 0;
  for (const auto& entry : samplers.entries()) {
    if (!entry.info.has_trait("adaptive")) continue;
    CATCH_CAPTURE(entry.info.name);
    const MachineMethod method = samplers.create(Config::empty(), entry.info.name).method(grid);
    NoiseSource noise(3, {0});
    const MethodRun run = run_method(method, exact_denoiser, Latent::of(start), noise);
    NoiseSource same(3, {0});
    HostMachine host(
        std::span(start.data_ptr<double>(), 40), 40,
        [](std::span<const double> x, const Level& level) {
          std::vector<double> result;
          for (const double value : x) result.push_back(kData.denoise(value, level));
          return result;
        },
        [&](const Draw& draw) {
          const at::Tensor z = same.draw(draw, Latent::of(start))[0];
          return std::vector<double>(z.data_ptr<double>(), z.data_ptr<double>() + 40);
        });
    const std::vector<double> expected = host.run(method);
    CATCH_CHECK(run.evaluations == host.evaluations());
    for (int i = 0; i < 40; ++i)
      CATCH_CHECK(run.x.main()[0][i].item<double>() ==
                  Catch::Approx(expected[static_cast<std::size_t>(i)]).epsilon(1e-10));
    ++adaptive;
  }
  CATCH_CHECK(adaptive >= 5);
}
