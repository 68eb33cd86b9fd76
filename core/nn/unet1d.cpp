#include "core/nn/unet1d.h"

#include <algorithm>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/nn/perturbation.h"

namespace thaw::nn {

ResidualBlock1d::ResidualBlock1d(const Scope& scope, const Widths& widths, double dropout, std::uint64_t layer_)
    : norm1(scope / "norm1", widths.in, norm_groups(widths.in)),
      norm2(scope / "norm2", widths.out, norm_groups(widths.out)),
      conv1(scope / "conv1", widths.in, widths.out, 3),
      conv2(scope / "conv2", widths.out, widths.out, 3, 1, 0.0),
      embed(scope / "embed", widths.embedding, 2 * widths.out),
      dropout_rate(dropout),
      layer(layer_) {
  if (widths.in != widths.out) skip = Conv1d(scope / "skip", widths.in, widths.out, 1);
}

namespace {

at::Tensor resampled(const at::Tensor& x_NCT, std::int64_t shortens, std::int64_t lengthens) {
  if (shortens > 1) return x_NCT.unflatten(2, {-1, shortens}).mean(3);
  if (lengthens > 1) return x_NCT.unsqueeze(3).expand({-1, -1, -1, lengthens}).flatten(2);
  return x_NCT;
}

at::Tensor folded(const at::Tensor& x_NCT, std::int64_t patch) {
  return patch == 1 ? x_NCT : x_NCT.unflatten(2, {-1, patch}).transpose(2, 3).flatten(1, 2);
}

at::Tensor unfolded(const at::Tensor& x_NCT, std::int64_t patch) {
  return patch == 1 ? x_NCT : x_NCT.unflatten(1, {-1, patch}).transpose(2, 3).flatten(2);
}

}  // namespace

at::Tensor ResidualBlock1d::operator()(const at::Tensor& x_NCT, const at::Tensor& embedding_ND) const {
  at::Tensor h = conv1(resampled(at::silu(norm1(x_NCT)), shortens, lengthens));
  const auto scale_shift = embed(embedding_ND).unsqueeze(2).chunk(2, 1);
  h = at::addcmul(scale_shift[1], norm2(h), scale_shift[0] + 1);
  h = conv2(dropout(at::silu(h), dropout_rate, layer));
  const at::Tensor x = resampled(x_NCT, shortens, lengthens);
  return (skip.weight.defined() ? skip(x) : x) + h;
}

AttentionBlock1d::AttentionBlock1d(const Scope& scope, std::int64_t channels, std::int64_t head_width,
                                   std::int64_t text_features)
    : norm(scope / "norm", channels, norm_groups(channels)),
      qkv(scope / "qkv", channels, 3 * channels, 1),
      project(scope / "project", channels, channels, 1, 1, 0.0),
      heads(norm_groups(channels, std::max<std::int64_t>(1, channels / head_width))) {
  if (text_features > 0) text.emplace(scope / "text", channels, text_features, heads);
}

at::Tensor AttentionBlock1d::operator()(const at::Tensor& x_NCT, const Told& told) const {
  const Perturbation::Kind perturbed = perturbation_of(layer);
  if (perturbed == Perturbation::Kind::kSkippedLayer) return x_NCT;
  const auto qkv_NTC = qkv(norm(x_NCT)).transpose(1, 2).chunk(3, 2);
  const at::Tensor v_NhTD = split_heads(qkv_NTC[2], heads);
  const at::Tensor h_NhTD = perturbed == Perturbation::Kind::kIdentityAttention
                                ? v_NhTD
                                : attention(split_heads(qkv_NTC[0], heads), split_heads(qkv_NTC[1], heads), v_NhTD);
  const at::Tensor x = x_NCT + project(merge_heads(h_NhTD).transpose(1, 2));
  return text ? (*text)(x.transpose(1, 2), told).transpose(1, 2) : x;
}

UNet1d::UNet1d(const Scope& scope, const UNet1dOptions& options) : options_(options), embed_(scope, options.told()) {
  if (options_.length % options_.patch != 0)
    throw ConfigError(concat("backbone.patch: ", options_.patch, " does not divide the length ", options_.length, "."));
  places_ = options_.length / options_.patch;
  for (std::size_t level = 1, places = places_; level < options_.multipliers.size(); ++level) {
    if (places % options_.factor != 0)
      throw ConfigError(concat("backbone.multipliers: level ", level, " has ", places, " places, which ",
                               options_.factor, " does not divide."));
    places /= options_.factor;
  }
  channels_ = options_.width * options_.multipliers.front();
  in_ = Conv1d(scope / "in", options_.in_channels * options_.patch, channels_, 3);
  std::vector<std::int64_t> skips{channels_};
  make_down(scope / "down", skips);
  const Scope middle = scope / "middle";
  middle_.push_back(stage(middle / 0, channels_, channels_, true));
  middle_.push_back(stage(middle / 1, channels_, channels_, false));
  make_up(scope / "up", std::move(skips));
  out_norm_ = GroupNorm(scope / "out_norm", channels_, norm_groups(channels_));
  out_ = Conv1d(scope / "out", channels_, options_.out_channels * options_.patch, 3, 1, 0.0);
  for (std::vector<Stage>* stages : {&down_, &middle_, &up_})
    for (Stage& one : *stages)
      if (one.attention) one.attention->layer = num_attention_++;
}

UNet1d::Stage UNet1d::stage(const Scope& scope, std::int64_t in, std::int64_t out, bool may_attend) {
  Stage made{ResidualBlock1d(scope, {in, out, options_.embedding()}, options_.dropout, num_layers_++)};
  const auto& wanted = options_.attention;
  if (may_attend && std::find(wanted.begin(), wanted.end(), places_) != wanted.end())
    made.attention.emplace(scope / "attention", out, options_.head_width, options_.text_features);
  channels_ = out;
  return made;
}

void UNet1d::make_down(const Scope& scope, std::vector<std::int64_t>& skips) {
  for (std::size_t level = 0; level < options_.multipliers.size(); ++level) {
    if (level > 0) {
      places_ /= options_.factor;
      down_.push_back(stage(scope / down_.size(), channels_, channels_, false));
      down_.back().block.shortens = options_.factor;
      skips.push_back(channels_);
    }
    for (std::int64_t i = 0; i < options_.blocks; ++i) {
      down_.push_back(stage(scope / down_.size(), channels_, options_.width * options_.multipliers[level], true));
      skips.push_back(channels_);
    }
  }
}

void UNet1d::make_up(const Scope& scope, std::vector<std::int64_t> skips) {
  for (std::size_t level = options_.multipliers.size(); level-- > 0;) {
    for (std::int64_t i = 0; i <= options_.blocks; ++i) {
      up_.push_back(
          stage(scope / up_.size(), channels_ + skips.back(), options_.width * options_.multipliers[level], true));
      up_.back().takes_skip = true;
      skips.pop_back();
    }
    if (level == 0) continue;
    // Already as narrow as the level above: a wide block costs the most where places are many.
    places_ *= options_.factor;
    up_.push_back(stage(scope / up_.size(), channels_, options_.width * options_.multipliers[level - 1], false));
    up_.back().block.lengthens = options_.factor;
  }
}

at::Tensor UNet1d::operator()(const at::Tensor& x_NCT, const Told& told) const {
  const at::Tensor embedding_ND = embed_(told);
  at::Tensor h = in_(folded(x_NCT, options_.patch));
  std::vector<at::Tensor> skips{h};
  for (const std::vector<Stage>* stages : {&down_, &middle_, &up_})
    for (const Stage& one : *stages) {
      if (one.takes_skip) {
        h = at::cat({h, skips.back()}, 1);
        skips.pop_back();
      }
      h = one.block(h, embedding_ND);
      if (one.attention) h = (*one.attention)(h, told);
      if (stages == &down_) skips.push_back(h);
    }
  return unfolded(out_(at::silu(out_norm_(h))), options_.patch);
}

}  // namespace thaw::nn
