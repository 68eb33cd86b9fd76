#include "modalities/images/pipeline_cost.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/io/json_guard.h"
#include "core/io/safetensors.h"

namespace thaw::image {

namespace {

constexpr std::uint64_t kMaxConfigBytes = 1 << 20;
constexpr std::uint64_t kFloatBytes = 4;

bool contains(const std::string& text, const char* part) {
  return text.find(part) != std::string::npos;
}

/// The number behind a prefix: level_of("down_blocks.2.resnets", "down_blocks.") is 2; -1 where it is absent.
std::int64_t number_behind(const std::string& name, const std::string& prefix) {
  const std::size_t at = name.find(prefix);
  if (at == std::string::npos) return -1;
  std::int64_t number = -1;
  std::from_chars(name.data() + at + prefix.size(), name.data() + name.size(), number);
  return number;
}

/// Where the layers of a network run: the number of positions of each, by its name.
class Positions {
 public:
  Positions(const TensorViews& tensors, double height, double width, double text)
      : height_(height), width_(width), text_(text) {
    for (const auto& [name, view] : tensors)
      levels_ = std::max({levels_, number_behind(name, "down_blocks.") + 1, number_behind(name, "up_blocks.") + 1});
    is_decoder_ = tensors.contains("decoder.conv_in.weight");
    is_joint_ = tensors.contains("context_embedder.weight");
  }

  /// Of a level below (halved) or, in an autoencoder's decoder, above the latents (doubled).
  double level(std::int64_t number) const {
    const double factor = std::exp2(static_cast<double>(number));
    return is_decoder_ ? height_ * width_ * factor * factor : std::ceil(height_ / factor) * std::ceil(width_ / factor);
  }

  double of_unet(const std::string& name) const {
    if (contains(name, "time_emb") || contains(name, "add_embedding") || contains(name, "class_embedding")) return 1;
    if (contains(name, "attn2.to_k") || contains(name, "attn2.to_v") || contains(name, "encoder_hid_proj"))
      return text_;
    const std::int64_t down = number_behind(name, "down_blocks."), up = number_behind(name, "up_blocks.");
    if (down >= 0) return level(down + (contains(name, "downsamplers") ? 1 : 0));
    if (up >= 0) return level(levels_ - 1 - up - (contains(name, "upsamplers") ? 1 : 0));
    return contains(name, "mid_block") ? level(levels_ - 1) : level(0);
  }

  double of_decoder(const std::string& name) const {
    if (name.starts_with("encoder.") || name.starts_with("quant_conv")) return 0;
    const std::int64_t up = number_behind(name, "up_blocks.");
    if (up >= 0) return level(up + (contains(name, "upsamplers") ? 1 : 0));
    return contains(name, "conv_out") ? level(levels_ - 1) : level(0);
  }

  double of_transformer(const std::string& name) const {
    for (const char* once : {"embedding_table", "scale_shift_table", "pos_embed.pos_embed"})
      if (contains(name, once)) return 0;
    // The embedding of DiT's first block is computed again for the last norm.
    if (name.starts_with("transformer_blocks.0.norm1.emb.")) return contains(name, "embedding_table") ? 0 : 2;
    for (const char* once : {"norm1.linear", "norm1_context.linear", "norm.linear", "norm_out.linear", "adaln_single",
                             "time_text_embed", "timestep_embedder", "class_embedder", "proj_out_1"})
      if (contains(name, once)) return 1;
    for (const char* side : {"context_embedder", "caption_projection", "add_q_proj", "add_k_proj", "add_v_proj",
                             "to_add_out", "ff_context"})
      if (contains(name, side)) return text_;
    if (!is_joint_ && (contains(name, "attn2.to_k") || contains(name, "attn2.to_v"))) return text_;
    return name.starts_with("single_transformer_blocks.") ? level(0) + text_ : level(0);
  }

  /// Of the queries and the keys of an attention that has this projection of queries.
  std::pair<double, double> attention(const std::string& query, double own) const {
    if (contains(query, "attn2.") && !is_joint_) return {own, text_};
    const bool is_joint = contains(query, ".attn.");
    const double all = is_joint ? level(0) + text_ : own;
    return {all, all};
  }

