#pragma once
// A denoiser is a function; everything that changes what it answers is a function around it.

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "core/base/registry.h"
#include "core/condition.h"
#include "core/latent.h"
#include "core/math/level.h"
#include "core/math/path.h"
#include "core/nn/perturbation.h"

namespace thaw {

/// What a denoiser is asked to condition on. Several branches of one query go through the network as one batch.
enum class Branch {
  kConditional,
  kUnconditional,
  kNegative,   // on Query::negative
  kPerturbed,  // on the own condition, by a network made weaker as Query::perturbed says: a call of its own
};

/// What is asked for beside the x0 estimate; see Estimate.
struct Wanted {
  bool raw = false;
  bool unguided = false;
  bool variance = false;
  bool velocity = false;
  /// The x0 estimate may come as its formula, see Affine; whoever changes estimates must not pass this on.
  bool affine = false;
  /// The answer keeps its graph back to x, which requires a gradient, whatever mode the thread is in.
  bool gradient = false;
};

struct Query {
  Level at;
  std::optional<Level> target{};  // second time of flow-map networks; absent: the level itself
  std::vector<Branch> branches{Branch::kConditional};
  Wanted wanted{};
  /// Not empty: x holds the batch once a lane, one lane after the other, each at its own level; `at` is then NaN, so
  /// that whoever does not look here is found out. Conditions repeat from lane to lane.
  std::vector<Level> lanes{};
  /// Not empty: the positions of a sample along the first dimension behind the channels are at levels of their own;
  /// sample-major, as many for each sample of x. `at` is then NaN too, and there are no lanes.
  std::vector<Level> parts{};
  std::optional<double> guidance{};  // the scale that a network with distilled guidance is told
  std::shared_ptr<const Condition> negative{};
  Perturbation perturbed{};
};

/// skip x + sum of weighted network outputs, not yet computed: a solver's own sum takes it in, which saves a pass over
/// memory. x is the state that was asked about.
struct Affine {
  double skip = 0.0;
  std::vector<std::pair<double, Latent>> parts{};
};

/// An answer: the x0 estimate, and what was wanted where there is something to tell.
struct Estimate {
  Latent data;  // without streams where `affine` stands for it
  std::optional<Affine> affine{};
  std::optional<Latent> raw{};       // before thresholding; absent where nothing was thresholded
  std::optional<Latent> unguided{};  // of the unconditional branch, evaluated for this even where its weight is 0
  std::optional<Latent> variance{};  // learned variance, v in [-1, 1] of Nichol and Dhariwal 2021
  std::optional<Latent> velocity{};  // d x / d time on the path

  Estimate() = default;
  Estimate(Latent x0) : data(std::move(x0)) {}  // NOLINT: an x0 estimate is an answer
  explicit Estimate(Affine formula) : affine(std::move(formula)) {}
};

/// One a branch, in the order asked. The tensors belong to whoever asked: they must not be written to afterwards, but
/// may be the same in every answer.
using Outputs = std::vector<Estimate>;
using Denoiser = std::function<Outputs(const Latent& x, const Query& query)>;

/// What an x0 estimate is brought into range by, sample by sample; empty for nothing.
using Thresholding = std::function<at::Tensor(const at::Tensor& data)>;
using ThresholdingRegistry = Registry<Thresholding>;
/// Adds none, static and dynamic.
void register_thresholding(ThresholdingRegistry& registry);

/// Around guidance: guided estimates are what leaves the range. Noise is then told from the thresholded estimate, as
/// everywhere in plans; `raw` is the estimate before, `unguided` is left alone.
Denoiser with_thresholding(Denoiser denoiser, Thresholding thresholding);

/// Outermost: adds the velocity alpha' D + sigma' eps that belongs to the final estimate D, on `path`'s own time.
Denoiser with_velocity(Denoiser denoiser, const Path& path);

/// Fraction of the way from clean (0) to pure noise (1) that a level stands for on any path: its angle
/// atan(sigma / alpha) over pi / 2. The cosine schedule's t.
double noise_fraction(const Level& level);

}  // namespace thaw
