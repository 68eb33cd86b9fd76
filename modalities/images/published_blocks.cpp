// N batch, C channels, H height, W width, L tokens, D features, h heads
#include "modalities/images/published_blocks.h"

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/text.h"

namespace thaw::image {

const std::vector<std::string>& activation_names() {
  static const std::vector<std::string> names{"silu", "swish", "mish", "gelu", "relu"};
  return names;
}

Activation activation_from_name(const std::string& name) {
  if (name == "mish") return [](const at::Tensor& x) { return at::mish(x); };
  if (name == "gelu") return [](const at::Tensor& x) { return at::gelu(x); };
  if (name == "relu") return [](const at::Tensor& x) { return at::relu(x); };
  return [](const at::Tensor& x) { return at::silu(x); };
}

Resnet::Resnet(PublishedWeights& weights, const std::string& name, const ResnetOptions& options_, std::int64_t in,
               std::int64_t out, Size size_)
    : options(options_), size(size_) {
  norm1 = weights.group_norm(name + ".norm1", in, options.groups, options.epsilon);
  conv1 = weights.conv(name + ".conv1", in, out, 3, 1, 1);
  if (options.embedding > 0)
    time = weights.linear(name + ".time_emb_proj", options.embedding, options.scales_and_shifts ? 2 * out : out);
  norm2 = weights.group_norm(name + ".norm2", out, options.groups, options.epsilon);
  conv2 = weights.conv(name + ".conv2", out, out, 3, 1, 1);
  if (in != out) shortcut = weights.conv(name + ".conv_shortcut", in, out, 1);
}

at::Tensor Resnet::resize(const at::Tensor& x_NCHW) const {
  if (size == Size::kHalf) return at::avg_pool2d(x_NCHW, 2, 2);
  if (size == Size::kDouble) return at::upsample_nearest2d(x_NCHW, {2 * x_NCHW.size(2), 2 * x_NCHW.size(3)});
  return x_NCHW;
}

at::Tensor Resnet::operator()(const at::Tensor& x_NCHW, const at::Tensor& embedding_ND) const {
  at::Tensor h = conv1(resize(options.activation(norm1(x_NCHW))));
  if (options.embedding == 0) {
    h = norm2(h);
  } else {
    const at::Tensor t_NC11 = time(options.activation(embedding_ND)).unsqueeze(2).unsqueeze(3);
    if (options.scales_and_shifts) {
      const auto scale_and_shift = t_NC11.chunk(2, 1);
      h = norm2(h) * (scale_and_shift[0] + 1) + scale_and_shift[1];
    } else {
      h = norm2(h + t_NC11);
    }
  }
  h = conv2(options.activation(h));
  const at::Tensor x = resize(x_NCHW);
  return ((shortcut ? (*shortcut)(x) : x) + h) / options.out_scale;
}

SpatialAttention::SpatialAttention(PublishedWeights& weights, const std::string& name,
                                   const SpatialAttentionOptions& options, std::int64_t channels,
                                   std::optional<std::int64_t> groups)
    : out_scale(options.out_scale) {
  const std::int64_t head_width = options.head_width.value_or(channels);
  heads = channels / head_width;
  if (heads < 1)
    throw DataError(concat("config.json: attention_head_dim: ", head_width, " is wider than the ", channels,
                           " channels of \"", name, "\"."));
  const std::int64_t inner = heads * head_width;
  if (groups) norm = weights.group_norm(name + ".group_norm", channels, *groups, options.epsilon);
  query = weights.linear(name + ".to_q", channels, inner);
  key = weights.linear(name + ".to_k", channels, inner);
  value = weights.linear(name + ".to_v", channels, inner);
  project = weights.linear(name + ".to_out.0", inner, channels);
}

at::Tensor SpatialAttention::operator()(const at::Tensor& x_NCHW) const {
  const std::int64_t n = x_NCHW.size(0), c = x_NCHW.size(1), l = x_NCHW.size(2) * x_NCHW.size(3);
  at::Tensor h_NCL = x_NCHW.reshape({n, c, l});
  if (norm) h_NCL = (*norm)(h_NCL);
  const at::Tensor h_NLC = h_NCL.transpose(1, 2);
  const auto split = [&](const at::Tensor& y_NLD) {
    return y_NLD.reshape({n, l, heads, y_NLD.size(2) / heads}).transpose(1, 2);
  };
  const at::Tensor mixed_NhLD = nn::attention(split(query(h_NLC)), split(key(h_NLC)), split(value(h_NLC)));
  const at::Tensor out_NLC = project(mixed_NhLD.transpose(1, 2).reshape({n, l, -1}));
  return (out_NLC.transpose(1, 2).reshape(x_NCHW.sizes()) + x_NCHW) / out_scale;
}

void rename_old_attention(NamedTensors& tensors) {
  const std::pair<std::string, std::string> names[] = {
      {".query.", ".to_q."}, {".key.", ".to_k."}, {".value.", ".to_v."}, {".proj_attn.", ".to_out.0."}};
  for (auto& [name, tensor] : tensors)
    for (const auto& [before, now] : names)
      if (const std::size_t at = name.find(before); at != std::string::npos && name.find("attentions.") < at) {
        name.replace(at, before.size(), now);
        // Some of them store the projections as convolutions of one pixel.
        if (tensor.dim() == 4 && tensor.size(2) == 1 && tensor.size(3) == 1) tensor = tensor.flatten(1);
      }
}

at::Tensor downsample(const nn::Conv2d& conv, const at::Tensor& x_NCHW) {
  return conv(conv.padding == 0 ? at::constant_pad_nd(x_NCHW, {0, 1, 0, 1}) : x_NCHW);
}

}  // namespace thaw::image
