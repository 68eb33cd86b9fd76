// The executor against two other ways to the same states: estimates as formulas, plans as tables.

#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/executor.h"
#include "core/guidance.h"
#include "core/lanes.h"
#include "core/math/philox.h"
#include "core/math/plan_builder.h"
#include "core/math/plan_table.h"
#include "samplers/sampler.h"
#include "tests/catch.h"
#include "tests/core/plans_on_tensors.h"

using namespace thaw;

CATCH_TEST_CASE("an estimate given as a formula leads to the same states as the estimate itself", "[core][executor]") {
  // D = skip x + out F of a network whose F depends on x: formulas that were read too late would show.
  const auto network = [](const at::Tensor& x) { return at::sin(x * 1.7 + 0.3); };
  const auto skip = [](const Level& level) { return level.alpha; };
  const auto out = [](const Level& level) { return -level.sigma; };
  int formulas = 0;
  const Denoiser in_full = [&](const Latent& x, const Query& query) -> Outputs {
    if (!query.lanes.empty()) return ask_by_lane(in_full, x, query);
    return {Latent::of(skip(query.at) * x.main() + out(query.at) * network(x.main()))};
  };
  const Denoiser as_formula = [&](const Latent& x, const Query& query) -> Outputs {
    if (!query.wanted.affine) return in_full(x, query);
    ++formulas;
    return {Estimate(Affine{skip(query.at), {{out(query.at), Latent::of(network(x.main()))}}})};
  };
  const Guidance guidance = weighted_branches([](const Level&) { return classifier_free_weights(2.5); });
  const auto branches = [](const Denoiser& denoiser) {  // the unconditional branch sees another state
    return Denoiser([&denoiser](const Latent& x, const Query& query) {
      Query one = query;
      one.branches = {Branch::kConditional};
      Outputs both = denoiser(x, one);
      both.push_back(both.front());
      if (both[1].affine)
        both[1].affine->parts[0].first *= 0.5;
      else
        both[1].data = Latent::of(0.5 * both[1].data.main() + 0.5 * query.at.alpha * x.main());
      return both;
    });
  };
  const SamplerRegistry samplers = all_samplers();
  int planned = 0;
  for (const auto& entry : samplers.entries()) {
    const std::string& name = entry.info.name;
    CATCH_CAPTURE(name);
    if (entry.info.has_trait("adaptive") || entry.info.has_trait("inverts")) continue;
    if (entry.info.has_trait("needs_discrete")) continue;
    Plan plan;
    try {
      plan = plan_of(name, 9);
    } catch (const ConfigError&) {
      continue;
    }
    if (!asks_for_data_only(plan)) continue;
    ++planned;
    const at::Tensor start = normals({4, 6}, 7, at::kDouble);
    const auto run = [&](const Denoiser& denoiser, const Watch& watch = {}) {
      NoiseSource noise(5, {0, 1, 2, 3}, PathKind::kIndependent);
      return run_plan(plan, denoiser, Latent::of(start), noise, watch).main();
    };
    const at::Tensor expected = run(in_full), x = run(as_formula);
    const double scale = expected.abs().max().item<double>();
    CATCH_CHECK((x - expected).abs().max().item<double>() < 1e-11 * scale);
    // Whoever watches changes no bit, and sees the estimates.
    double worst = 0.0;
    at::Tensor state = start;
    const at::Tensor watched = run(as_formula, Watch([&](const Mark&, const Latent&, const Latent& denoised) {
                                     worst = std::max(worst, denoised.main().abs().max().item<double>());
                                   }));
    CATCH_CHECK(at::equal(watched, x));
    CATCH_CHECK(worst > 0.0);
    // A hook that writes to the state between an estimate and its use.
    const Watch hooked(Observer(), [](const Mark&, Latent& latent) { latent.main().mul_(0.9); });
    CATCH_CHECK((run(as_formula, hooked) - run(in_full, hooked)).abs().max().item<double>() < 1e-11 * scale);
    const Denoiser guided = with_guidance(branches(in_full), guidance),
                   guided_formula = with_guidance(branches(as_formula), guidance);
    const at::Tensor end = run(guided);
    CATCH_CHECK((run(guided_formula) - end).abs().max().item<double>() < 1e-11 * end.abs().max().item<double>());
  }
  CATCH_CHECK(planned >= 55);
  CATCH_CHECK(formulas > 1000);
}

CATCH_TEST_CASE("the table of a plan gives what the executor gives, to the bit", "[core][executor][table]") {
  const auto answer = [](float x, const Level& level) {
    return std::tanh(1.3f * x + static_cast<float>(level.sigma)) * 0.8f;
  };
  const Denoiser on_tensors = [&](const Latent& x, const Query& query) -> Outputs {
    at::Tensor data = at::empty_like(x.main());
    for (std::int64_t i = 0; i < data.numel(); ++i)
      data.data_ptr<float>()[i] = answer(x.main().const_data_ptr<float>()[i], query.at);
    return {Latent::of(data)};
  };
  const SamplerRegistry samplers = all_samplers();
  int planned = 0;
  for (const auto& entry : samplers.entries()) {
    const std::string& name = entry.info.name;
    CATCH_CAPTURE(name);
    if (entry.info.has_trait("adaptive") || entry.info.has_trait("inverts") || entry.info.has_trait("needs_timesteps"))
      continue;
    const Plan plan = plan_of(name, 9);
    if (!asks_for_data_only(plan)) continue;
    ++planned;
    NoiseSource noise(5, {11});
    const at::Tensor start = normals({1, 24}, 7);
    const at::Tensor expected = run_plan(plan, on_tensors, Latent::of(start.clone()), noise).main();
    const TableDenoiser<float> on_host = [&](const TableQuery<float>& query) {
      for (std::size_t i = 0; i < query.x.size(); ++i) query.answers[0].values[i] = answer(query.x[i], query.level);
    };
    const TableNoise draw = [&](const Draw& what, std::span<float> values) {
      if (what.is_path && what.from == what.to) return std::fill(values.begin(), values.end(), 0.0f);  // absent
      const at::Tensor z = noise.draw(what, Latent::of(start)).front();
      std::copy_n(z.const_data_ptr<float>(), values.size(), values.begin());
    };
    const std::vector<float> made =
        run_table<float>(make_table(plan), {start.const_data_ptr<float>(), 24}, on_host, draw);
    CATCH_CHECK(std::equal(made.begin(), made.end(), expected.const_data_ptr<float>()));
  }
  CATCH_CHECK(planned >= 55);
}
