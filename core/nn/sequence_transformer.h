#pragma once
// The rotary transformer along one dimension. N batch, C channels, T places

#include "core/nn/space_time.h"

namespace thaw::nn {

/// RotaryTransformer of samples [N, C, T], on patches of `patch.times` neighbours; all features of a head turn with the
/// place.
class SequenceTransformer {
 public:
  SequenceTransformer(const Scope& scope, SpaceTimeOptions options) : network_(scope, along_time(options)) {}
  /// told.noise [N] or [N, t] with the number of patches: levels of places.
  at::Tensor operator()(const at::Tensor& x_NCT, const Told& told) const {
    return network_(x_NCT.unsqueeze(3).unsqueeze(4), told).flatten(2);
  }
  std::int64_t attention_layers() const { return network_.attention_layers(); }
  bool takes_parts() const { return network_.takes_parts(); }

 private:
  static SpaceTimeOptions along_time(SpaceTimeOptions options) {
    options.patch.rows = options.patch.columns = 1;
    options.rotary = {options.features / options.heads, 0, 0};
    return options;
  }
  RotaryTransformer network_;
};

}  // namespace thaw::nn
