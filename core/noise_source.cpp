#include "core/noise_source.h"

#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/text.h"

namespace thaw {
namespace {

// Draws of intervals stand beside the nodes of the Brownian tree, which end at 2^20.
constexpr std::uint32_t kFirstInterval = std::uint32_t{1} << 31;

}  // namespace

template <class Fill>
at::Tensor NoiseSource::filled(const at::Tensor& like, const Fill& fill) const {
  if (like.size(0) != static_cast<std::int64_t>(samples_.size()))
    throw Error(ExitCode::kBug, concat("noise for ", samples_.size(), " samples asked for a batch of ", like.size(0)));
  at::Tensor noise = at::empty(like.sizes(), at::kFloat);
  const std::size_t num_elements = static_cast<std::size_t>(noise.numel()) / samples_.size();
  for (std::size_t n = 0; n < samples_.size(); ++n)
    fill(std::span<float>(noise.data_ptr<float>() + n * num_elements, num_elements), n);
  return noise.to(like.device(), like.scalar_type());
}

Latent NoiseSource::start(const Latent& like, const Level& level) const {
  const double scale = std::hypot(level.alpha, level.sigma);
  Latent x = like;
  for (std::size_t s = 0; s < x.streams.size(); ++s)
    x.streams[s].second =
        filled(like.streams[s].second,
               [&](std::span<float> out, std::size_t n) {
                 fill_normal(out, {seed_, Purpose::kStart, samples_[n], 0, static_cast<std::uint8_t>(s)});
               }) *
        scale;
  return x;
}

void NoiseSource::begin(const Plan& plan) {
  if (kind_ == PathKind::kBrownian) return;
  Plan unscaled = plan;  // a learned variance changes no interval
  for (Instruction& instruction : unscaled.program)
    if (Combine* combine = std::get_if<Combine>(&instruction))
      for (NoiseTerm& term : combine->noise) term.scale = kNoReg;
  const Plan* plans[] = {&unscaled};
  basis_.emplace(plans);
}

NoiseSource::Ready NoiseSource::ready(const Draw& draw, const Latent& like) {
  Ready result{draw};
  if (!draw.is_path) return result;
  if (basis_) {
    result.parts = basis_->parts(draw);
    return result;
  }
  for (std::size_t s = paths_.size() / samples_.size(); s < like.streams.size(); ++s) {
    const std::size_t num_elements = static_cast<std::size_t>(like.streams[s].second.numel()) / samples_.size();
    for (const std::uint64_t sample : samples_)
      paths_.emplace_back(NoiseKey{seed_, Purpose::kPath, sample, 0, static_cast<std::uint8_t>(s)}, num_elements);
  }
  return result;
}

void NoiseSource::fill(std::span<float> out, const Ready& ready, std::size_t stream, std::size_t sample) {
  const auto tensor = static_cast<std::uint8_t>(stream);
  const Draw& draw = ready.draw;
  if (!draw.is_path) {
    fill_normal(out, {seed_, Purpose::kFresh, samples_[sample], draw.ordinal << 8 | draw.stream, tensor});
    return;
  }
  if (ready.parts.empty()) {
    paths_[stream * samples_.size() + sample].fill(out, draw.from, draw.to);
    return;
  }
  const auto fill_part = [&](std::span<float> z, std::size_t element) {
    const std::uint32_t name = kFirstInterval | static_cast<std::uint32_t>(element);
    fill_normal(z, {seed_, Purpose::kPath, samples_[sample], name, tensor});
  };
  fill_part(out, ready.parts.front().element);
  if (ready.parts.size() == 1) return;
  thread_local std::vector<float> z;
  z.resize(out.size());
  for (float& value : out) value *= static_cast<float>(ready.parts.front().weight);
  for (std::size_t k = 1; k < ready.parts.size(); ++k) {
    fill_part(z, ready.parts[k].element);
    for (std::size_t i = 0; i < out.size(); ++i) out[i] += static_cast<float>(ready.parts[k].weight) * z[i];
  }
}

std::vector<at::Tensor> NoiseSource::draw(const Draw& draw, const Latent& like) {
  const Ready made = ready(draw, like);
  std::vector<at::Tensor> result;
  for (std::size_t s = 0; s < like.streams.size(); ++s)
    result.push_back(
        filled(like.streams[s].second, [&](std::span<float> out, std::size_t n) { fill(out, made, s, n); }));
  return result;
}

PartNoise::PartNoise(NoiseSource& whole, Latent like, std::int64_t first, std::int64_t count)
    : NoiseSource(whole), whole_(whole), like_(std::move(like)), first_(first), count_(count) {}

void PartNoise::fill(std::span<float> out, const Ready& ready, std::size_t stream, std::size_t sample) {
  const at::Tensor& like = like_.streams[stream].second;
  const auto size = static_cast<std::size_t>(like.numel() / like.size(0));
  const auto row = size / static_cast<std::size_t>(like.size(1));  // of a channel
  const auto position = row / static_cast<std::size_t>(like.size(2));
  thread_local std::vector<float> all;
  all.resize(size);
  whole_.fill(all, ready, stream, sample);
  const std::size_t count = position * static_cast<std::size_t>(count_);
  const std::size_t skipped = position * static_cast<std::size_t>(first_);
  for (std::size_t from = 0, to = 0; to < out.size(); from += row, to += count)
    std::copy_n(all.data() + from + skipped, count, out.data() + to);
}

std::vector<at::Tensor> PartNoise::draw(const Draw& draw, const Latent&) {
  std::vector<at::Tensor> result = whole_.draw(draw, like_);
  for (at::Tensor& tensor : result) tensor = tensor.narrow(2, first_, count_).contiguous();
  return result;
}

}  // namespace thaw
