#pragma once
// Whole pipelines in the layout of diffusers: prompts, network, scheduler and autoencoder as one.

#include <array>
#include <filesystem>
#include <optional>
#include <string>

#include "core/nn/streaming.h"
#include "experiments/catalog.h"
#include "modalities/images/pipeline_text.h"

namespace thaw {

/// Pictures and numbers that a run starts from; undefined where nothing is given.
struct PipelineInputs {
  at::Tensor start{};            // [N, C, h, w] standard normal, in place of our own noise
  at::Tensor picture{};          // [1 or N, 3, H, W] in [-1, 1]
  at::Tensor picture_latents{};  // the same at the denoiser's scale, in place of `picture`
  at::Tensor mask{};             // [1 or N, 1, H, W]: at least 1/2 is made anew, the rest stays
  at::Tensor control{};          // [1 or N, C, H, W] in [0, 1]
};

struct PipelineRequest {
  image::PipelinePrompt prompt{};
  std::int64_t label = -1;  // of DiT; -1: they go round
  std::int64_t n = 1, steps = 20;
  std::uint64_t seed = 1;
  std::optional<double> guidance{};        // absent: 7.5, or 3.5 where the network is told it
  double strength = 1.0;                   // of the way from noise that is gone, of given pictures
  std::array<std::int64_t, 2> size{0, 0};  // width and height in pixels; 0: what the network was trained at
  std::filesystem::path scheduler{};       // a scheduler_config.json in place of the pipeline's own
  std::filesystem::path controlnet{}, lora{};
  double control_scale = 1.0, lora_scale = 1.0;
  std::string weights = "float32";  // type of the network's weights: float32, bfloat16, float16, stored
  std::string device = "auto", precision = "auto";
  std::string tiling = "off";             // of the autoencoder: off, exact (bands of rows), blended (tiles)
  std::int64_t tile = 64;                 // side of a blended tile in latent positions
  bool streams_weights = false;           // the network's stay in their files and go to the device layer by layer
  nn::StreamedBytes* streamed = nullptr;  // what of them was copied; may be null
  std::int64_t micro_batch = 1;
  /// Sections sampler, grid, guidance and thresholding in place of what the scheduler says.
  Config sections = Config::empty();
  PipelineInputs inputs{};
};

struct PipelineResult {
  at::Tensor latents;   // at the denoiser's scale
  at::Tensor pictures;  // [N, 3, H, W], [-1, 1] and beyond
};

/// Parts are opened one after the other, and the text encoders closed before the network is opened. Throws ConfigError
/// and DataError before anything is computed where what is asked does not suit the pipeline.
PipelineResult run_diffusion_pipeline(const image::PipelineFolder& folder, const PipelineRequest& request,
                                      const Catalog& catalog);

}  // namespace thaw