 private:
  double height_, width_, text_;
  std::int64_t levels_ = 0;
  bool is_decoder_ = false;
  bool is_joint_ = false;  // SD3 and Flux: text is a stream of its own, and a second attention sees the picture alone
};

enum class Kind { kUNet, kTransformer, kDecoder, kText };

double positions_of(const Positions& positions, Kind kind, const std::string& name, double text) {
  if (kind == Kind::kText) return contains(name, "embed") || contains(name, "shared") ? 0 : text;
  if (kind == Kind::kUNet) return positions.of_unet(name);
  return kind == Kind::kDecoder ? positions.of_decoder(name) : positions.of_transformer(name);
}

/// Weights times positions, scores and their sums over values; and the largest of what lies between layers.
void count(const TensorViews& tensors, const Positions& positions, Kind kind, double text, PartCost& cost) {
  double largest = 0.0, kept = 0.0;
  for (const auto& [name, view] : tensors) {
    if (view.shape.size() < 2 || !name.ends_with("weight")) continue;
    double parameters = 1.0;
    for (const std::int64_t side : view.shape) parameters *= static_cast<double>(side);
    const double own = positions_of(positions, kind, name, text), out = own * static_cast<double>(view.shape[0]);
    cost.multiply_adds += parameters * own;
    largest = std::max(largest, out);
    // What the way up takes from the way down stays until then.
    const bool is_kept = contains(name, "conv2.weight") || contains(name, "downsamplers");
    if (kind == Kind::kUNet && (name == "conv_in.weight" || (contains(name, "down_blocks.") && is_kept))) kept += out;
    if (!name.ends_with("to_q.weight") && !name.ends_with("q_proj.weight") && !name.ends_with("SelfAttention.q.weight"))
      continue;
    const auto [queries, keys] = kind == Kind::kText ? std::pair(text, text) : positions.attention(name, own);
    if (own > 0 && !contains(name, "add_q_proj"))
      cost.multiply_adds += 2.0 * queries * keys * static_cast<double>(view.shape[0]);
  }
  // A layer's input and output, a norm of it and a residual, and what the allocator holds: by resident memory on a CPU
  // (docs/pipelines.md).
  const double at_a_time = kind == Kind::kTransformer ? 6.0 : kind == Kind::kUNet ? 5.0 : 4.0;
  cost.activation_bytes = static_cast<std::uint64_t>((kept + at_a_time * largest) * static_cast<double>(kFloatBytes));
}

std::int64_t integer_of(const nlohmann::json& config, const char* key, std::int64_t fallback) {
  return config.contains(key) && config.at(key).is_number_integer() ? config.at(key).get<std::int64_t>() : fallback;
}

/// Pixels a latent position stands for along a side.
std::int64_t factor_of(const PipelineFolder& pipeline) {
  if (!pipeline.has_autoencoder()) return 1;
  const nlohmann::json config = parse_json_file(pipeline.find("vae")->folder / "config.json", kMaxConfigBytes);
  for (const char* key : {"block_out_channels", "decoder_block_out_channels"})
    if (config.is_object() && config.contains(key) && config.at(key).is_array() && !config.at(key).empty())
      return std::int64_t{1} << std::min<std::size_t>(config.at(key).size() - 1, 16);
  return 8;
}

double text_tokens(const PipelineFolder& pipeline, const std::string& encoder) {
  constexpr double kClip = 77, kThird = 256, kAlpha = 120, kSigma = 300, kFlux = 512;
  switch (pipeline.family) {
    case PipelineFamily::kSd:
    case PipelineFamily::kSdxl:
      return kClip;
    case PipelineFamily::kSd3:
      return encoder.empty() ? kClip + kThird : encoder == "text_encoder_3" ? kThird : kClip;
    case PipelineFamily::kPixArt:
      return pipeline.class_name == "PixArtAlphaPipeline" ? kAlpha : kSigma;
    case PipelineFamily::kFlux:
      return encoder == "text_encoder" ? kClip : kFlux;
    default:
      return 0;
  }
}

/// height, width and patch of the denoiser's positions.
struct Sides {
  std::int64_t height, width, patch;
};

Sides sides_of(const PipelineFolder& pipeline, const PipelineShape& shape, std::int64_t factor) {
  const nlohmann::json config = parse_json_file(pipeline.denoiser().folder / "config.json", kMaxConfigBytes);
  if (!config.is_object()) throw DataError(concat(pipeline.denoiser().folder.string(), "/config.json: no object."));
  const bool is_transformer = pipeline.denoiser().name == "transformer";
  const std::int64_t own = integer_of(config, "sample_size", is_transformer ? 128 : 64);
  // Flux packs 2 x 2 positions itself: its own patch is 1.
  const std::int64_t patch = !is_transformer                            ? 1
                             : pipeline.family == PipelineFamily::kFlux ? 2
                                                                        : integer_of(config, "patch_size", 2);
  return {shape.height > 0 ? shape.height / factor : own, shape.width > 0 ? shape.width / factor : own,
          std::max<std::int64_t>(patch, 1)};
}

}  // namespace

const PartCost& PipelineCost::at(const std::string& name) const {
  for (const PartCost& part : parts)
    if (part.name == name) return part;
  throw Error(ExitCode::kBug, concat("no cost of part \"", name, "\""));
}

PipelineCost pipeline_cost(const PipelineFolder& pipeline, const PipelineShape& shape) {
  const std::int64_t factor = factor_of(pipeline);
  const Sides sides = sides_of(pipeline, shape, factor);
  PipelineCost cost{sides.height * factor, sides.width * factor, {}};
  for (const PipelinePart& part : pipeline.parts) {
    const bool is_denoiser = part.name == "unet" || part.name == "transformer", is_vae = part.name == "vae";
    if (!part.is_used || (!is_denoiser && !is_vae && !part.name.starts_with("text_encoder"))) continue;
    expect_safetensors(part.folder);
    const SafetensorsFile file = open_safetensors(part.folder);
    PartCost own{.name = part.name};
    std::uint64_t parameters = 0;
    for (const auto& [name, view] : file.tensors()) {
      own.stored_bytes += view.bytes.size();
      std::uint64_t one = 1;
      for (const std::int64_t side : view.shape) one *= static_cast<std::uint64_t>(side);
      parameters += one;
    }
    own.memory_bytes = parameters * (is_denoiser ? static_cast<std::uint64_t>(shape.weight_bytes) : kFloatBytes);
    const double text = text_tokens(pipeline, is_denoiser ? "" : part.name);
    const Kind kind = part.name == "unet" ? Kind::kUNet
                      : is_denoiser       ? Kind::kTransformer
                      : is_vae            ? Kind::kDecoder
                                          : Kind::kText;
    const auto patch = static_cast<double>(kind == Kind::kTransformer ? sides.patch : 1);
    const Positions positions(file.tensors(), static_cast<double>(sides.height) / patch,
                              static_cast<double>(sides.width) / patch, text);
    count(file.tensors(), positions, kind, text, own);
    cost.parts.push_back(std::move(own));
  }
  return cost;
}

}  // namespace thaw::image
