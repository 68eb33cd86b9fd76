#include "experiments/command_pipeline.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/text.h"
#include "core/checkpoint.h"
#include "experiments/experiment.h"
#ifdef THAW_HAS_MEDIA
#include "modalities/media/image_file.h"
#endif

namespace thaw {

namespace fs = std::filesystem;

namespace {

const std::vector<Option>& request_options() {
  static const std::vector<Option> options{
      {"label", std::int64_t{-1}, "of the pictures", -1, 1e9},
      {"n", std::int64_t{1}, "pictures", 1, 1e6},
      {"steps", std::int64_t{20}, "of the scheduler", 1, 1e5},
      {"seed", std::int64_t{1}, "of every random number", 0, 9e15},
      {"guidance_scale", 0.0, "weight of the prompt", 0.0, 1e4},
      {"strength", 1.0, "share of the way from noise", 0.0, 1.0},
      {"scheduler", std::string(), "a scheduler_config.json in place of the pipeline's own"},
      {"controlnet", std::string(), "folder of a ControlNet"},
      {"control_scale", 1.0, "times its residuals", -1e3, 1e3},
      {"lora", std::string(), "file of LoRA layers"},
      {"lora_scale", 1.0, "times their change", -1e3, 1e3},
      {"weights",
       std::string("float32"),
       "of the network in memory",
       0,
       0,
       {"float32", "bfloat16", "float16", "stored"}},
      {"prompt_weights", std::string("off"), "brackets in prompts", 0, 0, {"off", "a1111", "none"}},
      {"clip_skip", std::int64_t{0}, "further layers left out at the end of each CLIP", 0, 100},
      {"cache", std::string(), "folder that keeps encoded prompts"},
      {"device", std::string("auto"), "auto, cpu, cuda, cuda:1 ..."},
      {"precision", std::string("auto"), "of the network", 0, 0, {"auto", "float32", "bfloat16", "float64"}},
      {"micro_batch", std::int64_t{1}, "pictures at a time", 1, 1e6},
      {"offload", std::string("none"), "weights of the network", 0, 0, {"none", "layers"}},
      {"tiling", std::string("off"), "of the autoencoder", 0, 0, {"off", "exact", "blended"}},
      {"tile", std::int64_t{64}, "side of a blended tile in latent positions, a multiple of 4", 4, 1e5}};
  return options;
}

const std::vector<std::string> kSections{"sampler", "grid", "guidance", "thresholding"};

/// "512x768": width, then height.
std::array<std::int64_t, 2> parse_size(const std::string& text) {
  long long width = 0, height = 0;
  char rest = 0;
  if (text.empty()) return {0, 0};
  if (std::sscanf(text.c_str(), "%6lldx%6lld%c", &width, &height, &rest) != 2 || width < 1 || height < 1)
    throw ConfigError(concat("command line: size: expected width x height in pixels, as 512x512; got \"", text, "\"."));
  return {width, height};
}

at::Tensor tensor_in(const fs::path& path, const std::vector<std::string>& names, std::string& found) {
  for (const auto& [name, tensor] : load_tensors(path).tensors) {
    if (std::find(names.begin(), names.end(), name) == names.end()) continue;
    if (!tensor.is_floating_point() || tensor.dim() != 4 || tensor.size(0) == 0)
      throw DataError(concat(path.string(), ": ", name, " is ", tensor.sizes(), ", expected floats [N, C, H, W]."));
    if (!at::isfinite(tensor).all().item<bool>()) throw DataError(concat(path.string(), ": ", name, " is not finite."));
    found = name;
    return tensor.to(at::kFloat);
  }
  throw DataError(concat(path.string(), ": has no tensor \"", join(names, "\" or \""), "\"."));
}

/// [1, channels, H, W] in [0, 1].
at::Tensor picture_file(const fs::path& path, int channels, std::array<std::int64_t, 2> size) {
#ifdef THAW_HAS_MEDIA
  Image image = read_image(path);
  if (size[0] > 0 && (image.width != size[0] || image.height != size[1]))
    image = resize_image(image, static_cast<int>(size[0]), static_cast<int>(size[1]), ResizeMethod::kBicubic);
  const at::Tensor hwc = at::from_blob(image.pixels.data(), {image.height, image.width, image.channels}, at::kByte);
  const at::Tensor chw = hwc.permute({2, 0, 1}).to(at::kFloat).div_(255);
  const at::Tensor right = image.channels == channels ? chw
                           : channels == 1            ? chw.mean(0, true)
                                                      : chw.expand({channels, image.height, image.width});
  return right.unsqueeze(0).contiguous();
#else
  (void)channels;
  (void)size;
  throw ConfigError(concat("command line: ", path.string(), ": this build reads no pictures; give a .safetensors."));
#endif
}

/// A picture, or the tensor `name` of a safetensors file. The first of them gives the size where none was asked for.
at::Tensor take_picture(CommandLine& line, const std::string& name, int channels, PipelineRequest& request) {
  const fs::path path = take_setting(line, name);
  if (path.empty()) return {};
  std::string found;
  at::Tensor picture =
      path.extension() == ".safetensors"
          ? tensor_in(path,
                      name == "image" ? std::vector<std::string>{"image", "latents"} : std::vector<std::string>{name},
                      found)
          : picture_file(path, channels, request.size);
  if (found == "latents") {
    request.inputs.picture_latents = picture;
    return {};
  }
  if (request.size[0] == 0) request.size = {picture.size(3), picture.size(2)};
  return name == "image" && found.empty() ? picture * 2 - 1 : picture;
}

void take_inputs(CommandLine& line, PipelineRequest& request) {
  request.inputs.picture = take_picture(line, "image", 3, request);
  request.inputs.mask = take_picture(line, "mask", 1, request);
  request.inputs.control = take_picture(line, "control", 3, request);
  std::string found;
  if (const fs::path path = take_setting(line, "latents"); !path.empty())
    request.inputs.start = tensor_in(path, {"latents", "noise"}, found);
}

bool take_given(CommandLine& line, const std::string& key, std::string& value) {
  const bool is_given =
      std::ranges::any_of(line.settings, [&](const std::string& one) { return one.starts_with(key + "="); });
  value = take_setting(line, key);
  return is_given;
}

void expect_suffix(const fs::path& out) {
  const std::string suffix = out.extension();
  if (suffix.empty() || suffix == ".png" || suffix == ".safetensors") return;
  throw ConfigError(concat("command line: out: \"", suffix, "\" is not written; use .png, .safetensors or a folder."));
}

void write_pictures(const PipelineResult& result, const Catalog& catalog, const fs::path& out) {
  if (out.extension() == ".safetensors")
    return save_tensors(out, {{"latents", result.latents.contiguous()}, {"sample", result.pictures.contiguous()}});
  const CodecPtr codec = catalog.codecs.create(Config::empty().section("codec"), "unit_range", CodecParts{});
  const at::Tensor raw = codec->decode(result.pictures);
  if (out.extension() == ".png")
    write_file(
        out, codec->sheet_png(raw, static_cast<std::int64_t>(std::ceil(std::sqrt(static_cast<double>(raw.size(0)))))));
  else
    codec->write(raw, out, "sample", 0);
}

}  // namespace

PipelineRequest take_pipeline_request(CommandLine& line) {
  PipelineRequest request;
  std::string guidance, negative;
  request.prompt.prompt = take_setting(line, "prompt");
  if (take_given(line, "negative", negative)) request.prompt.negative = negative;
  request.size = parse_size(take_setting(line, "size"));
  if (take_given(line, "guidance", guidance)) line.settings.push_back("guidance_scale=" + guidance);
  take_inputs(line, request);
  // `steps` here is no option of a grid.
  for (std::string& setting : line.settings) {
    const std::size_t equals = setting.find('=');
    if (equals == std::string::npos || equals == 0)
      throw ConfigError(concat("command line: expected key=value, got \"", setting, "\"."));
    request.sections.set(setting.substr(0, equals), setting.substr(equals + 1));
  }
  const Settings settings = request.sections.read(request_options(), "thaw sample of a pipeline", kSections);
  request.label = settings.integer("label");
  request.n = settings.integer("n");
  request.steps = settings.integer("steps");
  request.seed = static_cast<std::uint64_t>(settings.integer("seed"));
  if (settings.is_given("guidance_scale")) request.guidance = settings.number("guidance_scale");
  request.strength = settings.number("strength");
  request.scheduler = settings.text("scheduler");
  request.controlnet = settings.text("controlnet");
  request.control_scale = settings.number("control_scale");
  request.lora = settings.text("lora");
  request.lora_scale = settings.number("lora_scale");
  request.weights = settings.text("weights");
  request.device = settings.text("device");
  request.precision = settings.text("precision");
  request.micro_batch = settings.integer("micro_batch");
  request.streams_weights = settings.text("offload") == "layers";
  request.tiling = settings.text("tiling");
  request.tile = settings.integer("tile");
  text::ConditionerOptions& options = request.prompt.options;
  options.reads_weights = settings.text("prompt_weights") != "off";
  options.norm = settings.text("prompt_weights") == "none" ? text::WeightNorm::kNone : text::WeightNorm::kMean;
  options.clip_skip = settings.integer("clip_skip");
  options.cache = settings.text("cache");
  return request;
}

int sample_pipeline(CommandLine line, const Catalog& catalog) {
  expect_flags(line, {});
  const fs::path path = only_path(line, "pipeline folder");
  const fs::path out = take_setting(line, "out", "samples");
  expect_suffix(out);
  const image::PipelineFolder folder = image::open_pipeline_folder(path);
  const PipelineRequest request = take_pipeline_request(line);
  write_pictures(run_diffusion_pipeline(folder, request, catalog), catalog, out);
  std::printf("%s\n", out.c_str());
  return 0;
}

}  // namespace thaw
