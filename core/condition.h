#pragma once
// What a sample is conditioned on, as named tensors whose first dimension is the batch.

#include <map>
#include <string>

#include <ATen/core/Tensor.h>

namespace thaw {

/// "label" int64 [N] (the number of classes is the null label), "caption" uint8 [N, B] (core/caption.h; the empty text
/// is null), "text", "text_mask", "pooled" of text encoders, "coarse", "coarse_noise" of cascades (core/coarse.h) ...
/// later first frames, partial clouds. An absent name means the network is not conditioned on it.
using Condition = std::map<std::string, at::Tensor>;

}  // namespace thaw
