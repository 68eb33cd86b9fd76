#include "modalities/images/single_file.h"

#include <regex>
#include <utility>
#include <vector>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/text.h"

namespace thaw::image {

namespace {

using Replacements = std::vector<std::pair<std::string, std::string>>;

std::string with_ending_replaced(const std::string& rest, const Replacements& table) {
  for (const auto& [before, now] : table)
    if (rest == before || rest.starts_with(before + ".")) return now + rest.substr(before.size());
  return rest;
}

std::string resnet_name(const std::string& rest) {
  return with_ending_replaced(rest, {{"in_layers.0", "norm1"},
                                     {"in_layers.2", "conv1"},
                                     {"emb_layers.1", "time_emb_proj"},
                                     {"out_layers.0", "norm2"},
                                     {"out_layers.3", "conv2"},
                                     {"skip_connection", "conv_shortcut"},
                                     {"nin_shortcut", "conv_shortcut"}});
}

std::string unet_name(const std::string& name, std::int64_t layers) {
  static const Replacements ends{{"input_blocks.0.0", "conv_in"},
                                 {"out.0", "conv_norm_out"},
                                 {"out.2", "conv_out"},
                                 {"time_embed.0", "time_embedding.linear_1"},
                                 {"time_embed.2", "time_embedding.linear_2"},
                                 {"label_emb.0.0", "add_embedding.linear_1"},
                                 {"label_emb.0.2", "add_embedding.linear_2"}};
  if (const std::string found = with_ending_replaced(name, ends); found != name) return found;
  static const std::regex block("(input_blocks|output_blocks)\\.([0-9]{1,3})\\.([0-9])\\.(.*)"),
      middle("middle_block\\.([0-2])\\.(.*)");
  std::smatch match;
  if (std::regex_match(name, match, middle)) {
    const std::int64_t index = std::stoll(match[1]);
    return index == 1 ? "mid_block.attentions.0." + match[2].str()
                      : concat("mid_block.resnets.", index / 2, ".", resnet_name(match[2]));
  }
  if (!std::regex_match(name, match, block)) return "";
  const bool is_down = match[1] == "input_blocks";
  const std::int64_t number = std::stoll(match[2]) - (is_down ? 1 : 0);
  const std::int64_t level = number / (layers + 1), layer = number % (layers + 1);
  const std::string rest = match[4], place = concat(is_down ? "down_blocks." : "up_blocks.", level);
  if (is_down && rest.starts_with("op.")) return place + ".downsamplers.0.conv" + rest.substr(2);
  if (!is_down && rest.starts_with("conv.")) return place + ".upsamplers.0." + rest;
  return match[3] == "0" ? concat(place, ".resnets.", layer, ".", resnet_name(rest))
                         : concat(place, ".attentions.", layer, ".", rest);
}

std::string vae_name(const std::string& name, std::int64_t levels) {
  static const std::regex block(
      "(encoder|decoder)\\.(down|up)\\.([0-9])\\.(block\\.([0-9])|downsample|upsample)\\.(.*)"),
      middle("(encoder|decoder)\\.mid\\.(block|attn)_([12])\\.(.*)"), outer("(encoder|decoder)\\.norm_out\\.(.*)");
  static const Replacements attention{
      {"norm", "group_norm"}, {"q", "to_q"}, {"k", "to_k"}, {"v", "to_v"}, {"proj_out", "to_out.0"}};
  std::smatch match;
  if (std::regex_match(name, match, middle)) {
    const std::string place = match[1].str() + ".mid_block.";
    return match[2] == "attn" ? place + "attentions.0." + with_ending_replaced(match[4], attention)
                              : concat(place, "resnets.", std::stoll(match[3]) - 1, ".", resnet_name(match[4]));
  }
  if (std::regex_match(name, match, outer)) return match[1].str() + ".conv_norm_out." + match[2].str();
  if (!std::regex_match(name, match, block)) return name;  // conv_in, conv_out, quant_conv, post_quant_conv
  const bool is_down = match[2] == "down";
  const std::int64_t own = std::stoll(match[3]), level = is_down ? own : levels - 1 - own;
  const std::string place = concat(match[1].str(), is_down ? ".down_blocks." : ".up_blocks.", level, ".");
  if (match[4] == "downsample") return place + "downsamplers.0." + match[6].str();
  if (match[4] == "upsample") return place + "upsamplers.0." + match[6].str();
  return concat(place, "resnets.", match[5].str(), ".", resnet_name(match[6]));
}

/// The second encoder of XL, by the names of open_clip.
std::string open_clip_name(const std::string& name) {
  static const Replacements ends{{"token_embedding", "text_model.embeddings.token_embedding"},
                                 {"positional_embedding", "text_model.embeddings.position_embedding.weight"},
                                 {"ln_final", "text_model.final_layer_norm"},
                                 {"text_projection", "text_projection.weight"}};
  static const Replacements inner{{"ln_1", "layer_norm1"},
                                  {"ln_2", "layer_norm2"},
                                  {"mlp.c_fc", "mlp.fc1"},
                                  {"mlp.c_proj", "mlp.fc2"},
                                  {"attn.out_proj", "self_attn.out_proj"},
                                  {"attn", "self_attn"}};
  static const std::regex block("transformer\\.resblocks\\.([0-9]{1,3})\\.(.*)");
  if (const std::string found = with_ending_replaced(name, ends); found != name) return found;
  std::smatch match;
  if (!std::regex_match(name, match, block)) return "";
  return concat("text_model.encoder.layers.", match[1].str(), ".", with_ending_replaced(match[2], inner));
}

/// Stable Diffusion 2 keeps its encoder as open_clip does: its projection and its last layer are not used.
SingleFileName second_version_name(const std::string& name, std::int64_t layers) {
  static const std::regex block("transformer\\.resblocks\\.([0-9]{1,3})\\..*");
  std::smatch match;
  if (name == "text_projection" || name == "attn_mask") return {};
  if (std::regex_match(name, match, block) && std::stoll(match[1]) >= layers) return {};
  return {"text_encoder", open_clip_name(name)};
}

bool ends_with_any(const std::string& name, std::initializer_list<const char*> endings) {
  for (const char* ending : endings)
    if (name.ends_with(ending)) return true;
  return false;
}

}  // namespace

SingleFileName single_file_name(const std::string& name, const SingleFileLayout& layout) {
  const auto behind = [&](const std::string& prefix) { return name.substr(prefix.size()); };
  const std::string unet = "model.diffusion_model.", vae = "first_stage_model.", clip = "cond_stage_model.transformer.",
                    own = "cond_stage_model.model.", first = "conditioner.embedders.0.transformer.",
                    second = "conditioner.embedders.1.model.";
  if (name.ends_with(".position_ids") || name.ends_with("logit_scale")) return {};
  if (name.starts_with(unet)) return {"unet", unet_name(behind(unet), layout.unet_layers)};
  if (name.starts_with(vae + "loss.")) return {};
  if (name.starts_with(vae)) return {"vae", vae_name(behind(vae), layout.vae_levels)};
  for (const std::string& prefix : {clip, first})
    if (name.starts_with(prefix)) return {"text_encoder", behind(prefix)};
  if (name.starts_with(second)) return {"text_encoder_2", open_clip_name(behind(second))};
  if (name.starts_with(own)) return second_version_name(behind(own), layout.text_layers);
  return {};
}

std::map<std::string, NamedTensors> split_single_file(const NamedTensors& tensors, const SingleFileLayout& layout,
                                                      const std::string& where) {
  std::map<std::string, NamedTensors> parts;
  for (const auto& [name, tensor] : tensors) {
    const SingleFileName to = single_file_name(name, layout);
    if (to.part.empty()) continue;
    if (to.name.empty()) throw DataError(concat(where, ": tensor \"", name, "\" is of no layout that is read here."));
    NamedTensors& part = parts[to.part];
    const std::size_t fused = to.name.find(".in_proj_");
    if (fused != std::string::npos) {
      const std::vector<at::Tensor> thirds = tensor.chunk(3, 0);
      const std::string stem = to.name.substr(0, fused), kind = to.name.substr(fused + 9);
      const char* const names[] = {".q_proj.", ".k_proj.", ".v_proj."};
      for (std::size_t i = 0; i < thirds.size(); ++i) part.emplace_back(stem + names[i] + kind, thirds[i].contiguous());
    } else if (to.part == "text_encoder_2" && to.name == "text_projection.weight") {
      part.emplace_back(to.name, tensor.t().contiguous());
    } else if (to.part == "vae" && tensor.dim() == 4 && tensor.size(2) == 1 &&
               to.name.find("attentions") != std::string::npos &&
               ends_with_any(to.name, {"to_q.weight", "to_k.weight", "to_v.weight", "to_out.0.weight"})) {
      part.emplace_back(to.name, tensor.flatten(1));
    } else {
      part.emplace_back(to.name, tensor);
    }
  }
  if (parts.empty()) throw DataError(concat(where, ": holds no model.diffusion_model, first_stage_model or the like."));
  return parts;
}

}  // namespace thaw::image
