// Data whose denoiser is a formula: a model that needs no training, for studies of samplers.

#include <cmath>

#include <ATen/ATen.h>

#include "core/analytic.h"
#include "core/base/text.h"

namespace thaw {

namespace {

/// Every coordinate independently from one mixture of normals.
class GaussianMixture : public Backbone {
 public:
  GaussianMixture(std::vector<double> weights, std::vector<double> means, std::vector<double> stds, DataSpec spec)
      : weights_(std::move(weights)),
        means_(std::move(means)),
        stds_(std::move(stds)),
        spec_(std::move(spec)),
        parameters_(0) {}

  at::Tensor forward(const at::Tensor&, const at::Tensor&, const Condition&) const override {
    throw ConfigError("backbone \"gaussian_mixture\": is exact and has nothing to train or to call as a network.");
  }
  const Parameters& parameters() const override { return parameters_; }
  DataSpec own_spec() const override { return spec_; }

  /// E[x0 | x] = sum_k r_k (mean_k + alpha s_k^2 / v_k (x - alpha mean_k)) with v_k = alpha^2 s_k^2 + sigma^2 and the
  /// responsibilities r_k of component k for x; logits, so that far tails do not divide 0 by 0.
  at::Tensor exact_x0(const at::Tensor& x, const Level& level) const override {
    std::vector<at::Tensor> logits, estimates;
    for (std::size_t k = 0; k < means_.size(); ++k) {
      const double own = stds_[k] * stds_[k];
      const double variance = level.alpha * level.alpha * own + level.sigma * level.sigma;
      const at::Tensor gap = x - level.alpha * means_[k];
      logits.push_back(gap.square() * (-0.5 / variance) + (std::log(weights_[k]) - 0.5 * std::log(variance)));
      estimates.push_back(gap * (level.alpha * own / variance) + means_[k]);
    }
    const at::Tensor responsibilities = at::softmax(at::stack(logits), 0);
    return (responsibilities * at::stack(estimates)).sum(0);
  }

 private:
  std::vector<double> weights_, means_, stds_;
  DataSpec spec_;
  Parameters parameters_;
};

std::unique_ptr<Backbone> make_gaussian_mixture(const Settings& settings, const DataSpec&, std::uint64_t) {
  const auto& weights = settings.numbers("weights");
  const auto& means = settings.numbers("means");
  const auto& stds = settings.numbers("stds");
  if (weights.empty()) settings.fail("weights", "needs one number a component.");
  if (means.size() != weights.size() || stds.size() != weights.size())
    settings.fail("means", concat("weights, means and stds must have one number a component each, got ", weights.size(),
                                  ", ", means.size(), " and ", stds.size(), "."));
  double total = 0.0;
  for (const double weight : weights) total += weight;
  std::vector<double> shares;
  for (const double weight : weights) shares.push_back(weight / total);
  DataSpec spec{settings.integers("shape"), 0};
  if (spec.shape.empty()) settings.fail("shape", "needs at least one dimension.");
  return std::make_unique<GaussianMixture>(shares, means, stds, spec);
}

}  // namespace

void register_exact_backbones(BackboneRegistry& registry) {
  registry.add({{.name = "gaussian_mixture",
                 .summary = "Every coordinate independently a mixture of normals, with its exact denoiser.",
                 .source = "Closed form of E[x0 | x]",
                 .options = {{"weights", std::vector<double>{0.3, 0.7}, "shares of the components", 1e-12, 1e12},
                             {"means", std::vector<double>{-1.0, 0.8}, "of the components", -1e6, 1e6},
                             {"stds", std::vector<double>{0.25, 0.4}, "of the components; 0 is a point", 0.0, 1e6},
                             {"shape", std::vector<double>{3, 8, 8}, "of a sample", 1, 1e6}},
                 .traits = {"pretrained", "own_shape", "exact"}},
                make_gaussian_mixture});
}

}  // namespace thaw
