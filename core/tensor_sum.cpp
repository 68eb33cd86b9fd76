#include "core/tensor_sum.h"

#include <array>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/kernels/weighted_sum.h"
#include "core/threads.h"

namespace thaw {
namespace {

constexpr std::size_t kMostTerms = 32;
constexpr std::int64_t kWorthThreads = 1 << 16;  // numbers to draw, some 10 ns each

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

void TensorSum::make_tensors(Latent& out) const {
  if (out.streams.size() == like_.streams.size()) return;
  out = like_;
  for (auto& [name, stream] : out.streams) stream = at::empty_like(stream, at::MemoryFormat::Contiguous);
}

void TensorSum::gather(StreamSum& sum, Latent& out, std::span<const WeightedLatent> terms, std::size_t stream) const {
  sum.out = &out.streams[stream].second;
  sum.in.clear();
  sum.weights.clear();
  for (const WeightedLatent& term : terms) {
    sum.in.push_back(&term.latent->streams[stream].second);
    sum.weights.push_back(term.weight);
  }
}

void TensorSum::operator()(Latent& out, std::span<const WeightedLatent> terms, std::span<const NoiseTerm> noise,
                           std::span<const Latent* const> scales, std::span<const LatentSum> also) {
  if (terms.size() + noise.size() > kMostTerms) throw Error(ExitCode::kBug, "a sum of more than 32 terms");
  make_tensors(out);
  for (const LatentSum& other : also) make_tensors(*other.out);
  ready_.clear();
  for (std::size_t d = 0; d < noise.size(); ++d)
    if (scales[d] == nullptr) ready_.push_back(noise_.ready(noise[d].draw, like_));
  num_sums_ = also.size() + 1;
  if (sums_.size() < num_sums_) sums_.resize(num_sums_);
  for (std::size_t s = 0; s < like_.streams.size(); ++s) {
    gather(sums_[0], out, terms, s);
    for (std::size_t k = 0; k < also.size(); ++k) gather(sums_[k + 1], *also[k].out, also[k].terms, s);
    add_stream(s, noise, scales);
  }
}

bool TensorSum::has_kernel(std::size_t stream) const {
  if (!is_host_number(like_.streams[stream].second) || num_sums_ > kMostSums) return false;
  for (std::size_t k = 0; k < num_sums_; ++k)
    if (!sums_[k].in.empty() && !takes_weighted_sum(sums_[k].in)) return false;
  return true;
}

void TensorSum::add_stream(std::size_t stream, std::span<const NoiseTerm> noise,
                           std::span<const Latent* const> scales) {
  StreamSum& main = sums_[0];
  const bool is_fast = has_kernel(stream);
  if (is_fast) {
    for (std::size_t d = 0; d < noise.size(); ++d)
      if (scales[d] == nullptr) main.weights.push_back(noise[d].weight);
    if (like_.streams[stream].second.scalar_type() == at::kFloat)
      run_kernel<float>(stream);
    else
      run_kernel<double>(stream);
  } else {
    for (std::size_t k = num_sums_; k-- > 0;)
      if (sums_[k].in.empty())
        sums_[k].out->zero_();
      else
        weighted_sum_into(*sums_[k].out, sums_[k].in, sums_[k].weights);
  }
  for (std::size_t d = 0; d < noise.size(); ++d) {
    if (scales[d] == nullptr && is_fast) continue;
    const at::Tensor draw = noise_.draw(noise[d].draw, like_)[stream];
    if (scales[d] == nullptr)
      main.out->add_(draw, noise[d].weight);
    else
      main.out->addcmul_(draw, learned_deviation(scales[d]->streams[stream].second, noise[d]), noise[d].weight);
  }
}

template <class T>
void TensorSum::run_kernel(std::size_t stream) {
  std::array<std::array<const T*, kMostTerms>, kMostSums> from{};
  std::array<WeightedSum<T>, kMostSums> sums{};
  for (std::size_t k = 0; k < num_sums_; ++k) {
    const StreamSum& sum = sums_[k];
    for (std::size_t i = 0; i < sum.in.size(); ++i) from[k][i] = sum.in[i]->template const_data_ptr<T>();
    sums[k] = {sum.out->mutable_data_ptr<T>(), {from[k].data(), sum.weights.size()}, sum.weights};
  }
  const std::int64_t total = like_.streams[stream].second.numel();
  if (ready_.empty()) {
    if (sums_[0].in.empty())
      sums_[0].out->zero_();
    else
      weighted_sums<T>({sums.data(), num_sums_}, total);
    return;
  }
  const std::size_t samples = noise_.num_samples(), terms = sums_[0].in.size();
  if (sums_[0].out->size(0) != static_cast<std::int64_t>(samples))
    throw Error(ExitCode::kBug, "noise asked for a batch of another size");
  const std::size_t count = static_cast<std::size_t>(total) / samples;
  const auto add_sample = [&](std::int64_t sample) {
    thread_local std::vector<float> drawn;
    thread_local std::vector<T> cast;
    drawn.resize(count * ready_.size());
    cast.resize(std::is_same_v<T, float> ? 0 : drawn.size());
    const auto n = static_cast<std::size_t>(sample);
    auto at = from;
    std::array<WeightedSum<T>, kMostSums> own = sums;
    for (std::size_t k = 0; k < num_sums_; ++k) {
      for (std::size_t i = 0; i < sums_[k].in.size(); ++i) at[k][i] += n * count;
      own[k].out += n * count;
      own[k].in = {at[k].data(), sums_[k].weights.size()};
    }
    for (std::size_t d = 0; d < ready_.size(); ++d) {
      const std::span<float> z(drawn.data() + d * count, count);
      noise_.fill(z, ready_[d], stream, n);
      if constexpr (std::is_same_v<T, float>) {
        at[0][terms + d] = z.data();
      } else {
        std::copy(z.begin(), z.end(), cast.data() + d * count);
        at[0][terms + d] = cast.data() + d * count;
      }
    }
    weighted_sums<T>({own.data(), num_sums_}, static_cast<std::int64_t>(count));
  };
  if (total < kWorthThreads)
    for (std::size_t n = 0; n < samples; ++n) add_sample(static_cast<std::int64_t>(n));
  else
    for_each_in_threads(static_cast<std::int64_t>(samples), add_sample);
}

}  // namespace thaw
