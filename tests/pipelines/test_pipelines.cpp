// Twenty steps of whole pipelines against diffusers 0.42.1, and what broken folders are answered with.

#include <set>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/checkpoint.h"
#include "experiments/diffusion_pipeline.h"
#include "tests/catch.h"
#include "tests/pipelines/pipeline_goldens.h"

using namespace thaw;
using namespace thaw::test;
namespace fs = std::filesystem;

namespace {

double relative(const at::Tensor& found, const at::Tensor& expected) {
  if (found.sizes() != expected.sizes()) throw DataError("another shape");
  return ((found - expected).abs().max() / expected.abs().max()).item<double>();
}

struct Case {
  nlohmann::json asked;
  std::map<std::string, at::Tensor> tensors;
};

Case read_case(const fs::path& stem) {
  Case made{nlohmann::json::parse(read_file(stem.string() + ".json")), {}};
  for (const auto& [name, tensor] : load_tensors(stem.string() + ".safetensors").tensors) made.tensors[name] = tensor;
  return made;
}

PipelineRequest request_of(Case& one, const fs::path& folder, const Scratch& scratch) {
  const nlohmann::json& asked = one.asked;
  PipelineRequest request;
  request.prompt.prompt = asked.value("prompt", "");
  request.prompt.options.reads_weights = false;
  if (asked.contains("negative")) request.prompt.negative = asked["negative"].get<std::string>();
  request.label = asked.value("label", -1);
  request.guidance = asked["guidance"].get<double>();
  request.steps = asked["steps"].get<std::int64_t>();
  request.strength = asked.value("strength", 1.0);
  request.precision = "float32";
  request.device = "cpu";
  request.size = asked.value("size", std::array<std::int64_t, 2>{16, 16});
  if (asked.contains("scheduler")) {
    request.scheduler = scratch / "scheduler.json";
    write_file(request.scheduler, asked["scheduler"].dump());
  }
  if (asked.contains("control")) {
    request.controlnet = folder / "controlnet";
    request.control_scale = asked["control"].get<double>();
    request.inputs.control = one.tensors.at("control");
  }
  request.inputs.start = one.tensors.at("latents");
  if (one.tensors.contains("image_pixels")) request.inputs.picture = one.tensors.at("image_pixels");
  if (one.tensors.contains("latents_of_image")) request.inputs.picture_latents = one.tensors.at("latents_of_image");
  if (one.tensors.contains("mask")) request.inputs.mask = one.tensors.at("mask");
  return request;
}

/// The error of opening a folder, with its exit code in front.
std::string refusal(const fs::path& folder) {
  try {
    image::open_pipeline_folder(folder);
  } catch (const Error& error) {
    return std::to_string(static_cast<int>(error.code())) + " " + error.what();
  }
  return "opened";
}

}  // namespace

CATCH_TEST_CASE("twenty steps of each pipeline are those of diffusers", "[pipelines]") {
  const Catalog catalog = make_catalog();
  std::set<std::string> seen;
  for (const auto& entry : fs::directory_iterator(golden_pipeline(""))) {
    const std::string name = entry.path().filename().string();
    const Scratch scratch("pipeline_" + name);
    const fs::path path = make_pipeline(scratch, name);
    const image::PipelineFolder folder = image::open_pipeline_folder(path);
    for (const auto& file : fs::directory_iterator(entry.path() / "cases")) {
      if (file.path().extension() != ".json") continue;
      CATCH_CAPTURE(name, file.path().stem().string());
      Case one = read_case(fs::path(file.path()).replace_extension());
      const PipelineRequest request = request_of(one, path, scratch);
      const PipelineResult result = run_diffusion_pipeline(folder, request, catalog);
      // float32 on both sides: 20 steps times what guidance makes of a rounding.
      CATCH_CHECK(relative(result.latents, one.tensors.at("result")) < 1e-4);
      CATCH_CHECK(relative(result.pictures, one.tensors.at("picture")) < 1e-4);
      seen.insert(name + "/" + file.path().stem().string());
    }
  }
  CATCH_CHECK(seen.size() == 23);
}

CATCH_TEST_CASE("a told level at alpha = 0 answers for itself alone", "[pipelines]") {
  Parameterisation told;
  told.conditioning = Conditioning::kTimestep;
  const Level noise{0.0, 1.0}, half{0.5, 0.5};
  told.told = {{noise.lambda(), 1000.0}, {half.lambda(), 500.0}};
  CATCH_CHECK(told.noise_number(noise) == 1000.0);
  CATCH_CHECK(told.noise_number(half) == 500.0);
}

CATCH_TEST_CASE("another prompt, negative or seed is another picture, and the same ones the same", "[pipelines]") {
  const Catalog catalog = make_catalog();
  const Scratch scratch("pipeline_prompts");
  const image::PipelineFolder folder = image::open_pipeline_folder(make_pipeline(scratch, "sd"));
  PipelineRequest request;
  request.prompt.prompt = "a photo of a cat";
  request.steps = 3;
  request.device = "cpu";
  const auto of = [&](const PipelineRequest& one) { return run_diffusion_pipeline(folder, one, catalog).latents; };
  const at::Tensor base = of(request);
  CATCH_CHECK(at::equal(of(request), base));
  PipelineRequest other = request;
  other.prompt.prompt = "two dogs on a boat";
  CATCH_CHECK(relative(of(other), base) > 1e-3);
  other = request;
  other.prompt.negative = "low quality";
  CATCH_CHECK(relative(of(other), base) > 1e-3);
  other = request;
  other.seed = 2;
  CATCH_CHECK(relative(of(other), base) > 0.1);
  // Sample 0 does not depend on how many there are.
  other = request;
  other.n = 2;
  CATCH_CHECK(at::equal(of(other).narrow(0, 0, 1), base));
}

