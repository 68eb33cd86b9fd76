#include "modalities/images/pipeline_folder.h"

#include <algorithm>
#include <set>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/io/json_guard.h"
#include "core/io/safetensors.h"

namespace thaw::image {

namespace fs = std::filesystem;

namespace {

constexpr std::uint64_t kMaxIndexBytes = 1 << 20;
constexpr int kMaxIndexDepth = 8;

using Classes = std::vector<std::string>;

const Classes kClip{"CLIPTextModel", "CLIPTextModelWithProjection"}, kT5{"T5EncoderModel"},
    kClipTokens{"CLIPTokenizer", "CLIPTokenizerFast"}, kT5Tokens{"T5Tokenizer", "T5TokenizerFast"},
    kAutoencoders{"AutoencoderKL", "AutoencoderTiny"}, kAnyClass{};

struct PipelineClass {
  PipelineFamily family;
  std::vector<std::pair<std::string, Classes>> parts;
};

PipelineClass sd() {
  return {PipelineFamily::kSd,
          {{"unet", {"UNet2DConditionModel"}},
           {"vae", kAutoencoders},
           {"scheduler", kAnyClass},
           {"tokenizer", kClipTokens},
           {"text_encoder", kClip}}};
}

PipelineClass sdxl() {
  PipelineClass made = sd();
  made.family = PipelineFamily::kSdxl;
  made.parts.insert(made.parts.end(), {{"tokenizer_2", kClipTokens}, {"text_encoder_2", kClip}});
  return made;
}

PipelineClass transformer(PipelineFamily family, const char* network, Classes tokens, Classes encoder) {
  return {family,
          {{"transformer", {network}},
           {"vae", kAutoencoders},
           {"scheduler", kAnyClass},
           {"tokenizer", std::move(tokens)},
           {"text_encoder", std::move(encoder)}}};
}

PipelineClass sd3() {
  PipelineClass made = transformer(PipelineFamily::kSd3, "SD3Transformer2DModel", kClipTokens, kClip);
  made.parts.insert(
      made.parts.end(),
      {{"tokenizer_2", kClipTokens}, {"text_encoder_2", kClip}, {"tokenizer_3", kT5Tokens}, {"text_encoder_3", kT5}});
  return made;
}

PipelineClass flux() {
  PipelineClass made = transformer(PipelineFamily::kFlux, "FluxTransformer2DModel", kClipTokens, kClip);
  made.parts.insert(made.parts.end(), {{"tokenizer_2", kT5Tokens}, {"text_encoder_2", kT5}});
  return made;
}

const std::map<std::string, PipelineClass>& classes() {
  static const std::map<std::string, PipelineClass> table = [] {
    std::map<std::string, PipelineClass> all;
    const PipelineClass plain{PipelineFamily::kPlain, {{"unet", {"UNet2DModel"}}, {"scheduler", kAnyClass}}};
    for (const char* name : {"DDPMPipeline", "DDIMPipeline"}) all.emplace(name, plain);
    for (const char* name :
         {"StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline", "StableDiffusionInpaintPipeline",
          "StableDiffusionControlNetPipeline", "LatentConsistencyModelPipeline"})
      all.emplace(name, sd());
    for (const char* name : {"StableDiffusionXLPipeline", "StableDiffusionXLImg2ImgPipeline",
                             "StableDiffusionXLInpaintPipeline", "StableDiffusionXLControlNetPipeline"})
      all.emplace(name, sdxl());
    for (const char* name : {"StableDiffusion3Pipeline", "StableDiffusion3Img2ImgPipeline"}) all.emplace(name, sd3());
    for (const char* name : {"PixArtAlphaPipeline", "PixArtSigmaPipeline"})
      all.emplace(name, transformer(PipelineFamily::kPixArt, "PixArtTransformer2DModel", kT5Tokens, kT5));
    for (const char* name : {"FluxPipeline", "FluxImg2ImgPipeline"}) all.emplace(name, flux());
    all.emplace(
        "DiTPipeline",
        PipelineClass{PipelineFamily::kLabels,
                      {{"transformer", {"DiTTransformer2DModel"}}, {"vae", kAutoencoders}, {"scheduler", kAnyClass}}});
    return all;
  }();
  return table;
}

const std::set<std::string> kUnused{"safety_checker", "feature_extractor", "image_encoder"};
const std::set<std::string> kIdleKeys{"requires_safety_checker", "id2label"};

bool is_plain_name(const std::string& name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  });
}

/// [library, class] of an entry; nullopt for [null, null].
std::optional<PipelinePart> read_part(const fs::path& folder, const std::string& where, const std::string& name,
                                      const nlohmann::json& value) {
  if (!is_plain_name(name))
    throw DataError(concat(where, ": \"", name, "\" is no folder beside it: letters, digits and _ only."));
  if (value.size() == 2 && value[0].is_null() && value[1].is_null()) return std::nullopt;
  if (value.size() != 2 || !value[0].is_string() || !value[1].is_string())
    throw DataError(concat(where, ": ", name, ": expected [library, class] or [null, null]."));
  return PipelinePart{name, value[1].get<std::string>(), folder / name, kUnused.count(name) == 0};
}

