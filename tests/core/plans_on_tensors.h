#pragma once
// Plans and states that the tests of the executor share.

#include <ATen/ATen.h>

#include "core/math/philox.h"
#include "core/math/plan.h"
#include "samplers/sampler.h"

namespace thaw {

inline bool asks_for_data_only(const Plan& plan) {
  for (const Instruction& instruction : plan.program)
    if (const Evaluate* e = std::get_if<Evaluate>(&instruction))
      for (const Output& output : e->outputs)
        if (output.kind != OutputKind::kData) return false;
  return true;
}

inline at::Tensor normals(at::IntArrayRef shape, std::uint64_t seed, at::ScalarType type = at::kFloat) {
  at::Tensor x = at::empty(shape);
  fill_normal({x.data_ptr<float>(), static_cast<std::size_t>(x.numel())}, {seed, Purpose::kOther});
  return x.to(type);
}

inline SamplerRegistry all_samplers() {
  SamplerRegistry samplers("sampler");
  register_samplers(samplers);
  return samplers;
}

inline Plan plan_of(const std::string& name, int steps, const std::string& options = "{}") {
  std::vector<Level> levels;
  for (int i = 0; i < steps; ++i) levels.push_back(variance_preserving().at(-3.0 + 7.0 * i / steps));
  levels.push_back({1.0, 0.0});
  return all_samplers().create(Config::parse(options, "t"), name)(make_grid(variance_preserving(), levels));
}

}  // namespace thaw
