#include "text/encoder.h"

#include <algorithm>
#include <set>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/checkpoint.h"
#include "core/io/json_guard.h"

namespace thaw::text {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

constexpr std::uint64_t kMaxConfigBytes = 1 << 20;
constexpr int kMaxConfigDepth = 16;

const std::vector<std::string>& class_names() {
  static const std::vector<std::string> names{"BertModel", "CLIPTextModel", "CLIPTextModelWithProjection",
                                              "T5EncoderModel"};
  return names;
}

/// Keys of every configuration of transformers that change nothing in a forward pass.
void accept_common(PublishedConfig& config) {
  for (const char* key : {"architectures",
                          "model_type",
                          "torch_dtype",
                          "dtype",
                          "transformers_version",
                          "initializer_range",
                          "initializer_factor",
                          "use_cache",
                          "return_dict",
                          "output_hidden_states",
                          "output_attentions",
                          "id2label",
                          "label2id",
                          "problem_type",
                          "task_specific_params",
                          "gradient_checkpointing",
                          "tie_word_embeddings",
                          "bos_token_id",
                          "pad_token_id",
                          "dropout",
                          "classifier_dropout",
                          "n_positions",
                          "chunk_size_feed_forward",
                          "decoder_start_token_id",
                          "tokenizer_class",
                          "finetuning_task",
                          "name_or_path"})
    config.accept(key);
}

/// The class that the configuration names; of a whole T5 only the encoder is read.
std::string class_of(const json& values, const std::string& where) {
  std::string name;
  if (values.is_object() && values.contains("architectures") && values.at("architectures").is_array() &&
      !values.at("architectures").empty() && values.at("architectures").front().is_string())
    name = values.at("architectures").front().get<std::string>();
  if (name == "T5ForConditionalGeneration" || name == "T5Model" || name == "T5WithLMHeadModel") return "T5EncoderModel";
  if (std::find(class_names().begin(), class_names().end(), name) == class_names().end())
    throw DataError(concat(where, ": architectures: expected one of ", join(class_names(), ", "), ", got \"",
                           name.substr(0, 60), "\"."));
  return name;
}

/// Tables of positions and heads of other tasks, which some files carry along.
NamedTensors without_passengers(NamedTensors tensors) {
  std::erase_if(tensors, [](const auto& one) {
    const std::string& name = one.first;
    return name.ends_with("embeddings.position_ids") || name.starts_with("decoder.") || name.starts_with("lm_head.") ||
           name.starts_with("cls.");
  });
  return tensors;
}

SentencePooling read_pooling(const fs::path& folder) {
  SentencePooling pooling;
  const fs::path modules_path = folder / "modules.json", settings_path = folder / "sentence_bert_config.json";
  if (!fs::exists(modules_path)) return pooling;
  const json modules = parse_json_file(modules_path, kMaxConfigBytes, kMaxConfigDepth);
  if (!modules.is_array()) throw DataError(concat(modules_path.string(), ": expected a list of modules."));
  for (const json& module : modules) {
    const std::string type = module.is_object() && module.contains("type") && module.at("type").is_string()
                                 ? module.at("type").get<std::string>()
                                 : "";
    const std::string kind = type.substr(type.rfind('.') + 1);
    if (kind == "Transformer") continue;
    if (kind == "Normalize") {
      pooling.is_normalized = true;
    } else if (kind == "Pooling") {
      const fs::path path = folder / "1_Pooling" / "config.json";
      PublishedConfig config(parse_json_file(path, kMaxConfigBytes, kMaxConfigDepth), path.string());
      const bool takes_first = config.boolean("pooling_mode_cls_token", false);
      const bool takes_mean = config.boolean("pooling_mode_mean_tokens", true);
      for (const char* key : {"pooling_mode_max_tokens", "pooling_mode_mean_sqrt_len_tokens",
                              "pooling_mode_weightedmean_tokens", "pooling_mode_lasttoken"})
        if (config.boolean(key, false))
          config.fail(key, "expected false, got true: only mean and first token are read.");
      for (const char* key : {"word_embedding_dimension", "include_prompt"}) config.accept(key);
      config.refuse_unread();
      if (takes_first == takes_mean) config.fail("pooling_mode_mean_tokens", "expected one of mean and first token.");
      pooling.kind = takes_mean ? SentencePooling::Kind::kMean : SentencePooling::Kind::kFirst;
    } else {
      throw DataError(concat(modules_path.string(), ": module \"", type.substr(0, 60),
                             "\" is not read. Known: Transformer, Pooling, Normalize."));
    }
  }
  if (fs::exists(settings_path)) {
    PublishedConfig config(parse_json_file(settings_path, kMaxConfigBytes, kMaxConfigDepth), settings_path.string());
    pooling.max_length = config.integer_or_null("max_seq_length", std::nullopt, 1, 1 << 20).value_or(0);
  }
  return pooling;
}

}  // namespace

