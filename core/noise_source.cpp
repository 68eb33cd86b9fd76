#include "core/noise_source.h"

#include <cmath>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/text.h"

namespace thaw {

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
    x.streams[s].second = filled(like.streams[s].second, [&](std::span<float> out, std::size_t n) {
                            fill_normal(out, {seed_, Purpose::kStart, samples_[n], 0, static_cast<std::uint8_t>(s)});
                          }) * scale;
  return x;
}

std::vector<at::Tensor> NoiseSource::draw(const Draw& draw, const Latent& like) {
  std::vector<at::Tensor> result;
  for (std::size_t s = 0; s < like.streams.size(); ++s) {
    const at::Tensor& stream = like.streams[s].second;
    const auto tensor = static_cast<std::uint8_t>(s);
    if (draw.is_path && paths_.size() < (s + 1) * samples_.size()) {
      const std::size_t num_elements = static_cast<std::size_t>(stream.numel()) / samples_.size();
      for (const std::uint64_t sample : samples_)
        paths_.emplace_back(NoiseKey{seed_, Purpose::kPath, sample, 0, tensor}, num_elements);
    }
    result.push_back(filled(stream, [&](std::span<float> out, std::size_t n) {
      if (draw.is_path)
        paths_[s * samples_.size() + n].fill(out, draw.from, draw.to);
      else
        fill_normal(out, {seed_, Purpose::kFresh, samples_[n], draw.ordinal << 8 | draw.stream, tensor});
    }));
  }
  return result;
}

}  // namespace thaw
