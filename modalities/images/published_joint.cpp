#include "modalities/images/published_joint.h"

#include <ATen/ATen.h>

namespace thaw::image {

namespace {

// Fixed in the peer's code.
constexpr double kNormEpsilon = 1e-6;
constexpr std::int64_t kTimeFeatures = 256;
constexpr nn::Sinusoid kSinusoid{kTimeFeatures, 10000.0, true, 0.0};

}  // namespace

Modulation::Modulation(PublishedWeights& weights, const std::string& name, std::int64_t features, std::int64_t count_)
    : linear(weights.linear(name + ".linear", features, count_ * features)),
      norm(weights.layer_norm(name + ".norm", features, false, kNormEpsilon)),
      count(count_) {}

std::vector<at::Tensor> Modulation::operator()(const at::Tensor& embedding_ND) const {
  return linear(at::silu(embedding_ND)).unsqueeze(1).chunk(count, 2);
}

at::Tensor FinalNorm::operator()(const at::Tensor& x_NLD, const at::Tensor& embedding_ND) const {
  const auto m = modulate(embedding_ND);
  return modulate.norm(x_NLD) * (1 + m[0]) + m[1];
}

HeadProjection::Names HeadProjection::own(const std::string& name) {
  return {name + ".to_q", name + ".to_k", name + ".to_v", name + ".norm_q", name + ".norm_k"};
}

HeadProjection::Names HeadProjection::added(const std::string& name) {
  return {name + ".add_q_proj", name + ".add_k_proj", name + ".add_v_proj", name + ".norm_added_q",
          name + ".norm_added_k"};
}

HeadProjection::HeadProjection(PublishedWeights& weights, const Names& names, std::int64_t features,
                               std::int64_t heads_, bool has_norm)
    : query(weights.linear(names.query, features, features)),
      key(weights.linear(names.key, features, features)),
      value(weights.linear(names.value, features, features)),
      heads(heads_) {
  if (!has_norm) return;
  query_norm = weights.rms_norm(names.query_norm, features / heads, kNormEpsilon);
  key_norm = weights.rms_norm(names.key_norm, features / heads, kNormEpsilon);
}

HeadProjection::Heads HeadProjection::operator()(const at::Tensor& x_NLD) const {
  Heads out{nn::split_heads(query(x_NLD), heads), nn::split_heads(key(x_NLD), heads),
            nn::split_heads(value(x_NLD), heads)};
  if (!query_norm.weight.defined()) return out;
  return {query_norm(out.q_NhLD), key_norm(out.k_NhLD), out.v_NhLD};
}

HeadProjection::Heads joined(const HeadProjection::Heads& first, const HeadProjection::Heads& second) {
  return {at::cat({first.q_NhLD, second.q_NhLD}, 2), at::cat({first.k_NhLD, second.k_NhLD}, 2),
          at::cat({first.v_NhLD, second.v_NhLD}, 2)};
}

TimeTextEmbedding::TimeTextEmbedding(PublishedWeights& weights, std::int64_t features, std::int64_t pooled_features,
                                     bool has_guidance)
    : time_(weights, "time_text_embed.timestep_embedder", kTimeFeatures, features),
      text_(weights, "time_text_embed.text_embedder", pooled_features, features) {
  if (has_guidance)
    guidance_ = PublishedTimeEmbedding(weights, "time_text_embed.guidance_embedder", kTimeFeatures, features);
}

at::Tensor TimeTextEmbedding::operator()(const at::Tensor& t_N, const at::Tensor& guidance_N,
                                         const at::Tensor& pooled_ND) const {
  at::Tensor sum = time_(published_timesteps(t_N, kSinusoid));
  if (guidance_N.defined()) sum = sum + guidance_(published_timesteps(guidance_N, kSinusoid));
  return sum + text_(pooled_ND);
}

}  // namespace thaw::image