CATCH_TEST_CASE("a pipeline that cannot be read says where, what and what is read", "[pipelines]") {
  const Scratch scratch("pipeline_broken");
  const fs::path folder = make_pipeline(scratch, "sd"), index = folder / "model_index.json";
  const nlohmann::json whole = nlohmann::json::parse(read_file(index));
  const auto with = [&](const std::string& key, const nlohmann::json& value) {
    nlohmann::json changed = whole;
    changed[key] = value;
    write_file(index, changed.dump());
    return refusal(folder);
  };
  const auto contains = [](const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
  };
  CATCH_CHECK(contains(with("_class_name", "KandinskyPipeline"), "3 "));
  CATCH_CHECK(contains(with("_class_name", "KandinskyPipeline"), "\"KandinskyPipeline\" is not read."));
  CATCH_CHECK(contains(with("_class_name", "KandinskyPipeline"), "StableDiffusionPipeline"));
  CATCH_CHECK(contains(with("unet", {"diffusers", "UNet3DConditionModel"}), "Supported: UNet2DConditionModel"));
  CATCH_CHECK(contains(with("unet", {nullptr, nullptr}), "has no part \"unet\""));
  CATCH_CHECK(contains(with("../unet", {"diffusers", "UNet2DConditionModel"}), "\"../unet\" is no folder beside it"));
  CATCH_CHECK(contains(with("surprise", 3), "surprise: this key is not read."));
  write_file(index, whole.dump());
  CATCH_CHECK(refusal(folder) == "opened");
  fs::rename(folder / "unet" / "diffusion_pytorch_model.safetensors", folder / "unet" / "diffusion_pytorch_model.bin");
  CATCH_CHECK(contains(refusal(folder), "tests/peers/convert_pickle.py"));
  fs::remove(folder / "unet" / "diffusion_pytorch_model.bin");
  nlohmann::json shards{{"metadata", nlohmann::json::object()},
                        {"weight_map", {{"conv_in.weight", "diffusion_pytorch_model-00001-of-00002.safetensors"}}}};
  const fs::path sharded = folder / "unet" / "diffusion_pytorch_model.safetensors.index.json";
  write_file(sharded, shards.dump());
  CATCH_CHECK_THROWS_WITH(image::weight_facts(folder / "unet"),
                          Catch::Contains("diffusion_pytorch_model-00001-of-00002.safetensors: cannot read"));
  shards["weight_map"]["conv_in.weight"] = "../vae/diffusion_pytorch_model.safetensors";
  write_file(sharded, shards.dump());
  CATCH_CHECK_THROWS_WITH(image::weight_facts(folder / "unet"),
                          Catch::Contains("which is not a file beside the index"));
  fs::remove_all(folder / "vae");
  write_file(sharded, "{}");
  CATCH_CHECK(contains(refusal(folder), "vae: no such folder"));
}

CATCH_TEST_CASE("a request that does not suit its pipeline is refused before the first step", "[pipelines]") {
  const Catalog catalog = make_catalog();
  const Scratch scratch("pipeline_requests");
  const image::PipelineFolder folder = image::open_pipeline_folder(make_pipeline(scratch, "sd"));
  const auto refused = [&](const PipelineRequest& request) {
    try {
      run_diffusion_pipeline(folder, request, catalog);
    } catch (const Error& error) {
      return std::to_string(static_cast<int>(error.code())) + " " + error.what();
    }
    return std::string("ran");
  };
  PipelineRequest request;
  request.device = "cpu";
  request.steps = 1;
  PipelineRequest changed = request;
  changed.prompt.prompt = "caf\xe9";
  CATCH_CHECK(refused(changed).starts_with("2 "));
  CATCH_CHECK(refused(changed).find("UTF-8") != std::string::npos);
  changed = request;
  changed.size = {15, 16};
  CATCH_CHECK(refused(changed) == "2 command line: size: sides must be multiples of 2, got 15.");
  changed = request;
  changed.strength = 0.5;
  CATCH_CHECK(refused(changed) == "2 command line: strength: needs image=FILE.");
  changed = request;
  changed.inputs.mask = at::zeros({1, 1, 16, 16});
  CATCH_CHECK(refused(changed) == "2 command line: mask: needs image=FILE.");
  changed = request;
  changed.label = 2;
  CATCH_CHECK(refused(changed) == "2 command line: label: StableDiffusionPipeline has no classes.");
  changed = request;
  changed.inputs.start = at::zeros({1, 3, 8, 8});
  CATCH_CHECK(refused(changed) == "3 latents: is [1, 3, 8, 8], expected [N, 4, 8, 8].");
  CATCH_CHECK(refused(request) == "ran");
}
