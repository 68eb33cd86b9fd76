#pragma once
// Small networks of sounds with weights as after some training.

#include <memory>
#include <string>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "core/backbone.h"
#include "modalities/audio/list.h"

namespace thaw::testing {

inline const char* const kSoundNetworks[] = {
    "{type: diffwave, width: 12, depth: 4, cycle: 3, embedding: 24",
    "{type: unet1d, width: 8, multipliers: [1, 2], factor: 4, attention: [8], head_width: 8",
    "{type: sound_transformer, patch: 4, features: 24, depth: 2, heads: 2",
};

inline std::unique_ptr<Backbone> fresh(const std::string& yaml, const DataSpec& spec = {{2, 32}, 3}) {
  BackboneRegistry registry("backbone");
  audio::register_backbones(registry);
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

inline std::unique_ptr<Backbone> stirred(const std::string& yaml, const DataSpec& spec = {{2, 32}, 3}) {
  auto backbone = fresh(yaml, spec);
  stir(backbone->parameters().all());
  return backbone;
}

/// [N, C, T], no two samples alike.
inline at::Tensor sounds(at::IntArrayRef shape) {
  const std::int64_t count = c10::multiply_integers(shape);
  return (at::linspace(-1, 3, count) * 40).sin().reshape(shape);
}

inline double gap(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).abs().max().item<double>();
}

}  // namespace thaw::testing
