#include "core/lora.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <regex>
#include <set>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <nlohmann/json.hpp>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/checkpoint.h"
#include "core/io/json_guard.h"
#include "core/io/safetensors.h"

namespace thaw {

namespace {

constexpr int kMaxMetadataDepth = 8;

/// What a tensor's name ends with, longest first where one contains another.
struct Ending {
  const char* text;
  enum class Role { kDown, kUp, kAlpha, kOther } role;
};
using Role = Ending::Role;
const Ending kEndings[] = {{".lora_linear_layer.down.weight", Role::kDown},
                           {".lora_linear_layer.up.weight", Role::kUp},
                           {".lora_A.weight", Role::kDown},
                           {".lora_B.weight", Role::kUp},
                           {".lora_A.default.weight", Role::kDown},
                           {".lora_B.default.weight", Role::kUp},
                           {".lora_A.default_0.weight", Role::kDown},
                           {".lora_B.default_0.weight", Role::kUp},
                           {".lora_down.weight", Role::kDown},
                           {".lora_up.weight", Role::kUp},
                           {".lora.down.weight", Role::kDown},
                           {".lora.up.weight", Role::kUp},
                           {"_lora.down.weight", Role::kDown},
                           {"_lora.up.weight", Role::kUp},
                           {".alpha", Role::kAlpha}};

struct Prefix {
  const char* text;
  LoraPart part;
};
const Prefix kPrefixes[] = {{"text_encoder_2.", LoraPart::kTextEncoder2}, {"lora_te2_", LoraPart::kTextEncoder2},
                            {"text_encoder.", LoraPart::kTextEncoder},    {"lora_te1_", LoraPart::kTextEncoder},
                            {"lora_te_", LoraPart::kTextEncoder},         {"lora_unet_", LoraPart::kDenoiser},
                            {"lora_transformer_", LoraPart::kDenoiser},   {"unet.", LoraPart::kDenoiser},
                            {"transformer.", LoraPart::kDenoiser},        {"base_model.model.", LoraPart::kDenoiser},
                            {"diffusion_model.", LoraPart::kDenoiser},    {"", LoraPart::kDenoiser}};

std::string flattened(std::string name) {
  std::replace(name.begin(), name.end(), '.', '_');
  return name;
}

void replace_all(std::string& text, const std::string& before, const std::string& after) {
  for (std::size_t at = text.find(before); at != std::string::npos; at = text.find(before, at + after.size()))
    text.replace(at, before.size(), after);
}

/// Resnets a level of the way down: what the original code's flat numbering of blocks is taken apart by.
std::int64_t resnets_a_level(const NamedTensors& weights) {
  std::int64_t count = 0;
  for (const auto& [name, tensor] : weights)
    if (name.starts_with("down_blocks.0.resnets.") && name.ends_with(".conv1.weight")) ++count;
  return count;
}

/// input_blocks_4_1_... -> down_blocks_1_attentions_0_...: names of the original Stable Diffusion code (LDM).
std::string from_original_names(const std::string& flat, std::int64_t layers) {
  static const std::regex block("(input_blocks|output_blocks|middle_block)_([0-9]{1,3})_(?:([0-9])_)?(.*)");
  static const std::map<std::string, std::string> whole{{"input_blocks_0_0", "conv_in"},
                                                        {"out_2", "conv_out"},
                                                        {"time_embed_0", "time_embedding_linear_1"},
                                                        {"time_embed_2", "time_embedding_linear_2"},
                                                        {"label_emb_0_0", "add_embedding_linear_1"},
                                                        {"label_emb_0_2", "add_embedding_linear_2"}};
  if (const auto found = whole.find(flat); found != whole.end()) return found->second;
  std::smatch match;
  if (layers < 1 || !std::regex_match(flat, match, block)) return flat;
  const std::int64_t index = std::stoll(match[2]);
  const std::string inner = match[3], kind = match[1];
  std::string rest = match[4], place;
  if (kind == "middle_block") {
    place = index == 1 ? "mid_block_attentions_0" : concat("mid_block_resnets_", index / 2);
    // Attention numbers its own parts here: middle_block_1_transformer_blocks_0_...
    if (!inner.empty()) rest = inner + "_" + rest;
  } else {
    const bool is_down = kind == "input_blocks";
    const std::int64_t number = is_down ? index - 1 : index;
    const std::int64_t level = number / (layers + 1), layer = number % (layers + 1);
    const bool resamples = rest == "op" || rest == "conv";
    place = concat(is_down ? "down_blocks_" : "up_blocks_", level,
                   resamples      ? (is_down ? "_downsamplers_0" : "_upsamplers_0")
                   : inner == "0" ? concat("_resnets_", layer)
                                  : concat("_attentions_", layer));
    if (rest == "op") rest = "conv";
  }
  for (const auto& [before, now] : std::map<std::string, std::string>{{"in_layers_0", "norm1"},
                                                                      {"in_layers_2", "conv1"},
                                                                      {"emb_layers_1", "time_emb_proj"},
                                                                      {"out_layers_0", "norm2"},
                                                                      {"out_layers_3", "conv2"},
                                                                      {"skip_connection", "conv_shortcut"}})
    if (rest == before) rest = now;
  return place + "_" + rest;
}

/// Finds weights by any of the names files give them.
class Lookup {
 public:
  explicit Lookup(const NamedTensors& weights) : layers_(resnets_a_level(weights)) {
    constexpr std::string_view ending = ".weight";
    for (const auto& [name, tensor] : weights)
      if (name.ends_with(ending))
        by_flat_name_[flattened(name.substr(0, name.size() - ending.size()))] = {name, tensor};
  }

