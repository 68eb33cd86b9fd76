#include "modalities/images/pipeline_text.h"

#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>

#include "core/base/text.h"
#include "text/tokens/unicode.h"

namespace thaw::image {

namespace {

constexpr std::int64_t kAlphaTokens = 120, kSigmaTokens = 300;  // what T5 of PixArt sees

// PixArt's pipelines lower and strip; their cleaning of captions (HTML, addresses) is not done.
std::string pixart_prompt(const std::string& prompt) {
  const std::string lower = text::lower_case(prompt);
  const auto is_white = [](char c) { return c == ' ' || (c >= '\t' && c <= '\r'); };
  const auto begin = std::find_if_not(lower.begin(), lower.end(), is_white);
  const auto end = std::find_if_not(lower.rbegin(), std::make_reverse_iterator(begin), is_white).base();
  return {begin, end};
}

text::TextConditioner open_conditioner(const PipelineFolder& pipeline, text::ConditionerOptions options) {
  const auto part = [&](const std::string& suffix) {
    return text::open_conditioner_part(pipeline.path / ("tokenizer" + suffix),
                                       pipeline.path / ("text_encoder" + suffix), options,
                                       text::lora_part("text_encoder" + suffix));
  };
  std::vector<text::ConditionerPart> parts;
  if (pipeline.family == PipelineFamily::kPixArt) {
    options.join = text::Join::kSingle;
    parts.push_back(part(""));
    parts[0].length =
        std::min(parts[0].length, pipeline.class_name == "PixArtAlphaPipeline" ? kAlphaTokens : kSigmaTokens);
    return {std::move(parts), std::move(options)};
  }
  if (pipeline.family == PipelineFamily::kFlux) {
    options.join = text::Join::kFlux;
    parts.push_back(part(""));
    parts.push_back(part("_2"));
    parts[1].hides_padding = false;
    return {std::move(parts), std::move(options)};
  }
  return text::open_text_conditioner(pipeline.path, std::move(options));
}

}  // namespace

PromptConditions encode_prompt(const PipelineFolder& pipeline, const PipelinePrompt& prompt) {
  if (pipeline.find("text_encoder") == nullptr) return {};
  text::TextConditioner conditioner = open_conditioner(pipeline, prompt.options);
  std::vector<std::string> prompts{prompt.prompt}, negatives{prompt.negative.value_or("")};
  if (pipeline.family == PipelineFamily::kPixArt)
    for (std::vector<std::string>* list : {&prompts, &negatives}) list->front() = pixart_prompt(list->front());
  auto [condition, null] = conditioner.with_negative(prompts, negatives);
  PromptConditions out{std::move(condition), std::move(null)};
  // Only PixArt's pipelines hand the mask on: in the others the network sees padding too.
  for (Condition* one : {&out.condition, &out.null})
    if (pipeline.family != PipelineFamily::kPixArt) one->erase("text_mask");
  // CLIPTextModelWithProjection of these pipelines is one encoder of several; a single one's vector is not read.
  if (pipeline.family == PipelineFamily::kSd || pipeline.family == PipelineFamily::kPixArt)
    for (Condition* one : {&out.condition, &out.null}) one->erase("pooled");
  if (pipeline.family == PipelineFamily::kSdxl && pipeline.zeroes_empty_prompt && !prompt.negative)
    for (auto& [name, tensor] : out.null) tensor = at::zeros_like(tensor);
  return out;
}

Condition size_conditions(const PipelineFolder& pipeline, std::int64_t height, std::int64_t width, std::int64_t side) {
  const auto h = static_cast<float>(height), w = static_cast<float>(width);
  if (pipeline.family == PipelineFamily::kSdxl)  // original size, corner of the crop, target size
    return {{"time_ids", at::tensor(std::vector<float>{h, w, 0, 0, h, w}).unsqueeze(0)}};
  constexpr std::int64_t kSideOf1024 = 128;
  if (pipeline.class_name == "PixArtAlphaPipeline" && side == kSideOf1024)
    return {{"resolution", at::tensor(std::vector<float>{h, w}).unsqueeze(0)},
            {"aspect_ratio", at::tensor(std::vector<float>{h / w}).unsqueeze(0)}};
  return {};
}

at::Tensor guidance_features(double scale, std::int64_t width) {
  const std::int64_t half = width / 2;
  const at::Tensor rates = at::exp(at::arange(half, at::kFloat) * -(std::log(10000.0) / static_cast<double>(half - 1)));
  const at::Tensor angles = rates * static_cast<float>((scale - 1.0) * 1000.0);
  const at::Tensor features = at::cat({angles.sin(), angles.cos()});
  return at::constant_pad_nd(features, {0, width % 2}).unsqueeze(0);
}

}  // namespace thaw::image
