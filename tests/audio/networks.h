#pragma once
// Small networks of sounds with weights as after some training.

#include <memory>
#include <string>

#include "core/backbone.h"
#include "modalities/audio/list.h"
#include "tests/stirred.h"

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

inline std::unique_ptr<Backbone> stirred(const std::string& yaml, const DataSpec& spec = {{2, 32}, 3}) {
  auto backbone = fresh(yaml, spec);
  stir(backbone->parameters().all());
  return backbone;
}

/// [N, C, T], no two samples alike.
inline at::Tensor sounds(at::IntArrayRef shape) {
  return waves(shape);
}

}  // namespace thaw::testing
