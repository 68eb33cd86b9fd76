#pragma once
// The noise of a set of samples: a pure function of (run seed, sample index, what it is for).

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include <ATen/core/Tensor.h>

#include "core/latent.h"
#include "core/math/brownian.h"
#include "core/math/noise_basis.h"
#include "core/math/plan.h"

namespace thaw {

/// Where a plan's path draws come from.
///   kBrownian     one Brownian motion a sample: runs of 20 and 40 steps see the same path. About twenty normals a
///   number. kIndependent  one normal for each interval of the plan's own: the same distribution (overlapping draws
///   keep their
///                 covariance), but another number of steps sees unrelated noise
enum class PathKind { kBrownian, kIndependent };

/// Noise for the samples of one batch. Sample i has the same numbers in any batch, order and number of threads.
class NoiseSource {
 public:
  NoiseSource(std::uint64_t seed, std::vector<std::uint64_t> samples, PathKind kind = PathKind::kBrownian)
      : seed_(seed), samples_(std::move(samples)), kind_(kind) {}
  virtual ~NoiseSource() = default;

  std::size_t num_samples() const { return samples_.size(); }

  /// The first state at a level: sqrt(alpha^2 + sigma^2) times a standard normal, the spread of unit-variance data
  /// there. `like` gives shapes, type and device.
  Latent start(const Latent& like, const Level& level) const;

  /// Splits the plan's path draws into intervals; without it kIndependent draws as kBrownian.
  virtual void begin(const Plan& plan);

  /// A draw made ready to be filled in, sample by sample, from several threads at once.
  struct Ready {
    Draw draw;
    std::vector<NoiseBasis::Part> parts{};  // of an independent path draw
  };
  virtual Ready ready(const Draw& draw, const Latent& like);
  virtual void fill(std::span<float> out, const Ready& ready, std::size_t stream, std::size_t sample);

  /// A whole draw, one tensor a stream of `like`.
  virtual std::vector<at::Tensor> draw(const Draw& draw, const Latent& like);

 protected:
  NoiseSource(const NoiseSource&) = default;

 private:
  template <class Fill>
  at::Tensor filled(const at::Tensor& like, const Fill& fill) const;

  std::uint64_t seed_;
  std::vector<std::uint64_t> samples_;
  PathKind kind_;
  std::vector<PathNoise> paths_;  // stream-major
  std::optional<NoiseBasis> basis_;
};

/// What a run of some positions of a sample (of the first dimension behind the channels) sees of the noise of all: the
/// noise of a position is the same whoever runs it. Draws the whole and takes the part.
class PartNoise final : public NoiseSource {
 public:
  /// `whole` must outlive it; `like` is of whole samples.
  PartNoise(NoiseSource& whole, Latent like, std::int64_t first, std::int64_t count);
  void begin(const Plan& plan) override { whole_.begin(plan); }
  Ready ready(const Draw& draw, const Latent&) override { return whole_.ready(draw, like_); }
  void fill(std::span<float> out, const Ready& ready, std::size_t stream, std::size_t sample) override;
  std::vector<at::Tensor> draw(const Draw& draw, const Latent&) override;

 private:
  NoiseSource& whole_;
  Latent like_;
  std::int64_t first_, count_;
};

}  // namespace thaw
