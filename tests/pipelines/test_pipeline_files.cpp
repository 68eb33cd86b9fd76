// Single files, exported folders, costs, and the commands over them.

#include <map>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/checkpoint.h"
#include "modalities/images/pipeline_cost.h"
#include "modalities/images/single_file.h"
#include "tests/catch.h"
#include "tests/pipelines/pipeline_goldens.h"

using namespace thaw;
using namespace thaw::test;
namespace fs = std::filesystem;

namespace {

constexpr image::SingleFileLayout kLayout{.unet_layers = 1, .vae_levels = 2};

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

CATCH_TEST_CASE("names of single files become what diffusers makes of them", "[pipelines]") {
  const nlohmann::json pairs =
      nlohmann::json::parse(read_file(golden_pipeline("").parent_path().parent_path() / "pipelines_single_file.json"));
  CATCH_CHECK(pairs.size() > 200);
  for (const auto& pair : pairs) {
    const image::SingleFileName to = image::single_file_name(pair[0].get<std::string>(), kLayout);
    CATCH_CAPTURE(pair.dump());
    CATCH_CHECK(to.part == pair[1].get<std::string>());
    CATCH_CHECK(to.name == pair[2].get<std::string>());
  }
}

CATCH_TEST_CASE("fused projections of a single file come apart in order", "[pipelines]") {
  const at::Tensor fused = at::arange(12, at::kFloat).reshape({6, 2}),
                   square = at::arange(4, at::kFloat).reshape({2, 2});
  const auto parts =
      image::split_single_file({{"conditioner.embedders.1.model.transformer.resblocks.3.attn.in_proj_weight", fused},
                                {"conditioner.embedders.1.model.text_projection", square},
                                {"first_stage_model.decoder.mid.attn_1.q.weight", square.reshape({2, 2, 1, 1})},
                                {"model_ema.decay", at::ones({})}},
                               kLayout, "f");
  std::map<std::string, at::Tensor> text;
  for (const auto& [name, tensor] : parts.at("text_encoder_2")) text[name] = tensor;
  CATCH_CHECK(text.size() == 4);
  const std::string layer = "text_model.encoder.layers.3.self_attn.";
  CATCH_CHECK(at::equal(text.at(layer + "q_proj.weight"), fused.narrow(0, 0, 2)));
  CATCH_CHECK(at::equal(text.at(layer + "k_proj.weight"), fused.narrow(0, 2, 2)));
  CATCH_CHECK(at::equal(text.at(layer + "v_proj.weight"), fused.narrow(0, 4, 2)));
  CATCH_CHECK(at::equal(text.at("text_projection.weight"), square.t()));
  CATCH_CHECK(parts.at("vae").front().second.sizes() == at::IntArrayRef({2, 2}));
  CATCH_CHECK(parts.size() == 2);
  CATCH_CHECK_THROWS_WITH(image::split_single_file({{"model.diffusion_model.surprise.weight", square}}, kLayout, "f"),
                          "f: tensor \"model.diffusion_model.surprise.weight\" is of no layout that is read here.");
  CATCH_CHECK_THROWS_AS(image::split_single_file({{"x", square}}, kLayout, "f"), DataError);
}

CATCH_TEST_CASE("the text encoder of Stable Diffusion 2 comes without its last layer and projection", "[pipelines]") {
  image::SingleFileLayout layout = kLayout;
  layout.text_layers = 2;
  const std::string model = "cond_stage_model.model.", block = model + "transformer.resblocks.";
  const auto name = [&](const std::string& theirs) {
    const image::SingleFileName to = image::single_file_name(theirs, layout);
    return to.part + ":" + to.name;
  };
  CATCH_CHECK(name(block + "1.ln_2.bias") == "text_encoder:text_model.encoder.layers.1.layer_norm2.bias");
  CATCH_CHECK(name(block + "1.attn.in_proj_weight") ==
              "text_encoder:text_model.encoder.layers.1.self_attn.in_proj_weight");
  CATCH_CHECK(name(block + "0.mlp.c_proj.weight") == "text_encoder:text_model.encoder.layers.0.mlp.fc2.weight");
  CATCH_CHECK(name(model + "positional_embedding") == "text_encoder:text_model.embeddings.position_embedding.weight");
  CATCH_CHECK(name(model + "ln_final.weight") == "text_encoder:text_model.final_layer_norm.weight");
  for (const std::string& left_out : {block + "2.ln_2.bias", model + "text_projection", model + "logit_scale"})
    CATCH_CHECK(name(left_out) == ":");
  CATCH_CHECK(name(model + "surprise") == "text_encoder:");  // split_single_file refuses it
}

CATCH_TEST_CASE("multiply-adds are those torch counts, and bytes those of the files", "[pipelines]") {
  // torch.utils.flop_counter on the same networks (tests/peers/pipeline_files.py), of one pass and one decoding.
  const std::map<std::string, std::pair<double, double>> counted{{"sd", {1879296, 2829312}},
                                                                 {"sdxl", {2767616, 2829312}},
                                                                 {"sd3", {9446976, 2828288}},
                                                                 {"dit", {143616, 2829312}}};
  for (const auto& [name, wanted] : counted) {
    const Scratch scratch("cost_" + name);
    const image::PipelineFolder folder = image::open_pipeline_folder(make_pipeline(scratch, name));
    const image::PipelineCost cost = image::pipeline_cost(folder, {});
    CATCH_CAPTURE(name);
    CATCH_CHECK(cost.height == 16);
    // Sums of products alone, on both sides: whole numbers.
    CATCH_CHECK(cost.at(folder.denoiser().name).multiply_adds == wanted.first);
    CATCH_CHECK(cost.at("vae").multiply_adds == wanted.second);
    const image::WeightFacts facts = image::weight_facts(folder.denoiser().folder);
    CATCH_CHECK(cost.at(folder.denoiser().name).stored_bytes == facts.bytes);
    CATCH_CHECK(facts.bytes == 4 * static_cast<std::uint64_t>(facts.parameters));
    const image::PipelineCost half = image::pipeline_cost(folder, {.weight_bytes = 2});
    CATCH_CHECK(2 * half.at(folder.denoiser().name).memory_bytes == cost.at(folder.denoiser().name).memory_bytes);
  }
}

CATCH_TEST_CASE("the commands say what is there, write what is read back, and leave nothing half-made", "[pipelines]") {
  const Scratch scratch("pipeline_commands");
  const fs::path folder = make_pipeline(scratch, "sd");
  const std::string path = folder.string();
  Outcome outcome = run_program("import " + path, scratch);
  CATCH_CHECK(outcome.code == 0);
  CATCH_CHECK(contains(outcome.out, "unet              UNet2DConditionModel"));
  CATCH_CHECK(contains(outcome.out, "parameters"));
  outcome = run_program("estimate " + path + " n=2 device=cpu", scratch);
  CATCH_CHECK(outcome.code == 0);
  CATCH_CHECK(contains(outcome.out, "16x16, 20 steps, 2 pictures, with guidance"));

  const fs::path out = scratch / "half";
  outcome = run_program("export " + path + " weights=float16 out=" + out.string(), scratch);
  CATCH_CHECK(outcome.code == 0);
  for (const auto& [name, tensor] : load_tensors(folder / "vae").tensors)
    for (const auto& [known, half] : load_tensors(out / "vae").tensors)
      if (known == name) CATCH_CHECK(at::equal(half, tensor.to(at::kHalf)));
  CATCH_CHECK(image::open_pipeline_folder(out).class_name == "StableDiffusionPipeline");
  outcome = run_program("export " + path + " out=" + out.string(), scratch);
  CATCH_CHECK(outcome.code == 2);
  CATCH_CHECK(contains(outcome.err, "is there already and not empty"));

  outcome =
      run_program("sample " + path + " prompt=cat steps=2 device=cpu out=" + (scratch / "a.png").string(), scratch);
  CATCH_CHECK(outcome.code == 0);
  CATCH_CHECK(fs::exists(scratch / "a.png"));
  outcome = run_program("sample " + path + " prompt=cat stepz=2 out=" + (scratch / "b.png").string(), scratch);
  CATCH_CHECK(outcome.code == 2);
  CATCH_CHECK(contains(outcome.err, "stepz"));
  // A shape that the configuration does not ask for: the tensor and both shapes.
  nlohmann::json config = nlohmann::json::parse(read_file(folder / "unet" / "config.json"));
  config["block_out_channels"] = {8, 32};
  write_file(folder / "unet" / "config.json", config.dump());
  outcome = run_program("sample " + path + " prompt=cat steps=2 out=" + (scratch / "b.png").string(), scratch);
  CATCH_CHECK(outcome.code == 3);
  CATCH_CHECK(contains(outcome.err, "has shape ["));
  CATCH_CHECK(contains(outcome.err, "config.json asks for ["));
  CATCH_CHECK(!fs::exists(scratch / "b.png"));
}
