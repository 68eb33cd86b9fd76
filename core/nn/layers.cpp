#include "core/nn/layers.h"

#include <cmath>
#include <limits>
#include <optional>

#include <ATen/ATen.h>
#include <c10/core/impl/LocalDispatchKeySet.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/math/philox.h"
#include "core/nn/streaming.h"

namespace thaw::nn {

namespace {

struct Pass {
  bool is_active = false;
  std::uint64_t seed = 0, first_sample = 0;
};
thread_local Pass current_pass;

}  // namespace

Linear::Linear(const Scope& scope, std::int64_t in, std::int64_t out, double gain, bool has_bias)
    : weight(scope.add("weight", {out, in}, Init::fan_in(in, gain))) {
  if (has_bias) bias = scope.add("bias", {out}, Init::zeros());
}

at::Tensor Linear::operator()(const at::Tensor& x) const {
  return at::linear(x, here(weight), here(bias));
}

Conv2d::Conv2d(const Scope& scope, std::int64_t in, std::int64_t out, std::int64_t kernel, std::int64_t stride_,
               double gain, std::optional<std::int64_t> padding_)
    : weight(scope.add("weight", {out, in, kernel, kernel}, Init::fan_in(in * kernel * kernel, gain))),
      bias(scope.add("bias", {out}, Init::zeros())),
      stride(stride_),
      padding(padding_.value_or(kernel / 2)) {}

at::Tensor Conv2d::operator()(const at::Tensor& x_NCHW) const {
  return at::conv2d(x_NCHW, here(weight), here(bias), stride, padding);
}

GroupNorm::GroupNorm(const Scope& scope, std::int64_t channels, std::int64_t groups_, double epsilon_)
    : weight(scope.add("weight", {channels}, Init::ones())),
      bias(scope.add("bias", {channels}, Init::zeros())),
      groups(groups_),
      epsilon(epsilon_) {}

at::Tensor GroupNorm::operator()(const at::Tensor& x_NC) const {
  return at::group_norm(x_NC, groups, here(weight), here(bias), epsilon);
}

LayerNorm::LayerNorm(const Scope& scope, std::int64_t features_, bool has_weights, double epsilon_)
    : features(features_), epsilon(epsilon_) {
  if (!has_weights) return;
  weight = scope.add("weight", {features}, Init::ones());
  bias = scope.add("bias", {features}, Init::zeros());
}

at::Tensor LayerNorm::operator()(const at::Tensor& x) const {
  return at::layer_norm(x, {features}, here(weight), here(bias), epsilon);
}

RmsNorm::RmsNorm(const Scope& scope, std::int64_t features, double epsilon_)
    : weight(scope.add("weight", {features}, Init::ones())), epsilon(epsilon_) {}

at::Tensor RmsNorm::operator()(const at::Tensor& x) const {
  const at::Tensor wide = x.scalar_type() == at::kDouble ? x : x.to(at::kFloat);
  const at::Tensor scale = (wide.square().mean(-1, true) + epsilon).rsqrt();
  // Rounded before the weight is applied, as published networks do; autocast leaves weights in float32.
  return ((wide * scale).to(x.scalar_type()) * here(weight)).to(x.scalar_type());
}

Embedding::Embedding(const Scope& scope, std::int64_t count, std::int64_t features, double deviation)
    : weight(scope.add("weight", {count, features}, Init::normal(deviation))) {}

at::Tensor Embedding::operator()(const at::Tensor& index_N) const {
  return at::embedding(here(weight), index_N);
}

at::Tensor sinusoidal_embedding(const at::Tensor& t_N, const Sinusoid& options) {
  const std::int64_t half = options.features / 2;
  // Half types would blur the large arguments.
  const auto type = t_N.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const auto float_options = t_N.options().dtype(type);
  const at::Tensor exponent =
      at::arange(half, float_options) * (-std::log(options.max_period) / (half - options.frequency_shift));
  const at::Tensor angle = t_N.to(type).unsqueeze(1) * exponent.exp().unsqueeze(0);
  at::Tensor embedding =
      options.cosine_first ? at::cat({angle.cos(), angle.sin()}, 1) : at::cat({angle.sin(), angle.cos()}, 1);
  if (options.features % 2 == 1) embedding = at::constant_pad_nd(embedding, {0, 1});
  return embedding;
}

NumberEmbedding::NumberEmbedding(const Scope& scope, std::int64_t features_, std::int64_t embedding)
    : embed1(scope / "embed1", features_, embedding),
      embed2(scope / "embed2", embedding, embedding, 0.0),
      features(features_) {}

at::Tensor NumberEmbedding::operator()(const at::Tensor& number_N) const {
  return embed2(at::silu(embed1(sinusoidal_embedding(number_N, {features}))));
}

NumberEmbeddings::NumberEmbeddings(const Scope& scope, const std::vector<std::string>& names, std::int64_t features,
                                   std::int64_t embedding) {
  for (const std::string& name : names) embeddings.emplace_back(scope / name, features, embedding);
}

at::Tensor NumberEmbeddings::operator()(const at::Tensor& numbers_NK) const {
  at::Tensor sum;
  for (std::size_t k = 0; k < embeddings.size(); ++k) {
    const at::Tensor number_N = numbers_NK.select(1, static_cast<std::int64_t>(k)), is_told_N = number_N.isfinite();
    // Not told is replaced before it is embedded as well: the gradient of a NaN would be one.
    const at::Tensor own = embeddings[k](100 * at::where(is_told_N, number_N, at::zeros_like(number_N)));
    const at::Tensor part = own * is_told_N.unsqueeze(1).to(own.scalar_type());
    sum = sum.defined() ? sum + part : part;
  }
  return sum;
}

at::Tensor split_heads(const at::Tensor& x_NLD, std::int64_t heads) {
  return x_NLD.reshape({x_NLD.size(0), x_NLD.size(1), heads, x_NLD.size(2) / heads}).transpose(1, 2);
}

at::Tensor merge_heads(const at::Tensor& x_NhLD) {
  return x_NhLD.transpose(1, 2).flatten(2);
}

namespace {

at::Tensor written_out_attention(const at::Tensor& q_NhLD, const at::Tensor& k_NhLD, const at::Tensor& v_NhLD,
                                 const at::Tensor& mask) {
  const double scale = 1.0 / std::sqrt(static_cast<double>(q_NhLD.size(-1)));
  at::Tensor logits = at::matmul(q_NhLD * scale, k_NhLD.transpose(-2, -1));
  if (mask.defined())
    logits = mask.scalar_type() == at::kBool
                 ? logits.masked_fill(mask.logical_not(), -std::numeric_limits<double>::infinity())
                 : logits + mask;
  return at::matmul(at::softmax(logits, -1), v_NhLD);
}

// On the CPU the fused kernel of bfloat16 takes 3 to 12 times as long as float32 written out, up to this many keys.
constexpr std::int64_t kShort = 128;

}  // namespace

at::Tensor attention(const at::Tensor& q_NhLD, const at::Tensor& k_NhLD, const at::Tensor& v_NhLD,
                     const at::Tensor& mask) {
  // The fused kernels have no forward-mode derivative. Queries that are weights have no tangent where keys have one.
  const bool has_tangent = q_NhLD._fw_grad(0).defined() || k_NhLD._fw_grad(0).defined() || v_NhLD._fw_grad(0).defined();
  if (has_tangent) return written_out_attention(q_NhLD, k_NhLD, v_NhLD, mask);
  if (q_NhLD.is_cpu() && q_NhLD.scalar_type() == at::kBFloat16 && k_NhLD.size(-2) <= kShort) {
    const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
    return written_out_attention(q_NhLD.to(at::kFloat), k_NhLD.to(at::kFloat), v_NhLD.to(at::kFloat), mask)
        .to(at::kBFloat16);
  }
  return at::scaled_dot_product_attention(q_NhLD, k_NhLD, v_NhLD, mask.defined() ? std::optional(mask) : std::nullopt);
}

TextAttention::TextAttention(const Scope& scope, std::int64_t features, std::int64_t text_features, std::int64_t heads_)
    : norm(scope / "norm", features, true),
      query(scope / "query", features, features),
      key_value(scope / "key_value", text_features, 2 * features),
      project(scope / "project", features, features, 0.0),
      heads(heads_) {}

at::Tensor TextAttention::operator()(const at::Tensor& x_NLD, const Told& told) const {
  const std::int64_t width = key_value.weight.size(1);
  if (!told.text.defined() || told.text.dim() != 3 || told.text.size(0) != x_NLD.size(0) || told.text.size(2) != width)
    throw DataError(concat("text: expected [", x_NLD.size(0), ", tokens, ", width, "], got ",
                           told.text.defined() ? concat(told.text.sizes()) : std::string("none"), "."));
  const auto kv = key_value(told.text).chunk(2, 2);
  at::Tensor keep = told.text_mask.defined() ? told.text_mask.to(at::kBool).unsqueeze(1) : at::Tensor();
  if (keep.defined() && keep.dim() == 3) keep = keep.unsqueeze(1);
  const at::Tensor h_NhLD =
      attention(split_heads(query(norm(x_NLD)), heads), split_heads(kv[0], heads), split_heads(kv[1], heads), keep);
  return x_NLD + project(merge_heads(h_NhLD));
}

std::int64_t norm_groups(std::int64_t channels, std::int64_t wanted) {
  std::int64_t groups = std::min(channels, wanted);
  while (channels % groups != 0) --groups;
  return groups;
}

at::Tensor dropout(const at::Tensor& x, double p, std::uint64_t layer) {
  if (p == 0.0 || !current_pass.is_active) return x;
  at::Tensor mask = at::empty(x.sizes(), at::kFloat);
  const std::int64_t num_elements = x.numel() / x.size(0);
  float* values = mask.data_ptr<float>();
  for (std::int64_t n = 0; n < x.size(0); ++n) {
    const NoiseKey key{current_pass.seed, Purpose::kDropout, current_pass.first_sample + static_cast<std::uint64_t>(n),
                       static_cast<std::uint32_t>(layer), 0};
    for (std::int64_t e = 0; e < num_elements; ++e)
      *values++ = uniform(key, static_cast<std::uint64_t>(e)) < p ? 0.0f : static_cast<float>(1.0 / (1.0 - p));
  }
  return x * mask.to(x.device(), x.scalar_type());
}

TrainingPass::TrainingPass(std::uint64_t seed, std::uint64_t first_sample) {
  current_pass = {true, seed, first_sample};
}
TrainingPass::~TrainingPass() {
  current_pass = {};
}

EvaluationPass::EvaluationPass() : was_active_(current_pass.is_active) {
  current_pass.is_active = false;
}
EvaluationPass::~EvaluationPass() {
  current_pass.is_active = was_active_;
}

}  // namespace thaw::nn
