#pragma once
// A network with what is needed to ask it for x0: it trains and ships as one.

#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/backbone.h"
#include "core/denoiser.h"
#include "core/math/scalings.h"
#include "core/math/schedule.h"
#include "core/precision.h"

namespace thaw {

/// The number a network is told for a level.
///   angle     1000 atan(sigma / alpha) / (pi / 2), in [0, 1000] on every path
///   timestep  the schedule's own time of the level (the index of a discrete table)
///   lambda    ln(alpha / sigma)
///   edm       ln(sigma / alpha) / 4, Karras et al. 2022
enum class Conditioning { kAngle, kTimestep, kLambda, kEdm };
const std::vector<std::string>& conditioning_names();

struct Parameterisation {
  Prediction prediction = Prediction::kV;
  double sigma_data = 0.5;
  Conditioning conditioning = Conditioning::kAngle;
  SchedulePtr schedule{};        // gives the path, and the time of a level
  bool learns_variance = false;  // the second half of the output's channels is v of Nichol and Dhariwal 2021
  /// (lambda, time) of levels whose time is told as given, where a published sampler rounds it its own way.
  std::vector<std::pair<double, double>> told{};

  double noise_number(const Level& level) const;
  /// Of a level that may be clean, which counts as the schedule's cleanest.
  double part_number(const Level& level) const;
  /// Of where a flow map goes: the clean level counts as the schedule's cleanest where its number is infinite.
  double target_number(const Level& level) const;
};

struct Model {
  DataSpec spec;
  Parameterisation parameterisation;
  std::unique_ptr<Backbone> backbone;
  c10::Device device{c10::kCPU};
  Precision precision = Precision::kFloat32;

  /// The network's raw output F(in x, noise) in float32, each sample at its own level, or with more levels than samples
  /// each position of the first dimension behind the channels at its own, sample-major (Backbone::takes_parts; the
  /// clean level is told as the schedule's cleanest). x [N, ...]. `targets` are where
  /// flow maps go, one a sample; none: the levels themselves. Other networks do not see them.
  at::Tensor output(const at::Tensor& x, std::span<const Level> levels, const Condition& condition,
                    std::span<const Level> targets = {}) const;

  /// The network alone: its input already scaled, its numbers already told. Shapes as `output`. `in`: float32 where
  /// its digits are needed, as in derivatives.
  at::Tensor raw_output(const at::Tensor& scaled, const at::Tensor& noise_N, const Condition& seen) const {
    return raw_output(scaled, noise_N, seen, precision);
  }
  at::Tensor raw_output(const at::Tensor& scaled, const at::Tensor& noise_N, const Condition& seen, Precision in) const;

  /// The condition with everything replaced by its null value.
  Condition unconditional(const Condition& condition) const;

  /// A denoiser for one trajectory of samples under `condition`. The model must outlive it.
  Denoiser denoiser(Condition condition) const;

  /// x0 and what else the raw output of x tells, each sample (or position) at its own level; with `is_one` all levels
  /// are the first.
  Estimate estimate(const at::Tensor& x, const at::Tensor& output, const std::vector<Level>& levels, bool is_one,
                    bool may_be_affine) const;
};

/// Asks `denoiser` on `path` whatever path a state is on: x at a level becomes x at the path's level of the same
/// lambda. So a model trained on one path runs on the grids of every other.
Denoiser on_path(Denoiser denoiser, const Path& path);

/// x at `own` is x at `asked` times this: the same data and noise, in other shares.
double rescaling(const Level& asked, const Level& own);

/// Answers Branch::kPerturbed by asking `denoiser` for the conditional branch in a perturbed pass.
Denoiser with_perturbed_branch(Denoiser denoiser);

/// model.denoiser, each query seeing the x0 estimate of the last one (of the conditional branch; the first: zeros), for
/// networks that take one. Chen et al. 2023 (Analog Bits), algorithm 2. Throws ConfigError for several levels at a
/// time: they have no last one.
Denoiser self_conditioned(const Model& model, Condition condition);

/// One number a sample, shaped [N, 1, ...] to multiply `like` [N, ...], in its type and on its device. With more
/// numbers than samples: one a position of the first dimension behind the channels, sample-major, shaped [N, 1, K, 1,
/// ...].
at::Tensor per_sample(const std::vector<double>& values, const at::Tensor& like);

/// Moves weights to a device and a floating type, in place.
void move_weights(const Parameters& parameters, const c10::Device& device, c10::ScalarType type = at::kFloat);

}  // namespace thaw
