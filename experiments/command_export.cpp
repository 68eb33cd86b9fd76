#include "experiments/command_export.h"

#include <cstdio>
#include <set>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/text.h"
#include "core/checkpoint.h"
#include "core/io/safetensors.h"
#include "core/lora.h"
#include "experiments/exported_network.h"
#include "modalities/images/pipeline_folder.h"
#include "modalities/images/single_file.h"
#include "text/conditioner.h"

namespace thaw {

namespace fs = std::filesystem;

namespace {

struct ExportSettings {
  fs::path out, lora;
  double lora_scale = 1.0;
  std::optional<at::ScalarType> type{};  // nullopt: as stored
  std::optional<LoraPart> part{};        // of the weights that are exported
};

/// "x/" is x: its neighbour "x.partial" lies beside it.
fs::path folder_name(const fs::path& path) {
  return path.has_filename() ? path : path.parent_path();
}

ExportSettings take_settings(CommandLine& line) {
  ExportSettings made{folder_name(take_setting(line, "out")), {}, 1.0, {}, {}};
  if (made.out.empty()) throw ConfigError("command line: thaw export needs out=FOLDER.");
  Config config = Config::empty();
  for (const std::string& setting : line.settings) {
    const std::size_t equals = setting.find('=');
    config.set(setting.substr(0, equals), equals == std::string::npos ? "" : setting.substr(equals + 1));
  }
  const Settings settings = config.read(std::vector<Option>{{"weights",
                                                             std::string("stored"),
                                                             "their type in the files",
                                                             0,
                                                             0,
                                                             {"stored", "float32", "float16", "bfloat16"}},
                                                            {"lora", std::string(), "file of LoRA layers to merge in"},
                                                            {"lora_scale", 1.0, "times their change", -1e3, 1e3}},
                                        "thaw export");
  made.lora = settings.text("lora");
  made.lora_scale = settings.number("lora_scale");
  const std::string& type = settings.text("weights");
  if (type != "stored") made.type = type == "float16" ? at::kHalf : type == "bfloat16" ? at::kBFloat16 : at::kFloat;
  return made;
}

bool is_weight_file(const fs::path& path) {
  static const std::set<std::string> kSuffixes{".safetensors", ".bin", ".ckpt", ".pt", ".pth",
                                               ".msgpack",     ".h5",  ".onnx", ".pb", ".gguf"};
  return kSuffixes.count(path.extension().string()) > 0 || path.filename().string().ends_with(".index.json");
}

/// Configurations, vocabularies and the like, as they are.
void copy_small_files(const fs::path& from, const fs::path& to) {
  constexpr std::uint64_t kMaxBytes = 1 << 26;
  for (const auto& entry : fs::directory_iterator(from))
    if (entry.is_regular_file() && !is_weight_file(entry.path()))
      write_file(to / entry.path().filename(), read_file(entry.path(), kMaxBytes));
}

/// What the part's library looks for.
const char* weight_file_name(const image::PipelinePart& part) {
  return part.name.starts_with("text_encoder") || part.name == "safety_checker" ? "model.safetensors"
                                                                                : "diffusion_pytorch_model.safetensors";
}

void expect_free(const fs::path& out) {
  if (fs::exists(out) && !(fs::is_directory(out) && fs::is_empty(out)))
    throw ConfigError(concat("command line: out: ", out.string(), " is there already and not empty."));
}

/// One part's weights, in one file.
void export_weights(const image::PipelinePart& part, const fs::path& to, const ExportSettings& settings) {
  image::expect_safetensors(part.folder);
  LoadedTensors loaded = settings.lora.empty() ? map_tensors(part.folder) : load_tensors(part.folder);
  if (!settings.lora.empty())
    LoraMerge(loaded.tensors).set({{load_lora(settings.lora, loaded.tensors, *settings.part), settings.lora_scale}});
  for (auto& [name, tensor] : loaded.tensors)
    if (settings.type && tensor.is_floating_point()) tensor = tensor.to(*settings.type);
  save_tensors(to / weight_file_name(part), loaded.tensors, {{"format", "pt"}});
}

/// A folder under another name until it is whole; gone where it never is.
struct Partial {
  explicit Partial(fs::path where) : path(std::move(where)) { fs::remove_all(path); }
  ~Partial() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
  Partial(const Partial&) = delete;
  Partial& operator=(const Partial&) = delete;
  void take_place(const fs::path& out) const {
    if (fs::exists(out)) fs::remove(out);
    fs::rename(path, out);
    std::printf("%s\n", out.c_str());
  }
  fs::path path;
};

}  // namespace

int command_export(CommandLine line, const Catalog& catalog) {
  const c10::NoGradGuard no_gradient;
  expect_flags(line, {});
  const fs::path path = only_path(line, "pipeline folder");
  const ExportSettings settings = take_settings(line);
  if (is_own_model(path)) {
    if (!settings.lora.empty()) throw ConfigError("command line: lora: only networks that denoise take one.");
    expect_free(settings.out);
    const Partial partial(settings.out.string() + ".partial");
    export_own_network(path, partial.path, settings.type, catalog);
    partial.take_place(settings.out);
    return 0;
  }
  const image::PipelineFolder pipeline = image::open_pipeline_folder(path);
  expect_free(settings.out);
  const bool is_for_text = !settings.lora.empty() && (count_lora_layers(settings.lora, LoraPart::kTextEncoder) > 0 ||
                                                      count_lora_layers(settings.lora, LoraPart::kTextEncoder2) > 0);
  const Partial partial(settings.out.string() + ".partial");
  for (const image::PipelinePart& part : pipeline.parts) {
    if (!fs::is_directory(part.folder)) continue;
    copy_small_files(part.folder, partial.path / part.name);
    const bool is_denoiser = &part == &pipeline.denoiser();
    ExportSettings own = settings;
    own.part = is_denoiser ? LoraPart::kDenoiser : text::lora_part(part.name);
    // A file without any layer of the network is refused by the merge, unless it is for the text encoders alone.
    const bool has_layers = own.part && !own.lora.empty() && count_lora_layers(own.lora, *own.part) > 0;
    if (!has_layers && !(is_denoiser && !is_for_text)) own.lora.clear();
    if (is_denoiser || part.name == "vae" || part.name.starts_with("text_encoder") || part.name == "safety_checker")
      export_weights(part, partial.path / part.name, own);
  }
  copy_small_files(path, partial.path);
  partial.take_place(settings.out);
  return 0;
}

namespace {

/// Numbered modules of a layer's name: how many names begin with `prefix` and end with `ending`.
std::int64_t count_of(const SafetensorsFile& file, const std::string& prefix, const std::string& ending) {
  std::int64_t count = 0;
  for (const auto& [name, view] : file.tensors())
    if (name.starts_with(prefix) && name.ends_with(ending)) ++count;
  return count;
}

image::SingleFileLayout layout_of(const image::PipelineFolder& like) {
  const SafetensorsFile vae = open_safetensors(like.find("vae")->folder);
  image::SingleFileLayout layout;
  layout.unet_layers = count_of(open_safetensors(like.denoiser().folder), "down_blocks.0.resnets.", ".conv1.weight");
  layout.vae_levels = count_of(vae, "decoder.up_blocks.", ".resnets.0.conv1.weight");
  const SafetensorsFile text = open_safetensors(like.find("text_encoder")->folder);
  layout.text_layers = count_of(text, "text_model.encoder.layers.", ".layer_norm1.weight") +
                       count_of(text, "encoder.layers.", ".layer_norm1.weight");  // one of them is 0
  return layout;
}

/// The tensors under the names of `like`, of which each must be there in its shape.
NamedTensors fitted(const NamedTensors& tensors, const image::PipelinePart& like, const std::string& where) {
  const std::string model = "text_model.";
  std::map<std::string, at::Tensor> given(tensors.begin(), tensors.end());
  NamedTensors out;
  const SafetensorsFile file = open_safetensors(like.folder);
  for (const auto& [name, view] : file.tensors()) {
    auto found = given.find(name);
    if (found == given.end()) found = given.find(model + name);
    if (found == given.end() && name.starts_with(model)) found = given.find(name.substr(model.size()));
    if (found == given.end()) {
      if (name.ends_with("position_ids")) continue;
      throw DataError(concat(where, ": has no tensor for \"", name, "\" of ", like.name, "."));
    }
    if (found->second.sizes() != at::IntArrayRef(view.shape))
      throw DataError(concat(where, ": the tensor for \"", name, "\" of ", like.name, " has shape ",
                             found->second.sizes(), ", ", like.folder.string(), " has ", at::IntArrayRef(view.shape),
                             "."));
    out.emplace_back(name, found->second);
    given.erase(found);
  }
  if (!given.empty())
    throw DataError(
        concat(where, ": its tensor \"", given.begin()->first, "\" has no place in ", like.folder.string(), "."));
  return out;
}

}  // namespace

int import_single_file(CommandLine line) {
  const fs::path path = only_path(line, "file"), like_path = take_setting(line, "like"),
                 out = folder_name(take_setting(line, "out"));
  if (!line.settings.empty())
    throw ConfigError(concat("command line: unknown setting \"", line.settings.front(), "\". Known: like, out."));
  if (like_path.empty() || out.empty())
    throw ConfigError(
        "command line: thaw import FILE needs like=PIPELINE (configurations, vocabulary, scheduler) and out=FOLDER.");
  const image::PipelineFolder like = image::open_pipeline_folder(like_path);
  if (like.family != image::PipelineFamily::kSd && like.family != image::PipelineFamily::kSdxl)
    throw ConfigError(concat("command line: like: single files are read of Stable Diffusion 1, 2 and XL, not of ",
                             like.class_name, "."));
  expect_free(out);
  const auto parts = image::split_single_file(map_tensors(path).tensors, layout_of(like), path.string());
  const Partial partial(out.string() + ".partial");
  for (const image::PipelinePart& part : like.parts) {
    if (fs::is_directory(part.folder)) copy_small_files(part.folder, partial.path / part.name);
    const auto found = parts.find(part.name);
    const bool has_weights = part.name == "unet" || part.name == "vae" || part.name.starts_with("text_encoder");
    if (!has_weights) continue;
    if (found == parts.end()) throw DataError(concat(path.string(), ": holds nothing of ", part.name, "."));
    save_tensors(partial.path / part.name / weight_file_name(part), fitted(found->second, part, path.string()),
                 {{"format", "pt"}});
  }
  copy_small_files(like_path, partial.path);
  partial.take_place(out);
  return 0;
}

}  // namespace thaw
