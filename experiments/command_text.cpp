#include "experiments/command_text.h"

#include <cstdio>
#include <filesystem>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/text.h"
#include "core/checkpoint.h"
#include "core/io/json_guard.h"
#include "text/conditioner.h"

namespace thaw {

namespace fs = std::filesystem;

namespace {

std::vector<std::string> read_texts(const fs::path& path) {
  const std::string bytes = read_file(path);
  std::vector<std::string> texts;
  for (std::size_t begin = 0; begin < bytes.size();) {
    const std::size_t end = std::min(bytes.find('\n', begin), bytes.size());
    std::string text = bytes.substr(begin, end - begin);
    begin = end + 1;
    if (path.extension() == ".jsonl") {
      const nlohmann::json value = parse_json_text(text, concat(path.string(), ":", texts.size() + 1));
      if (!value.is_string()) throw DataError(concat(path.string(), ":", texts.size() + 1, ": expected a string."));
      text = value.get<std::string>();
    }
    texts.push_back(std::move(text));
  }
  return texts;
}

/// The folder, and the texts that follow it or stand in `in`.
std::vector<std::string> take_texts(const CommandLine& line, const std::string& in) {
  if (line.positional.empty() || (line.positional.size() == 1) == in.empty())
    throw ConfigError(concat("command line: thaw ", line.verb, " takes a folder, and texts or --in FILE."));
  if (!in.empty()) return read_texts(in);
  return {line.positional.begin() + 1, line.positional.end()};
}

void expect_no_settings(const CommandLine& line, const char* known) {
  if (!line.settings.empty())
    throw ConfigError(concat("command line: unknown setting \"", line.settings.front(), "\". Known: ", known,
                             ". A text with = in it goes into a file for --in."));
}

/// One pass over ids of a file, as the peer's forward takes them.
int encode_ids(const fs::path& folder, const fs::path& in, std::int64_t layer, const fs::path& out) {
  const text::OpenedEncoder opened = text::open_text_encoder(folder);
  at::Tensor ids, mask;
  for (const auto& [name, tensor] : load_tensors(in).tensors) {
    if (name != "input_ids" && name != "attention_mask")
      throw DataError(concat(in.string(), ": tensor \"", name, "\" is not read. Known: input_ids, attention_mask."));
    (name == "input_ids" ? ids : mask) = tensor;
  }
  if (!ids.defined()) throw DataError(concat(in.string(), ": has no tensor \"input_ids\"."));
  const text::EncoderOutput output = (*opened.encoder)(ids, mask);
  const auto count = static_cast<std::int64_t>(output.hidden_states.size());
  if (layer >= count) throw ConfigError(concat("command line: layer: must be below ", count, ", got ", layer, "."));
  const at::Tensor x =
      layer == 0 ? output.last_hidden_state : output.hidden_states[static_cast<std::size_t>(count - 1 - layer)];
  NamedTensors tensors{{"last_hidden_state", x}};
  const at::Tensor seen = mask.defined() ? mask : at::ones_like(ids);
  if (opened.pooling.kind != text::SentencePooling::Kind::kNone)
    tensors.emplace_back("pooled", text::pool_sentence(opened.pooling, output.last_hidden_state, seen));
  else if (output.pooled.defined())
    tensors.emplace_back("pooled", output.pooled);
  tensors.emplace_back("mask", seen);
  save_tensors(out, tensors);
  std::printf("%s\n", out.c_str());
  return 0;
}

text::ConditionerOptions take_options(CommandLine& line) {
  text::ConditionerOptions options;
  const std::string weights = take_setting(line, "weights", "a1111");
  if (weights != "a1111" && weights != "none" && weights != "off")
    throw ConfigError(concat("command line: weights: unknown value \"", weights, "\". Known: a1111, none, off."));
  options.reads_weights = weights != "off";
  options.norm = weights == "none" ? text::WeightNorm::kNone : text::WeightNorm::kMean;
  options.clip_skip = take_integer(line, "skip", 0, 0);
  options.cache = take_setting(line, "cache");
  return options;
}

}  // namespace

int command_tokenize(CommandLine line, const Catalog&) {
  expect_flags(line, {});
  const std::string in = take_setting(line, "in");
  expect_no_settings(line, "in");
  const std::vector<std::string> texts = take_texts(line, in);
  const text::Tokenizer tokenizer = text::open_tokenizer(line.positional.front());
  for (const std::string& one : texts) {
    std::string ids;
    for (const text::TokenId id : tokenizer.encode_framed(one)) ids += concat(ids.empty() ? "" : ", ", id);
    std::printf("[%s]\n", ids.c_str());
  }
  return 0;
}

int command_encode_text(CommandLine line, const Catalog&) {
  const c10::NoGradGuard no_gradient;
  expect_flags(line, {});
  const fs::path in = take_setting(line, "in"), out = take_setting(line, "out");
  const std::int64_t layer = take_integer(line, "layer", 0, 0);
  const text::ConditionerOptions options = take_options(line);
  expect_no_settings(line, "in, out, layer, weights, skip, cache");
  if (out.empty()) throw ConfigError("command line: thaw encode-text needs out=FILE.safetensors.");
  if (in.extension() == ".safetensors") return encode_ids(only_path(line, "folder"), in, layer, out);
  if (layer != 0) throw ConfigError("command line: layer= goes with --in FILE.safetensors of ids.");
  const std::vector<std::string> texts = take_texts(line, in.string());
  text::TextConditioner conditioner = text::open_text_conditioner(line.positional.front(), options);
  const Condition condition = conditioner(texts);
  NamedTensors tensors{{"last_hidden_state", condition.at("text")}};
  if (condition.count("pooled") > 0) tensors.emplace_back("pooled", condition.at("pooled"));
  tensors.emplace_back("mask", condition.at("text_mask"));
  save_tensors(out, tensors);
  std::printf("%s\n", out.c_str());
  return 0;
}

}  // namespace thaw
