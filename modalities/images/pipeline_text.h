#pragma once
// Prompts of a pipeline to what its network is conditioned on, as the pipelines of diffusers 0.42.1 do it.

#include <optional>
#include <string>

#include "core/condition.h"
#include "modalities/images/pipeline_folder.h"
#include "text/conditioner.h"

namespace thaw::image {

struct PipelinePrompt {
  std::string prompt{};
  std::optional<std::string> negative{};  // absent is not empty: SDXL then takes zeros
  text::ConditionerOptions options{};
};

/// One row each, by the same names.
struct PromptConditions {
  Condition condition{}, null{};
};

/// Opens the encoders, encodes and closes them again; nothing where the family reads no text. Throws ConfigError for
/// text that is not UTF-8.
PromptConditions encode_prompt(const PipelineFolder& pipeline, const PipelinePrompt& prompt);

/// What the network is told of a picture of this size in pixels: time_ids of SDXL, resolution and aspect_ratio of
/// PixArt alpha at 1024; empty elsewhere. `side` is the network's own side in latent positions.
Condition size_conditions(const PipelineFolder& pipeline, std::int64_t height, std::int64_t width, std::int64_t side);

/// Of a latent consistency model: sines and cosines of the scale of guidance less 1, [1, width] (Luo et al. 2023).
at::Tensor guidance_features(double scale, std::int64_t width);

}  // namespace thaw::image
