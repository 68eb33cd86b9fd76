#include "core/published_block.h"

#include <ATen/ATen.h>

#include "core/nn/streaming.h"

namespace thaw {

AdaSingleBlock::AdaSingleBlock(PublishedWeights& weights, const std::string& name, const AdaSingleOptions& options)
    : table_6D(weights.take(name + ".scale_shift_table", {6, options.heads * options.head_width})),
      norm1(weights.layer_norm(name + ".norm1", table_6D.size(1), options.has_norm_weights, options.epsilon)),
      norm2(weights.layer_norm(name + ".norm2", table_6D.size(1), options.has_norm_weights, options.epsilon)),
      attend(weights, name + ".attn1",
             {table_6D.size(1), options.heads, options.head_width, 0, options.has_attention_bias, options.is_upcast}),
      mlp(weights, name + ".ff", table_6D.size(1), options.mlp) {
  if (options.text_features > 0)
    attend_text.emplace(weights, name + ".attn2",
                        AttentionOptions{table_6D.size(1), options.heads, options.head_width, options.text_features,
                                         options.has_attention_bias, options.is_upcast});
}

at::Tensor AdaSingleBlock::operator()(const at::Tensor& x_NLD, const at::Tensor& t_N6D, const at::Tensor& text_NTD,
                                      const at::Tensor& text_bias) const {
  // shift, scale, gate of attention, then of the MLP
  const auto m = (nn::here(table_6D).unsqueeze(0) + t_N6D).chunk(6, 1);
  const at::Tensor h = norm1(x_NLD) * (1 + m[1]) + m[0];
  at::Tensor x = m[2] * attend(h, h, {}) + x_NLD;
  // The peer leaves norm2 out before attention to text.
  if (attend_text) x = (*attend_text)(x, text_NTD, text_bias) + x;
  return m[5] * mlp(norm2(x) * (1 + m[4]) + m[3]) + x;
}

}  // namespace thaw
