#pragma once
// A denoising network, as everything outside its own file sees it.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "core/base/registry.h"
#include "core/condition.h"
#include "core/math/level.h"
#include "core/nn/parameters.h"

namespace thaw {

/// The shape of one encoded sample and what it may be conditioned on.
struct DataSpec {
  std::vector<std::int64_t> shape{};       // without the batch: [C, H, W] of a picture
  std::int64_t num_classes = 0;            // 0: no labels
  std::int64_t caption_bytes = 0;          // of a caption at most; 0: no captions
  std::vector<std::string> class_names{};  // num_classes of them, or none: classes are numbers alone
};

class Backbone {
 public:
  virtual ~Backbone() = default;
  /// x [N, ...] float32 or the autocast type, noise [N] float32: the number the parameterisation conditions on.
  /// Returns the raw output F, of x's shape (twice the channels where a variance is learned).
  virtual at::Tensor forward(const at::Tensor& x, const at::Tensor& noise, const Condition& condition) const = 0;
  virtual const Parameters& parameters() const = 0;
  /// True when the output has twice the channels: a prediction, then v in [-1, 1] of the learned variance (Nichol and
  /// Dhariwal 2021, eq. 15).
  virtual bool learns_variance() const { return false; }
  /// True when forward reads condition["target"] [N], the number of the level a flow map goes to (of the level itself:
  /// an ordinary prediction).
  virtual bool takes_target() const { return false; }
  /// True when forward reads condition["guidance"] [N], the scale of guidance its answer shall have (1: none).
  virtual bool takes_guidance() const { return false; }
  /// Names of further numbers [N] that forward reads in the condition; a NaN says that a sample is not told.
  virtual std::vector<std::string> takes_numbers() const { return {}; }
  /// True when forward reads condition["estimate"], of x's shape: an earlier x0 estimate of the same trajectory, zeros
  /// or absent for none (Chen et al. 2023, Analog Bits).
  virtual bool takes_estimate() const { return false; }
  /// Not 0: forward reads condition["coarse"], the sample at 1 / this of its resolution under noise whose level
  /// condition["coarse_noise"] tells (core/coarse.h).
  virtual std::int64_t coarse_factor() const { return 0; }
  /// True when forward reads condition["given"], of x's shape and zero where nothing is given, and
  /// condition["given_mask"] [N, 1, ...], which broadcasts to it and is 1 where it is (core/given.h); both may be
  /// absent.
  virtual bool takes_given() const { return false; }
  /// True when `noise` may be [N, K]: each position of the first dimension behind the channels at its own level.
  virtual bool takes_parts() const { return false; }
  /// Number of layers that can be perturbed, see Perturbation; 0: none.
  virtual std::int64_t attention_layers() const { return 0; }
  /// What its samples look like, of backbones with the trait "own_shape".
  virtual DataSpec own_spec() const { return {}; }
  /// x0 of x [N, ...] at a level, in x's own type, of models that know it in closed form; undefined of networks.
  virtual at::Tensor exact_x0(const at::Tensor&, const Level&) const { return {}; }
};

/// Weights start as pure functions of (seed, name). Traits of entries:
///   "classifier"   gives logits, not x0
///   "pretrained"   brings its weights along; needs no training
///   "exact"        knows x0 in closed form, whatever a prediction is called
///   "own_shape"    knows the shape of its samples without data
using BackboneRegistry = Registry<std::unique_ptr<Backbone>, const DataSpec&, std::uint64_t>;

}  // namespace thaw
