#include "core/nn/unet2d.h"

#include <algorithm>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/nn/perturbation.h"

namespace thaw::nn {

ResidualBlock::ResidualBlock(const Scope& scope, std::int64_t in, std::int64_t out, std::int64_t embedding,
                             Resample resample_, double dropout, std::uint64_t layer_)
    : norm1(scope / "norm1", in, norm_groups(in)),
      norm2(scope / "norm2", out, norm_groups(out)),
      conv1(scope / "conv1", in, out, 3),
      conv2(scope / "conv2", out, out, 3, 1, 0.0),
      embed(scope / "embed", embedding, 2 * out),
      resample(resample_),
      dropout_rate(dropout),
      layer(layer_) {
  if (in != out) skip = Conv2d(scope / "skip", in, out, 1);
}

namespace {

at::Tensor resampled(const at::Tensor& x_NCHW, Resample resample) {
  if (resample == Resample::kDown) return at::avg_pool2d(x_NCHW, {2, 2});
  if (resample == Resample::kUp) return at::upsample_nearest2d(x_NCHW, {2 * x_NCHW.size(2), 2 * x_NCHW.size(3)});
  return x_NCHW;
}

}  // namespace

at::Tensor ResidualBlock::operator()(const at::Tensor& x_NCHW, const at::Tensor& embedding_ND) const {
  at::Tensor h = resampled(at::silu(norm1(x_NCHW)), resample);
  h = conv1(h);
  const auto scale_shift = embed(embedding_ND).unsqueeze(2).unsqueeze(3).chunk(2, 1);
  h = at::addcmul(scale_shift[1], norm2(h), scale_shift[0] + 1);
  h = conv2(dropout(at::silu(h), dropout_rate, layer));
  at::Tensor x = resampled(x_NCHW, resample);
  if (skip.weight.defined()) x = skip(x);
  return x + h;
}

AttentionBlock::AttentionBlock(const Scope& scope, std::int64_t channels, std::int64_t head_width,
                               std::int64_t text_features)
    : norm(scope / "norm", channels, norm_groups(channels)),
      qkv(scope / "qkv", channels, 3 * channels, 1),
      project(scope / "project", channels, channels, 1, 1, 0.0),
      heads(std::max<std::int64_t>(1, channels / head_width)) {
  if (text_features > 0) text.emplace(scope / "text", channels, text_features, heads);
}

at::Tensor AttentionBlock::operator()(const at::Tensor& x_NCHW, const Told& told) const {
  const Perturbation::Kind perturbed = perturbation_of(layer);
  if (perturbed == Perturbation::Kind::kSkippedLayer) return x_NCHW;
  const std::int64_t n = x_NCHW.size(0), c = x_NCHW.size(1);
  const at::Tensor qkv_3NhLD = qkv(norm(x_NCHW)).reshape({n, 3, heads, c / heads, -1}).permute({1, 0, 2, 4, 3});
  const at::Tensor h_NhLD = perturbed == Perturbation::Kind::kIdentityAttention
                                ? qkv_3NhLD[2]
                                : attention(qkv_3NhLD[0], qkv_3NhLD[1], qkv_3NhLD[2]);
  const at::Tensor x = x_NCHW + project(h_NhLD.transpose(2, 3).reshape(x_NCHW.sizes()));
  if (!text) return x;
  return (*text)(x.flatten(2).transpose(1, 2), told).transpose(1, 2).reshape(x.sizes());
}

bool UNet2d::attends(std::int64_t size) const {
  return std::find(options_.attention.begin(), options_.attention.end(), size) != options_.attention.end();
}

std::optional<AttentionBlock> UNet2d::attention_block(const Scope& scope, std::int64_t channels) const {
  if (!attends(size_)) return std::nullopt;
  return AttentionBlock(scope / "attention", channels, options_.head_width, options_.text_features);
}

UNet2d::UNet2d(const Scope& scope, const UNet2dOptions& options)
    : options_(options),
      embedding_(4 * options.width),
      embed1_(scope / "embed1", options.width, embedding_),
      embed2_(scope / "embed2", embedding_, embedding_) {
  if (options_.size % options_.patch != 0)
    throw ConfigError(concat("backbone.patch: ", options_.patch, " does not divide the size ", options_.size, "."));
  options_.size /= options_.patch;
  options_.in_channels *= options_.patch * options_.patch;
  options_.out_channels *= options_.patch * options_.patch;
  const std::int64_t halvings = static_cast<std::int64_t>(options_.multipliers.size()) - 1;
  if (options_.size % (std::int64_t{1} << halvings) != 0)
    throw ConfigError(concat("backbone.multipliers: ", halvings + 1, " levels halve the size ", halvings,
                             " times, but ", options_.size, " does not divide by 2 that often."));
  if (options_.num_classes > 0) label_ = Embedding(scope / "label", options_.num_classes + 1, embedding_, 1.0);
  if (options_.takes_target) target_ = NumberEmbedding(scope / "target", options_.width, embedding_);
  if (options_.takes_guidance) guidance_ = NumberEmbedding(scope / "guidance", options_.width, embedding_);
  numbers_ = NumberEmbeddings(scope / "numbers", options_.numbers, options_.width, embedding_);
  if (options_.text_features > 0) text_ = Linear(scope / "text", options_.text_features, embedding_);
  channels_ = options_.width * options_.multipliers.front();
  size_ = options_.size;
  in_ = Conv2d(scope / "in", options_.in_channels, channels_, 3);
  std::vector<std::int64_t> skips{channels_};
  make_down(scope / "down", skips);
  const Scope middle = scope / "middle";
  middle_.push_back(
      {ResidualBlock(middle / 0, channels_, channels_, embedding_, Resample::kNone, options_.dropout, num_layers_++),
       attention_block(middle, channels_)});
  middle_.push_back(
      {ResidualBlock(middle / 1, channels_, channels_, embedding_, Resample::kNone, options_.dropout, num_layers_++),
       std::nullopt});
  make_up(scope / "up", std::move(skips));
  out_norm_ = GroupNorm(scope / "out_norm", channels_, norm_groups(channels_));
  out_ = Conv2d(scope / "out", channels_, options_.out_channels, 3, 1, 0.0);
  for (std::vector<Stage>* stages : {&down_, &middle_, &up_})
    for (Stage& stage : *stages)
      if (stage.attention) stage.attention->layer = num_attention_++;
  if (options_.is_temporal) add_temporal(scope / "temporal");
}

void UNet2d::add_temporal(const Scope& scope) {
  const std::vector<std::int64_t>& wanted = options_.temporal;
  std::size_t index = 0;
  std::int64_t size = options_.size;
  for (std::vector<Stage>* stages : {&down_, &middle_, &up_})
    for (Stage& stage : *stages) {
      if (stage.block.resample == Resample::kDown) size /= 2;
      if (stage.block.resample == Resample::kUp) size *= 2;
      const bool has_time = wanted.empty() || std::find(wanted.begin(), wanted.end(), size) != wanted.end();
      const std::int64_t channels = stage.block.conv2.weight.size(0);
      if (has_time) stage.temporal.emplace(scope / index, channels, options_.head_width);
      ++index;
    }
}

void UNet2d::make_down(const Scope& scope, std::vector<std::int64_t>& skips) {
  for (std::size_t level = 0; level < options_.multipliers.size(); ++level) {
    const std::int64_t width = options_.width * options_.multipliers[level];
    if (level > 0) {
      const Scope at_stage = scope / down_.size();
      size_ /= 2;
      down_.push_back(
          {ResidualBlock(at_stage, channels_, channels_, embedding_, Resample::kDown, options_.dropout, num_layers_++),
           std::nullopt});
      skips.push_back(channels_);
    }
    for (std::int64_t i = 0; i < options_.blocks; ++i) {
      const Scope at_stage = scope / down_.size();
      down_.push_back(
          {ResidualBlock(at_stage, channels_, width, embedding_, Resample::kNone, options_.dropout, num_layers_++),
           attention_block(at_stage, width)});
      channels_ = width;
      skips.push_back(width);
    }
  }
}

void UNet2d::make_up(const Scope& scope, std::vector<std::int64_t> skips) {
  for (std::size_t level = options_.multipliers.size(); level-- > 0;) {
    const std::int64_t width = options_.width * options_.multipliers[level];
    for (std::int64_t i = 0; i <= options_.blocks; ++i) {
      const Scope at_stage = scope / up_.size();
      up_.push_back({ResidualBlock(at_stage, channels_ + skips.back(), width, embedding_, Resample::kNone,
                                   options_.dropout, num_layers_++),
                     attention_block(at_stage, width)});
      takes_skip_.push_back(true);
      skips.pop_back();
      channels_ = width;
    }
    if (level > 0) {  // already as narrow as the level above: at the input's size a wide block costs the most
      const std::int64_t above = options_.width * options_.multipliers[level - 1];
      up_.push_back({ResidualBlock(scope / up_.size(), channels_, above, embedding_, Resample::kUp, options_.dropout,
                                   num_layers_++),
                     std::nullopt});
      takes_skip_.push_back(false);
      channels_ = above;
      size_ *= 2;
    }
  }
}

at::Tensor UNet2d::embedding(const Told& told) const {
  // Of clips whose frames have numbers of their own, the embeddings of all frames, which come clip by clip.
  const std::int64_t frames = told.noise.dim() == 2 ? told.noise.size(1) : 1;
  const auto of_frames = [frames](const at::Tensor& own) {
    return frames == 1 ? own : own.repeat_interleave(frames, 0);
  };
  const at::Tensor noise = told.noise.flatten();
  at::Tensor embedding_ND = embed2_(at::silu(embed1_(sinusoidal_embedding(noise, {options_.width}))));
  if (label_.weight.defined() && told.label.defined()) embedding_ND = embedding_ND + of_frames(label_(told.label));
  if (options_.takes_target) embedding_ND = embedding_ND + target_(noise - told.target.flatten());
  if (options_.takes_guidance) embedding_ND = embedding_ND + of_frames(guidance_(100 * (told.guidance - 1)));
  if (text_.weight.defined() && told.pooled.defined()) embedding_ND = embedding_ND + of_frames(text_(told.pooled));
  if (!numbers_.is_empty()) embedding_ND = embedding_ND + of_frames(numbers_(told.numbers));
  return at::silu(embedding_ND);
}

at::Tensor UNet2d::run(const at::Tensor& pixels_MCHW, const at::Tensor& embedding_MD, const Told& told,
                       std::int64_t frames) const {
  at::Tensor h = in_(options_.patch == 1 ? pixels_MCHW : at::pixel_unshuffle(pixels_MCHW, options_.patch));
  std::vector<at::Tensor> skips{h};
  const auto run_stage = [&](const Stage& stage) {
    h = stage.block(h, embedding_MD);
    if (stage.attention) h = (*stage.attention)(h, told);
    if (stage.temporal) h = (*stage.temporal)(h, frames);
  };
  for (const Stage& stage : down_) {
    run_stage(stage);
    skips.push_back(h);
  }
  for (const Stage& stage : middle_) run_stage(stage);
  for (std::size_t i = 0; i < up_.size(); ++i) {
    if (takes_skip_[i]) {
      h = at::cat({h, skips.back()}, 1);
      skips.pop_back();
    }
    run_stage(up_[i]);
  }
  const at::Tensor y_MCHW = out_(at::silu(out_norm_(h)));
  return options_.patch == 1 ? y_MCHW : at::pixel_shuffle(y_MCHW, options_.patch);
}

at::Tensor UNet2d::operator()(const at::Tensor& x, const Told& told) const {
  const at::Tensor embedding_ND = embedding(told);
  if (!options_.is_temporal) return run(x, embedding_ND, told, 1);
  const std::int64_t n = x.size(0), frames = x.size(2);
  // Frames side by side in the batch, each told what its clip is told.
  const auto of_frames = [&](const at::Tensor& tensor) {
    return tensor.defined() ? tensor.repeat_interleave(frames, 0) : tensor;
  };
  Told frame_told = told;
  frame_told.text = of_frames(told.text);
  frame_told.text_mask = of_frames(told.text_mask);
  const at::Tensor x_MCHW = x.transpose(1, 2).flatten(0, 1);
  const at::Tensor embedding_MD = embedding_ND.size(0) == n ? of_frames(embedding_ND) : embedding_ND;
  const at::Tensor y_MCHW = run(x_MCHW, embedding_MD, frame_told, frames);
  return y_MCHW.reshape({n, frames, y_MCHW.size(1), y_MCHW.size(2), y_MCHW.size(3)}).transpose(1, 2);
}

}  // namespace thaw::nn