  /// nullptr: none. `stem` is a layer's name without prefix and ending.
  const std::pair<std::string, at::Tensor>* find(const std::string& stem) const {
    std::string flat = flattened(stem);
    // diffusers before 0.17 kept the layers in the processor of an attention.
    replace_all(flat, "_processor_to_out_lora", "_to_out_0");
    replace_all(flat, "_processor_to_", "_to_");
    // Text encoders: transformers 5 saves them without the outer name that older files have.
    replace_all(flat, "_self_attn_to_out", "_self_attn_out_proj");
    for (const char* letter : {"q", "k", "v"})
      replace_all(flat, concat("_self_attn_to_", letter), concat("_self_attn_", letter, "_proj"));
    const std::string outer = "text_model_";
    const std::string other = flat.starts_with(outer) ? flat.substr(outer.size()) : outer + flat;
    for (const std::string& name : {flat, other, from_original_names(flat, layers_)})
      if (const auto found = by_flat_name_.find(name); found != by_flat_name_.end()) return &found->second;
    if (flat.ends_with("_to_out")) return find(flat + "_0");
    return nullptr;
  }

 private:
  std::map<std::string, std::pair<std::string, at::Tensor>> by_flat_name_;
  std::int64_t layers_;
};

struct Pair {
  std::string name;  // in the file
  at::Tensor down, up;
  std::optional<double> alpha;
};

struct Named {
  std::string stem;
  LoraPart part;
  Role role;
};

std::optional<Named> taken_apart(const std::string& name) {
  for (const Ending& ending : kEndings) {
    if (!name.ends_with(ending.text)) continue;
    std::string stem = name.substr(0, name.size() - std::string_view(ending.text).size());
    if (stem.ends_with("_lora")) stem = stem.substr(0, stem.size() - 5);
    for (const Prefix& prefix : kPrefixes)
      if (stem.starts_with(prefix.text))
        return Named{stem.substr(std::string_view(prefix.text).size()), prefix.part, ending.role};
  }
  return std::nullopt;
}

/// alpha of a whole file and whether r counts by its root, from peft's configuration in the metadata.
struct Rule {
  std::optional<double> alpha;
  bool is_rooted = false;
};

Rule rule_of(const std::map<std::string, std::string>& metadata, LoraPart part, const std::string& where) {
  const auto found = metadata.find("lora_adapter_metadata");
  if (found == metadata.end()) return {};
  const nlohmann::json values = parse_json_text(found->second, where + ": lora_adapter_metadata", kMaxMetadataDepth);
  if (!values.is_object()) return {};
  const std::vector<std::string> prefixes =
      part == LoraPart::kDenoiser      ? std::vector<std::string>{"", "unet.", "transformer."}
      : part == LoraPart::kTextEncoder ? std::vector<std::string>{"text_encoder."}
                                       : std::vector<std::string>{"text_encoder_2."};
  Rule rule;
  for (const std::string& prefix : prefixes) {
    const auto value = [&](const char* key) { return values.value(prefix + key, nlohmann::json()); };
    if (value("lora_alpha").is_number()) rule.alpha = value("lora_alpha").get<double>();
    if (value("use_rslora").is_boolean()) rule.is_rooted = value("use_rslora").get<bool>();
    if (value("alpha_pattern").is_object() && !value("alpha_pattern").empty())
      throw DataError(concat(where, ": alpha_pattern: an alpha of its own for some layers is not read."));
    if (value("use_dora").is_boolean() && value("use_dora").get<bool>())
      throw DataError(concat(where, ": use_dora: DoRA is not read."));
  }
  return rule;
}

double number_of(const at::Tensor& tensor, const std::string& name, const std::string& where) {
  if (tensor.numel() != 1)
    throw DataError(concat(where, ": tensor \"", name, "\": expected one number, got ", tensor.sizes(), "."));
  return *tensor.to(at::kDouble).contiguous().data_ptr<double>();
}

LoraLayer checked(const Pair& pair, const std::pair<std::string, at::Tensor>& target, const Rule& rule,
                  const std::string& where) {
  if (!pair.down.defined() || !pair.up.defined())
    throw DataError(
        concat(where, ": layer \"", pair.name, "\" has no ", pair.down.defined() ? "up" : "down", " matrix."));
  const at::Tensor& weight = target.second;
  const bool fits = pair.down.dim() >= 2 && pair.up.dim() >= 2 && weight.dim() >= 2 && pair.down.size(0) >= 1 &&
                    pair.up.size(0) == weight.size(0) && pair.up.numel() == pair.up.size(0) * pair.down.size(0) &&
                    pair.down.numel() == pair.down.size(0) * (weight.numel() / weight.size(0));
  if (!fits)
    throw DataError(concat(where, ": layer \"", pair.name, "\": ", pair.up.sizes(), " times ", pair.down.sizes(),
                           " does not make \"", target.first, "\" ", weight.sizes(), "."));
  const auto rank = static_cast<double>(pair.down.size(0));
  const double alpha = pair.alpha ? *pair.alpha : rule.alpha.value_or(rank);
  return {target.first, pair.down, pair.up, alpha / (rule.is_rooted && !pair.alpha ? std::sqrt(rank) : rank)};
}

}  // namespace

Lora load_lora(const std::filesystem::path& path, const NamedTensors& weights, LoraPart part) {
  const LoadedTensors file = map_tensors(path);
  const std::string where = path.string();
  std::map<std::string, Pair> pairs;
  for (const auto& [name, tensor] : file.tensors) {
    const std::optional<Named> named = taken_apart(name);
    if (!named) throw DataError(concat(where, ": tensor \"", name, "\" belongs to no LoRA layer that is read."));
    if (named->part != part) continue;
    Pair& pair = pairs[named->stem];
    pair.name = named->stem;
    if (named->role == Role::kAlpha) {
      pair.alpha = number_of(tensor, name, where);
      continue;
    }
    if (!tensor.is_floating_point())
      throw DataError(concat(where, ": tensor \"", name, "\" is not of floating-point numbers."));
    (named->role == Role::kDown ? pair.down : pair.up) = tensor;
  }
  if (pairs.empty()) throw DataError(concat(where, ": holds no layer for this network."));
  const Rule rule = rule_of(file.metadata, part, where);
  const Lookup lookup(weights);
  Lora lora{where, {}};
  for (const auto& [stem, pair] : pairs) {
    const auto* target = lookup.find(stem);
    if (target == nullptr) throw DataError(concat(where, ": layer \"", stem, "\" changes no weight of this network."));
    lora.layers.push_back(checked(pair, *target, rule, where));
  }
  return lora;
}

std::int64_t count_lora_layers(const std::filesystem::path& path, LoraPart part) {
  std::set<std::string> stems;
  const SafetensorsFile file(path);
  for (const auto& [name, view] : file.tensors())
    if (const std::optional<Named> named = taken_apart(name); named && named->part == part) stems.insert(named->stem);
  return static_cast<std::int64_t>(stems.size());
}

namespace {

// Half types would round each change before they are summed.
at::ScalarType wide_type(const at::Tensor& weight) {
  return weight.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
}

}  // namespace

LoraMerge::LoraMerge(NamedTensors weights) : weights_(weights.begin(), weights.end()) {}

void LoraMerge::set(const std::vector<std::pair<Lora, double>>& changes) {
  const c10::NoGradGuard no_gradient;
  std::map<std::string, at::Tensor> sums;
  for (const auto& [lora, scale] : changes)
    for (const LoraLayer& layer : lora.layers) {
      const auto found = weights_.find(layer.weight);
      if (found == weights_.end())
        throw DataError(concat(lora.where, ": weight \"", layer.weight, "\" is not in this network."));
      const auto kind = found->second.options().dtype(wide_type(found->second));
      const at::Tensor delta = at::matmul(layer.up.to(kind).flatten(1), layer.down.to(kind).flatten(1));
      at::Tensor& sum = sums[layer.weight];
      const at::Tensor change = delta.reshape(found->second.sizes()) * (scale * layer.factor);
      sum = sum.defined() ? sum + change : change;
    }
  for (auto original = originals_.begin(); original != originals_.end();) {
    weights_.at(original->first).copy_(original->second);
    original = sums.count(original->first) > 0 ? std::next(original) : originals_.erase(original);
  }
  for (const auto& [name, sum] : sums) {
    at::Tensor weight = weights_.at(name);
    const at::Tensor original = originals_.try_emplace(name, weight.detach().clone()).first->second;
    weight.copy_(original.to(wide_type(original)) + sum);
  }
}

}  // namespace thaw
