#pragma once
// Small transformers of clips with weights as after some training.

#include <memory>
#include <string>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "core/backbone.h"
#include "modalities/video/list.h"

namespace thaw::testing {

inline const char* const kClipNetworks[] = {
    "{type: video_dit, patch: 2, features: 24, depth: 2, heads: 2",
    "{type: video_transformer, patch: 2, features: 24, depth: 2, heads: 2",
};

inline std::unique_ptr<Backbone> fresh(const std::string& yaml, const DataSpec& spec = {{2, 3, 4, 6}, 3}) {
  BackboneRegistry registry("backbone");
  video::register_transformers(registry);
  return registry.create(Config::parse(yaml, "t"), "", spec, 5);
}

/// Weights start such that the output is 0; these do not. Numbers of either sign, none alike.
inline void stir(const NamedTensors& weights) {
  const c10::NoGradGuard no_grad;
  double count = 0.0;
  for (auto [name, weight] : weights)
    if (weight.requires_grad())
      weight.add_((at::arange(weight.numel()) * 2.4 + count++).sin().reshape(weight.sizes()) * 0.08);
}

inline std::unique_ptr<Backbone> stirred(const std::string& yaml, const DataSpec& spec = {{2, 3, 4, 6}, 3}) {
  auto backbone = fresh(yaml, spec);
  stir(backbone->parameters().all());
  return backbone;
}

/// [N, C, T, H, W], no two samples alike.
inline at::Tensor clips(at::IntArrayRef shape) {
  const std::int64_t count = c10::multiply_integers(shape);
  return (at::linspace(-1, 3, count) * 40).sin().reshape(shape);
}

inline double gap(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).abs().max().item<double>();
}

}  // namespace thaw::testing