void expect_parts(const PipelineFolder& pipeline, const std::string& where) {
  for (const auto& [name, allowed] : classes().at(pipeline.class_name).parts) {
    const PipelinePart* part = pipeline.find(name);
    if (part == nullptr)
      throw DataError(concat(where, ": ", pipeline.class_name, " has no part \"", name, "\"",
                             allowed.empty() ? "" : concat(" (", join(allowed, ", "), ")"), "."));
    if (!allowed.empty() && std::find(allowed.begin(), allowed.end(), part->class_name) == allowed.end())
      throw DataError(concat(where, ": ", name, ": class \"", part->class_name, "\" is not read in ",
                             pipeline.class_name, ". Supported: ", join(allowed, ", "), "."));
    if (!fs::is_directory(part->folder))
      throw DataError(
          concat(part->folder.string(), ": no such folder, and ", where, " names ", part->class_name, " there."));
    const bool has_weights = name == "unet" || name == "transformer" || name == "vae" || name.starts_with("text_enc");
    if (has_weights) expect_safetensors(part->folder);
  }
}

}  // namespace

const PipelinePart* PipelineFolder::find(const std::string& name) const {
  const auto found =
      std::find_if(parts.begin(), parts.end(), [&](const PipelinePart& one) { return one.name == name; });
  return found == parts.end() ? nullptr : &*found;
}

const PipelinePart& PipelineFolder::denoiser() const {
  const PipelinePart* part = find("unet");
  return part != nullptr ? *part : *find("transformer");
}

bool is_pipeline(const fs::path& folder) {
  return fs::is_regular_file(folder / "model_index.json");
}

const std::vector<std::string>& pipeline_class_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all;
    for (const auto& [name, entry] : classes()) all.push_back(name);
    return all;
  }();
  return names;
}

PipelineFolder open_pipeline_folder(const fs::path& path) {
  const std::string where = (path / "model_index.json").string();
  if (!is_pipeline(path)) throw DataError(concat(path.string(), ": is no pipeline: it has no model_index.json."));
  const nlohmann::json index = parse_json_file(where, kMaxIndexBytes, kMaxIndexDepth);
  if (!index.is_object() || !index.contains("_class_name") || !index.at("_class_name").is_string())
    throw DataError(
        concat(where, ": _class_name: is missing; expected one of ", join(pipeline_class_names(), ", "), "."));
  PipelineFolder pipeline{.path = path, .class_name = index.at("_class_name").get<std::string>(), .parts = {}};
  const auto known = classes().find(pipeline.class_name);
  if (known == classes().end())
    throw DataError(concat(where, ": _class_name: \"", pipeline.class_name, "\" is not read.",
                           did_you_mean(pipeline.class_name, pipeline_class_names()),
                           " Supported: ", join(pipeline_class_names(), ", "), "."));
  pipeline.family = known->second.family;
  for (const auto& [key, value] : index.items()) {
    if (key.starts_with("_") || kIdleKeys.count(key) > 0) continue;
    if (key == "requires_aesthetics_score" && value == false) continue;
    if (key == "force_zeros_for_empty_prompt" && value.is_boolean()) {
      pipeline.zeroes_empty_prompt = value.get<bool>();
    } else if (value.is_array()) {
      if (auto part = read_part(path, where, key, value)) pipeline.parts.push_back(std::move(*part));
    } else if (!value.is_null()) {
      throw DataError(concat(where, ": ", key, ": this key is not read."));
    }
  }
  expect_parts(pipeline, where);
  return pipeline;
}

void expect_safetensors(const fs::path& folder) {
  static const std::set<std::string> kPickles{".bin", ".ckpt", ".pt", ".pth", ".pkl"};
  std::string pickle;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    if (entry.path().extension() == ".safetensors" || name.ends_with(".safetensors.index.json")) return;
    if (kPickles.count(entry.path().extension().string()) > 0) pickle = name;
  }
  if (error) throw DataError(concat(folder.string(), ": cannot read: ", error.message(), "."));
  if (!pickle.empty())
    throw DataError(concat(folder.string(), ": has ", pickle, " and no safetensors; a pickle is a program and is not ",
                           "read. Convert it once: python tests/peers/convert_pickle.py ", folder.string()));
}

WeightFacts weight_facts(const fs::path& folder) {
  expect_safetensors(folder);
  const SafetensorsFile file = open_safetensors(folder);
  WeightFacts facts;
  for (const auto& [name, view] : file.tensors()) {
    std::int64_t count = 1;
    for (const std::int64_t side : view.shape) count *= side;
    ++facts.tensors;
    facts.parameters += count;
    facts.bytes += view.bytes.size();
    facts.parameters_by_type[view.dtype] += count;
  }
  return facts;
}

}  // namespace thaw::image