EncoderOutput TextEncoder::operator()(const at::Tensor& ids_NL, const at::Tensor& mask_NL) const {
  if (ids_NL.dim() != 2 || ids_NL.size(1) < 1)
    throw DataError(concat("text encoder: expected ids [N, L], got ", ids_NL.sizes(), "."));
  if (mask_NL.defined() && mask_NL.sizes() != ids_NL.sizes())
    throw DataError(concat("text encoder: expected a mask ", ids_NL.sizes(), ", got ", mask_NL.sizes(), "."));
  if (max_length_ > 0 && ids_NL.size(1) > max_length_)
    throw DataError(
        concat("text encoder: a row of ", ids_NL.size(1), " tokens; this network has ", max_length_, " positions."));
  if (ids_NL.is_cpu() && ids_NL.numel() > 0) {
    const at::Tensor ids = ids_NL.to(at::kLong).contiguous();
    const auto* begin = ids.const_data_ptr<std::int64_t>();
    const auto [least, most] = std::minmax_element(begin, begin + ids.numel());
    if (*least < 0 || *most >= vocabulary_size_)
      throw DataError(
          concat("text encoder: expected ids in [0, ", vocabulary_size_, "), got ", *least < 0 ? *least : *most, "."));
  }
  return forward(ids_NL.to(at::kLong), mask_NL);
}

OpenedEncoder open_text_encoder(const fs::path& folder) {
  const fs::path path = folder / "config.json";
  const json values = parse_json_file(path, kMaxConfigBytes, kMaxConfigDepth);
  PublishedConfig config(values, path.string());
  accept_common(config);
  OpenedEncoder opened;
  opened.class_name = class_of(values, path.string());
  NamedTensors tensors = without_passengers(map_tensors(folder).tensors);
  if (opened.class_name == "T5EncoderModel")
    opened.encoder = make_t5_encoder(config, std::move(tensors), folder.string());
  else if (opened.class_name == "BertModel")
    opened.encoder = make_bert(config, std::move(tensors), folder.string());
  else
    opened.encoder =
        make_clip_text(config, std::move(tensors), folder.string(), opened.class_name == "CLIPTextModelWithProjection");
  opened.pooling = read_pooling(folder);
  return opened;
}

at::Tensor pool_sentence(const SentencePooling& pooling, const at::Tensor& x_NLD, const at::Tensor& mask_NL) {
  at::Tensor pooled_ND = x_NLD.select(1, 0);
  if (pooling.kind == SentencePooling::Kind::kMean) {
    const at::Tensor weight_NL1 = mask_NL.to(x_NLD.scalar_type()).unsqueeze(-1);
    pooled_ND = (x_NLD * weight_NL1).sum(1) / weight_NL1.sum(1).clamp_min(1e-9);
  }
  if (!pooling.is_normalized) return pooled_ND;
  return pooled_ND / pooled_ND.norm(2, {1}, true).clamp_min(1e-12);
}

const std::vector<std::string>& activation_names() {
  static const std::vector<std::string> names{"gelu", "gelu_new", "gelu_pytorch_tanh", "quick_gelu", "relu", "silu"};
  return names;
}

at::Tensor activate(const std::string& name, const at::Tensor& x) {
  if (name == "quick_gelu") return x * at::sigmoid(1.702 * x);
  if (name == "gelu") return at::gelu(x);
  if (name == "relu") return at::relu(x);
  if (name == "silu") return at::silu(x);
  return at::gelu(x, "tanh");
}

at::Tensor attend(const at::Tensor& q_NLD, const at::Tensor& k_NLD, const at::Tensor& v_NLD, std::int64_t heads,
                  const at::Tensor& keep) {
  const auto split = [&](const at::Tensor& y_NLD) { return nn::split_heads(y_NLD, heads); };
  return nn::merge_heads(nn::attention(split(q_NLD), split(k_NLD), split(v_NLD), keep));
}

void expect_heads(const PublishedConfig& config, const char* key, std::int64_t features, std::int64_t heads) {
  if (features % heads != 0) config.fail(key, concat(heads, " heads do not divide the ", features, " features."));
}

}  // namespace thaw::text
