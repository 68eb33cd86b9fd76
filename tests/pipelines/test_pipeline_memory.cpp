// Pipelines in less memory: weights that stay in their files, autoencoders in bands.

#include <set>

#include <ATen/ATen.h>

#include "core/checkpoint.h"
#include "core/device.h"
#include "experiments/diffusion_pipeline.h"
#include "experiments/experiment.h"
#include "tests/catch.h"
#include "tests/pipelines/pipeline_goldens.h"

using namespace thaw;
using namespace thaw::test;
namespace fs = std::filesystem;

namespace {

/// The pipeline with its network's weights stored as bfloat16: a copy in float32 is then one wherever it is made.
image::PipelineFolder half_stored(const Scratch& scratch, const std::string& name) {
  const image::PipelineFolder folder = image::open_pipeline_folder(make_pipeline(scratch, name));
  const fs::path weights = folder.denoiser().folder / "diffusion_pytorch_model.safetensors";
  NamedTensors tensors = load_tensors(weights).tensors;
  for (auto& [name_of_it, tensor] : tensors) tensor = tensor.to(at::kBFloat16);
  save_tensors(weights, tensors, {{"format", "pt"}});
  return folder;
}

PipelineRequest short_request(const image::PipelineFolder& folder) {
  PipelineRequest request;
  if (folder.find("text_encoder") != nullptr) request.prompt.prompt = "a photo of a cat";
  request.device = "cpu";
  request.precision = "float32";
  request.guidance = 4.0;
  request.steps = 3;
  request.size = {16, 16};
  return request;
}

}  // namespace

CATCH_TEST_CASE("streamed weights give the same bits, one layer in memory at a time", "[pipelines]") {
  const Catalog catalog = make_catalog();
  for (const char* name : {"sd", "sd_inpaint", "sdxl", "sd3", "pixart_alpha", "flux", "dit"}) {
    CATCH_CAPTURE(name);
    const Scratch scratch(std::string("streamed_") + name);
    const image::PipelineFolder folder = half_stored(scratch, name);
    PipelineRequest request = short_request(folder);
    if (std::string(name) == "sd_inpaint") {
      request.inputs.picture = at::sin(at::arange(3 * 256, at::kFloat)).reshape({1, 3, 16, 16});
      request.inputs.mask = at::ones({1, 1, 16, 16});
    }
    const at::Tensor expected = run_diffusion_pipeline(folder, request, catalog).latents;
    nn::StreamedBytes count;
    request.streams_weights = true;
    request.streamed = &count;
    CATCH_CHECK(at::equal(run_diffusion_pipeline(folder, request, catalog).latents, expected));

    const image::WeightFacts facts = image::weight_facts(folder.denoiser().folder);
    const std::size_t in_float = 4 * static_cast<std::size_t>(facts.parameters);
    // A layer's weight and bias, while the next layer's are made.
    CATCH_CHECK(count.peak <= 2 * count.largest + 4096);
    CATCH_CHECK(count.peak < in_float / 2);
    // What a forward pass reads past the mechanism would be of the wrong device elsewhere; some tables are never read.
    const std::set<const void*> asked(count.weights.begin(), count.weights.end());
    CATCH_CHECK(asked.size() + 3 >= static_cast<std::size_t>(facts.tensors));
    CATCH_CHECK(count.copied > 3 * in_float / 2);
  }
}

CATCH_TEST_CASE("streamed weights follow the type that is asked for, and a ControlNet streams too", "[pipelines]") {
  const Catalog catalog = make_catalog();
  const Scratch scratch("streamed_types");
  const image::PipelineFolder folder = half_stored(scratch, "sd");
  for (const char* type : {"stored", "bfloat16", "float16", "float32"}) {
    CATCH_CAPTURE(type);
    PipelineRequest request = short_request(folder);
    request.weights = type;
    // Where autocast takes bfloat16, weights in float16 compute in their own type.
    if (request.weights == "float16") request.precision = "auto";
    if (request.weights == "float32") {
      request.controlnet = folder.path / "controlnet";
      request.inputs.control = at::ones({1, 3, 16, 16});
    }
    const at::Tensor expected = run_diffusion_pipeline(folder, request, catalog).latents;
    request.streams_weights = true;
    CATCH_CHECK(at::equal(run_diffusion_pipeline(folder, request, catalog).latents, expected));
  }
}

CATCH_TEST_CASE("a configuration's published network keeps the type it asks for", "[pipelines]") {
  const Catalog catalog = make_catalog();
  const std::string folder = (fs::path(THAW_SOURCE_DIR) / "tests" / "golden" / "unet2d").string();
  for (const auto& [name, type] :
       {std::pair("bfloat16", at::kBFloat16), std::pair("float16", at::kHalf), std::pair("float32", at::kFloat)}) {
    CATCH_CAPTURE(name);
    const Experiment experiment(
        Config::parse("device: cpu\nbackbone: {type: published, path: " + folder + ", weights: " + name + "}\n",
                      "test"),
        catalog);
    const Model model = experiment.make_model();
    for (const auto& [weight, tensor] : model.backbone->parameters().all()) CATCH_CHECK(tensor.scalar_type() == type);
    CATCH_CHECK((type != at::kHalf || model.precision == Precision::kFloat32));
  }
}

CATCH_TEST_CASE("a pipeline decodes in bands what it decodes as a whole", "[pipelines]") {
  const Catalog catalog = make_catalog();
  const Scratch scratch("bands");
  const image::PipelineFolder folder = image::open_pipeline_folder(make_pipeline(scratch, "sd"));
  PipelineRequest request = short_request(folder);
  request.n = 2;
  const PipelineResult whole = run_diffusion_pipeline(folder, request, catalog);
  request.tiling = "exact";
  const PipelineResult bands = run_diffusion_pipeline(folder, request, catalog);
  CATCH_CHECK(at::equal(bands.latents, whole.latents));
  CATCH_CHECK(((bands.pictures - whole.pictures).abs().max() / whole.pictures.abs().max()).item<double>() < 1e-5);
  request.tiling = "blended";
  request.tile = 4;  // of 8 positions
  const PipelineResult tiles = run_diffusion_pipeline(folder, request, catalog);
  CATCH_CHECK(tiles.pictures.sizes() == whole.pictures.sizes());
  CATCH_CHECK(!at::equal(tiles.pictures, whole.pictures));
}

CATCH_TEST_CASE("on a GPU streamed weights give what weights there give", "[pipelines][cuda]") {
  init_devices();
  if (!cuda_problem().empty()) {
    CATCH_WARN("no GPU: " << cuda_problem());
    return;
  }
  const Catalog catalog = make_catalog();
  for (const char* name : {"sd", "sd3", "pixart_alpha", "flux"}) {
    CATCH_CAPTURE(name);
    const Scratch scratch(std::string("cuda_") + name);
    const image::PipelineFolder folder = image::open_pipeline_folder(make_pipeline(scratch, name));
    PipelineRequest request = short_request(folder);
    request.device = "cuda";
    const at::Tensor expected = run_diffusion_pipeline(folder, request, catalog).latents;
    nn::StreamedBytes count;
    request.streams_weights = true;
    request.streamed = &count;
    const at::Tensor streamed = run_diffusion_pipeline(folder, request, catalog).latents;
    CATCH_CHECK(((streamed - expected).abs().max() / expected.abs().max()).item<double>() < 1e-5);
    CATCH_CHECK(count.copied > 0);
    CATCH_CHECK(count.peak <= 2 * count.largest + 4096);
  }
}
