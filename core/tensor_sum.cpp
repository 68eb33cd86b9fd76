#include "core/tensor_sum.h"

#include <array>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include "core/base/error.h"
#include "core/kernels/weighted_sum.h"

namespace thaw {
namespace {

constexpr std::size_t kMostTerms = 32;

bool is_host_number(const at::Tensor& like) {
  return like.device().is_cpu() && (like.scalar_type() == at::kFloat || like.scalar_type() == at::kDouble) &&
         like.is_contiguous();
}

// Nichol and Dhariwal 2021, eq. 15: the log variance lies between two bounds, at (v + 1) / 2 of the way.
at::Tensor learned_deviation(const at::Tensor& v, const NoiseTerm& term) {
  return at::exp((v + 1.0) * (0.25 * (term.log_high - term.log_low)) + 0.5 * term.log_low);
}

}  // namespace

TensorSum::TensorSum(NoiseSource& noise, const Latent& like) : noise_(noise), like_(like) {}

void TensorSum::operator()(Latent& out, std::span<const WeightedLatent> terms, std::span<const NoiseTerm> noise,
                           std::span<const Latent* const> scales) {
  if (terms.size() + noise.size() > kMostTerms) throw Error(ExitCode::kBug, "a sum of more than 32 terms");
  if (out.streams.size() != like_.streams.size()) {
    out = like_;
    for (auto& [name, stream] : out.streams) stream = at::empty_like(stream, at::MemoryFormat::Contiguous);
  }
  ready_.clear();
  for (std::size_t d = 0; d < noise.size(); ++d)
    if (scales[d] == nullptr) ready_.push_back(noise_.ready(noise[d].draw, like_));
  for (std::size_t s = 0; s < like_.streams.size(); ++s) {
    tensors_.clear();
    weights_.clear();
    for (const WeightedLatent& term : terms) {
      tensors_.push_back(&term.latent->streams[s].second);
      weights_.push_back(term.weight);
    }
    add_stream(out, s, noise, scales);
  }
}

void TensorSum::add_stream(Latent& out, std::size_t stream, std::span<const NoiseTerm> noise,
                           std::span<const Latent* const> scales) {
  at::Tensor& sum = out.streams[stream].second;
  const at::Tensor& like = like_.streams[stream].second;
  const bool has_kernel = is_host_number(like) && (tensors_.empty() || takes_weighted_sum(tensors_));
  if (has_kernel && !ready_.empty()) {
    for (std::size_t d = 0; d < noise.size(); ++d)
      if (scales[d] == nullptr) weights_.push_back(noise[d].weight);
    if (like.scalar_type() == at::kFloat)
      sum_with_noise<float>(sum, stream);
    else
      sum_with_noise<double>(sum, stream);
  } else if (tensors_.empty()) {
    sum.zero_();
  } else {
    weighted_sum_into(sum, tensors_, weights_);
  }
  for (std::size_t d = 0; d < noise.size(); ++d) {
    if (scales[d] == nullptr && has_kernel) continue;
    const at::Tensor draw = noise_.draw(noise[d].draw, like_)[stream];
    if (scales[d] == nullptr)
      sum.add_(draw, noise[d].weight);
    else
      sum.addcmul_(draw, learned_deviation(scales[d]->streams[stream].second, noise[d]), noise[d].weight);
  }
}

template <class T>
void TensorSum::sum_with_noise(at::Tensor& out, std::size_t stream) {
  const std::size_t samples = noise_.num_samples(), terms = tensors_.size();
  if (out.size(0) != static_cast<std::int64_t>(samples))
    throw Error(ExitCode::kBug, "noise asked for a batch of another size");
  const std::size_t count = static_cast<std::size_t>(out.numel()) / samples;
  std::array<const T*, kMostTerms> from{};
  for (std::size_t k = 0; k < terms; ++k) from[k] = tensors_[k]->template const_data_ptr<T>();
  T* to = out.mutable_data_ptr<T>();
  at::parallel_for(0, static_cast<std::int64_t>(samples), 1, [&](std::int64_t begin, std::int64_t end) {
    thread_local std::vector<float> drawn;
    thread_local std::vector<T> cast;
    drawn.resize(count * ready_.size());
    cast.resize(std::is_same_v<T, float> ? 0 : drawn.size());
    for (auto n = static_cast<std::size_t>(begin); n < static_cast<std::size_t>(end); ++n) {
      std::array<const T*, kMostTerms> at{};
      for (std::size_t k = 0; k < terms; ++k) at[k] = from[k] + n * count;
      for (std::size_t d = 0; d < ready_.size(); ++d) {
        const std::span<float> z(drawn.data() + d * count, count);
        noise_.fill(z, ready_[d], stream, n);
        if constexpr (std::is_same_v<T, float>) {
          at[terms + d] = z.data();
        } else {
          std::copy(z.begin(), z.end(), cast.data() + d * count);
          at[terms + d] = cast.data() + d * count;
        }
      }
      weighted_sum<T>(to + n * count, std::span<const T* const>(at.data(), terms + ready_.size()), weights_,
                      static_cast<std::int64_t>(count));
    }
  });
}

}  // namespace thaw
