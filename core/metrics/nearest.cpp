// How near samples lie to training examples: whether a network made them or remembers them.

#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>

#include "core/base/text.h"
#include "core/metrics/distributions.h"
#include "core/metrics/metric.h"
#include "core/metrics/spread.h"

namespace thaw {

namespace {

constexpr std::int64_t kRows = 256;   // of distances at a time
constexpr double kRemembered = 4.0;   // standard errors above one half that are called copying
constexpr double kCloserThan = 0.01;  // of held-out examples: nearer than these is a copy

struct Neighbours {
  std::vector<double> distance;
  at::Tensor index;  // int64 [n], of the training example
};

// Euclidean, [n, d] each.
Neighbours nearest(const at::Tensor& own, const at::Tensor& training) {
  std::vector<at::Tensor> distances, indices;
  for (const at::Tensor& part : own.split(kRows)) {
    const auto [distance, index] = at::cdist(part.to(at::kDouble), training.to(at::kDouble)).min(1);
    distances.push_back(distance);
    indices.push_back(index);
  }
  return {list_of(at::cat(distances)), at::cat(indices)};
}

class NearestTraining : public Metric {
 public:
  NearestTraining(const Settings& settings, const MetricParts& parts)
      : parts_(parts), among_(settings.integer("among")) {}

  Measured measure(const Subject& subject) const override {
    const Neighbours own = nearest(seen(subject.raw), training());
    const std::vector<double>& real = held_out();
    const double bound = quantile_of(real, kCloserThan);
    const auto copies =
        static_cast<std::int64_t>(std::ranges::count_if(own.distance, [&](double d) { return d < bound; }));
    const Precedence nearer = precedence(own.distance, real);
    const auto n = static_cast<std::int64_t>(own.distance.size());
    const std::string among = concat(" of ", training().size(0), " by features of ", parts_.features->named);
    return {{mean_figure("nearest_training", at::tensor(own.distance, at::kDouble),
                         concat("mean distance to the nearest training example", among,
                                "; floor: the same of held-out examples")),
             share_figure("training_copies", copies, n,
                          concat("share nearer to a training example", among, " than 99 % of ", real.size(),
                                 " held-out examples are; 1 % without copying"))},
            {{"nearest_training", own.distance},
             {"nearest_training_index", list_of_indices(indices_.index_select(0, own.index))}},
            {{"memorisation", verdict(nearer)}}};
  }

  nlohmann::json beside(std::int64_t /*n*/) const override {
    return {{"nearest_training_floor", at::tensor(held_out(), at::kDouble).mean().item<double>()}};
  }

 private:
  // Meehan, Chaudhuri and Dasgupta 2020, section 3: the Mann-Whitney test of both sets' distances to the training set.
  static std::string verdict(const Precedence& nearer) {
    const std::string found = concat(
        format_short(100.0 * nearer.share, 3), " % of pairs have the sample nearer to the training set than the ",
        "held-out example (50 %: neither copies), ", format_short(nearer.z, 3), " standard errors from 50 %");
    return nearer.z > kRemembered ? concat("samples copy training examples: ", found)
                                  : concat("no sign of copies: ", found);
  }

  static std::vector<std::int64_t> list_of_indices(const at::Tensor& index_N) {
    const at::Tensor dense = index_N.contiguous();
    return {dense.data_ptr<std::int64_t>(), dense.data_ptr<std::int64_t>() + dense.numel()};
  }

  at::Tensor seen(const at::Tensor& raw_N) const { return parts_.features->features(raw_N); }
  const at::Tensor& training() const {
    if (training_.defined()) return training_;
    SpreadExamples spread = spread_examples(*parts_.data, among_);
    indices_ = at::tensor(spread.indices, at::kLong);
    training_ = seen(spread.batch.data);
    return training_;
  }
  const std::vector<double>& held_out() const {
    if (held_out_.empty()) held_out_ = nearest(seen(examples(*parts_.held_out, among_).data), training()).distance;
    return held_out_;
  }

  MetricParts parts_;
  std::int64_t among_;
  mutable at::Tensor training_, indices_;  // of which examples
  mutable std::vector<double> held_out_;
};

}  // namespace

void register_nearest_training(MetricRegistry& registry) {
  registry.add({{"nearest_training",
                 "How near samples lie to training examples, beside how near held-out examples lie: copies.",
                 "Meehan et al. 2020, section 3",
                 {{"among", std::int64_t{10000}, "training and held-out examples looked at, spread over all", 2, 1e7}},
                 {"of_samples", "needs_held_out", "needs_features"}},
                [](const Settings& settings, const MetricParts& parts) -> MetricPtr {
                  return std::make_shared<NearestTraining>(settings, parts);
                }});
}

}  // namespace thaw
