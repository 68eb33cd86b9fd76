#include "modalities/images/published_attention.h"

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/text.h"

namespace thaw::image {

namespace {

// Fixed in the peer's code.
constexpr double kTransformerNormEpsilon = 1e-6, kBlockNormEpsilon = 1e-5;

}  // namespace

at::Tensor attention_bias(const at::Tensor& mask_NT, at::ScalarType type) {
  if (!mask_NT.defined()) return {};
  return ((1 - mask_NT.to(type)) * -10000.0).unsqueeze(1).unsqueeze(1);
}

SpatialTransformer::Block::Block(PublishedWeights& weights, const std::string& name,
                                 const SpatialTransformerOptions& options)
    : norm1(weights.layer_norm(name + ".norm1", options.channels, true, kBlockNormEpsilon)),
      norm2(weights.layer_norm(name + ".norm2", options.channels, true, kBlockNormEpsilon)),
      norm3(weights.layer_norm(name + ".norm3", options.channels, true, kBlockNormEpsilon)),
      attend(weights, name + ".attn1",
             {options.channels, options.heads, options.channels / options.heads,
              options.attends_to_text_only ? options.text_features : 0, false, options.is_upcast}),
      attend_text(weights, name + ".attn2",
                  {options.channels, options.heads, options.channels / options.heads, options.text_features, false,
                   options.is_upcast}),
      mlp(weights, name + ".ff", options.channels, FeedForward::Kind::kGeglu),
      attends_to_text_only(options.attends_to_text_only) {}

at::Tensor SpatialTransformer::Block::operator()(const at::Tensor& x_NLD, const AttentionContext& context) const {
  const at::Tensor h = norm1(x_NLD);
  at::Tensor x = attend(h, attends_to_text_only ? context.text_NTD : h, {}) + x_NLD;
  x = attend_text(norm2(x), context.text_NTD, context.text_bias) + x;
  return mlp(norm3(x)) + x;
}

SpatialTransformer::SpatialTransformer(PublishedWeights& weights, const std::string& name,
                                       const SpatialTransformerOptions& options) {
  const std::int64_t channels = options.channels;
  if (channels % options.heads != 0)
    throw DataError(concat("config.json: attention_head_dim: ", options.heads, " heads do not divide the ", channels,
                           " channels of \"", name, "\"."));
  norm_ = weights.group_norm(name + ".norm", channels, options.groups, kTransformerNormEpsilon);
  if (options.has_linear_projection)
    linear_in_ = weights.linear(name + ".proj_in", channels, channels);
  else
    conv_in_ = weights.conv(name + ".proj_in", channels, channels, 1);
  for (std::int64_t i = 0; i < options.layers; ++i)
    blocks_.emplace_back(weights, concat(name, ".transformer_blocks.", i), options);
  if (options.has_linear_projection)
    linear_out_ = weights.linear(name + ".proj_out", channels, channels);
  else
    conv_out_ = weights.conv(name + ".proj_out", channels, channels, 1);
}

at::Tensor SpatialTransformer::operator()(const at::Tensor& x_NCHW, const AttentionContext& context) const {
  const auto to_tokens = [](const at::Tensor& y_NCHW) { return y_NCHW.flatten(2).transpose(1, 2); };
  const auto to_picture = [&](const at::Tensor& y_NLD) {
    return y_NLD.transpose(1, 2).reshape({x_NCHW.size(0), y_NLD.size(2), x_NCHW.size(2), x_NCHW.size(3)});
  };
  at::Tensor h = norm_(x_NCHW);
  h = conv_in_ ? to_tokens((*conv_in_)(h)) : (*linear_in_)(to_tokens(h));
  for (const Block& block : blocks_) h = block(h, context);
  return (conv_out_ ? (*conv_out_)(to_picture(h).contiguous()) : to_picture((*linear_out_)(h))) + x_NCHW;
}

}  // namespace thaw::image
