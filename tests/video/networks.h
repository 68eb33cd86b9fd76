#pragma once
// Small transformers of clips with weights as after some training.

#include <memory>
#include <string>

#include "core/backbone.h"
#include "modalities/video/list.h"
#include "tests/stirred.h"

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

inline std::unique_ptr<Backbone> stirred(const std::string& yaml, const DataSpec& spec = {{2, 3, 4, 6}, 3}) {
  auto backbone = fresh(yaml, spec);
  stir(backbone->parameters().all());
  return backbone;
}

/// [N, C, T, H, W], no two samples alike.
inline at::Tensor clips(at::IntArrayRef shape) {
  return waves(shape);
}

}  // namespace thaw::testing
