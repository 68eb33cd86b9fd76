// LoRA layers of text encoders, and prompts that are kept.

#include <ATen/ATen.h>

#include "core/checkpoint.h"
#include "experiments/diffusion_pipeline.h"
#include "tests/catch.h"
#include "tests/pipelines/pipeline_goldens.h"

using namespace thaw;
using namespace thaw::test;
namespace fs = std::filesystem;

namespace {

constexpr double kScale = 0.7, kAlpha = 3.0;
constexpr std::int64_t kRank = 2;

std::string replaced(std::string text, const std::string& before, const std::string& after) {
  for (std::size_t at = text.find(before); at != std::string::npos; at = text.find(before, at + after.size()))
    text.replace(at, before.size(), after);
  return text;
}

/// Layers for every projection of attention in `encoder`, whose stored weights are changed by hand to match.
void add_layers(const fs::path& encoder, const std::string& prefix, bool is_kohya, NamedTensors& layers) {
  NamedTensors weights = load_tensors(encoder).tensors;
  for (auto& [name, weight] : weights) {
    if (name.find("self_attn.") == std::string::npos || !name.ends_with("_proj.weight")) continue;
    std::string stem = name.substr(0, name.size() - std::string(".weight").size());
    if (!stem.starts_with("text_model.")) stem = "text_model." + stem;
    const auto wave = [&](std::int64_t rows, std::int64_t columns) {
      return at::sin(at::arange(rows * columns, at::kFloat) + static_cast<double>(layers.size()))
          .reshape({rows, columns});
    };
    const at::Tensor down = wave(kRank, weight.size(1)), up = wave(weight.size(0), kRank);
    if (is_kohya) {
      const std::string flat = prefix + "_" + replaced(stem, ".", "_");
      layers.emplace_back(flat + ".lora_down.weight", down);
      layers.emplace_back(flat + ".lora_up.weight", up);
      layers.emplace_back(flat + ".alpha", at::full({}, kAlpha));
    } else {
      layers.emplace_back(prefix + "." + stem + ".lora_A.weight", down);
      layers.emplace_back(prefix + "." + stem + ".lora_B.weight", up);
    }
    weight = weight + kScale * (is_kohya ? kAlpha / kRank : 1.0) * at::matmul(up, down);
  }
  save_tensors(encoder / "model.safetensors", weights, {{"format", "pt"}});
}

PipelineRequest request_of() {
  PipelineRequest request;
  request.prompt.prompt = "a photo of a cat";
  request.device = "cpu";
  request.precision = "float32";
  request.guidance = 4.0;
  request.steps = 2;
  request.lora_scale = kScale;
  return request;
}

double relative(const at::Tensor& found, const at::Tensor& expected) {
  return ((found - expected).abs().max() / expected.abs().max()).item<double>();
}

}  // namespace

CATCH_TEST_CASE("LoRA layers of text encoders change what their weights changed by hand change", "[pipelines]") {
  const Catalog catalog = make_catalog();
  for (const std::string name : {"sd", "sdxl"})
    for (const bool is_kohya : {false, true}) {
      CATCH_CAPTURE(name, is_kohya);
      const Scratch scratch("lora_" + name), by_hand("lora_by_hand_" + name);
      const image::PipelineFolder folder = image::open_pipeline_folder(make_pipeline(scratch, name));
      const image::PipelineFolder changed = image::open_pipeline_folder(make_pipeline(by_hand, name));
      NamedTensors layers;
      const std::string first = is_kohya ? (name == "sd" ? "lora_te" : "lora_te1") : "text_encoder";
      add_layers(changed.path / "text_encoder", first, is_kohya, layers);
      if (name == "sdxl")
        add_layers(changed.path / "text_encoder_2", is_kohya ? "lora_te2" : "text_encoder_2", is_kohya, layers);
      save_tensors(scratch / "lora.safetensors", layers);

      PipelineRequest request = request_of();
      const at::Tensor plain = run_diffusion_pipeline(folder, request, catalog).latents;
      const at::Tensor expected = run_diffusion_pipeline(changed, request, catalog).latents;
      CATCH_CHECK(relative(plain, expected) > 1e-3);
      request.lora = scratch / "lora.safetensors";
      CATCH_CHECK(relative(run_diffusion_pipeline(folder, request, catalog).latents, expected) < 1e-5);
    }
}

CATCH_TEST_CASE("kept prompts are of their weights and their LoRA file", "[pipelines]") {
  const Catalog catalog = make_catalog();
  const Scratch scratch("lora_cache");
  const std::string before = std::getenv("XDG_CACHE_HOME") == nullptr ? "" : std::getenv("XDG_CACHE_HOME");
  setenv("XDG_CACHE_HOME", (scratch / "user").c_str(), 1);
  const image::PipelineFolder folder = image::open_pipeline_folder(make_pipeline(scratch, "sd"));
  NamedTensors layers;
  const Scratch other("lora_cache_other");
  add_layers(make_pipeline(other, "sd") / "text_encoder", "text_encoder", false, layers);
  save_tensors(scratch / "lora.safetensors", layers);
  PipelineRequest request = request_of();
  const at::Tensor plain = run_diffusion_pipeline(folder, request, catalog).latents;
  request.lora = scratch / "lora.safetensors";
  const at::Tensor with_layers = run_diffusion_pipeline(folder, request, catalog).latents;
  request.prompt.options.cache = scratch / "prompts";
  for (int pass = 0; pass < 2; ++pass) {
    request.lora = fs::path();
    CATCH_CHECK(at::equal(run_diffusion_pipeline(folder, request, catalog).latents, plain));
    request.lora = scratch / "lora.safetensors";
    CATCH_CHECK(at::equal(run_diffusion_pipeline(folder, request, catalog).latents, with_layers));
  }
  // Hashes of weights are kept by path, size and time: other weights are other prompts.
  CATCH_CHECK(fs::exists(scratch / "user" / "thaw" / "text" / "weights.json"));
  fs::copy_file(other / "sd" / "text_encoder" / "model.safetensors", folder.path / "text_encoder" / "model.safetensors",
                fs::copy_options::overwrite_existing);
  request.lora = fs::path();
  CATCH_CHECK(relative(run_diffusion_pipeline(folder, request, catalog).latents, plain) > 1e-3);
  if (before.empty())
    unsetenv("XDG_CACHE_HOME");
  else
    setenv("XDG_CACHE_HOME", before.c_str(), 1);
}

CATCH_TEST_CASE("layers for encoders that a pipeline has not are said to be left out", "[pipelines]") {
  const Scratch scratch("lora_left_out"), other("lora_left_out_xl");
  const fs::path folder = make_pipeline(scratch, "sd"), xl = make_pipeline(other, "sdxl");
  NamedTensors layers;
  add_layers(folder / "text_encoder", "text_encoder", false, layers);
  const std::string command = "sample " + folder.string() +
                              " prompt=cat steps=1 device=cpu lora=" + (scratch / "lora.safetensors").string() +
                              " out=" + (scratch / "a.png").string();
  save_tensors(scratch / "lora.safetensors", layers);
  Outcome outcome = run_program(command, scratch);
  CATCH_CHECK(outcome.code == 0);
  CATCH_CHECK(outcome.err.find("left out") == std::string::npos);
  add_layers(xl / "text_encoder_2", "text_encoder_2", false, layers);
  save_tensors(scratch / "lora.safetensors", layers);
  outcome = run_program(command, scratch);
  CATCH_CHECK(outcome.code == 0);
  CATCH_CHECK(outcome.err.find("8 layers are left out: StableDiffusionPipeline has no such text encoder") !=
              std::string::npos);
}
