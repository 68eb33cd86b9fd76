#pragma once
// Checkpoints in one file, by the names of the original Stable Diffusion code and of web UIs (LDM), as the parts of a
// pipeline in the layout of diffusers.

#include <map>
#include <string>

#include "core/nn/parameters.h"

namespace thaw::image {

/// What its flat numbering of blocks is taken apart by.
struct SingleFileLayout {
  std::int64_t unet_layers = 2;  // resnets a level
  std::int64_t vae_levels = 4;
  std::int64_t text_layers = 23;  // of Stable Diffusion 2's encoder; the file holds one more, which is not used
};

struct SingleFileName {
  std::string part{};  // unet, vae, text_encoder, text_encoder_2; empty: not of the pipeline (averages, schedules)
  std::string name{};  // in the part
};

/// A fused projection of open_clip keeps its name; see split_single_file. Names of text encoders begin with text_model.
SingleFileName single_file_name(const std::string& name, const SingleFileLayout& layout);

/// Tensors by part, renamed, fused projections in three, and kernels of one pixel in attentions of the autoencoder as
/// matrices. Throws DataError for names it does not know.
std::map<std::string, NamedTensors> split_single_file(const NamedTensors& tensors, const SingleFileLayout& layout,
                                                      const std::string& where);

}  // namespace thaw::image
