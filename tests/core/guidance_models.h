#pragma once
// Networks that know the answer: three normal classes, their mixture where no class is told; and a bench around them.

#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <numbers>
#include <string>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/guidance.h"
#include "core/math/grid.h"
#include "core/math/philox.h"
#include "core/metrics/features.h"
#include "core/model.h"
#include "core/nn/perturbation.h"
#include "tests/core/guided.h"

namespace thaw::test {

inline constexpr double kMeans[] = {-0.7, 0.2, 0.9};
inline constexpr double kSpread = 0.3;

inline at::Tensor class_means() {
  return at::tensor({kMeans[0], kMeans[1], kMeans[2]}, at::kDouble);
}

inline at::Tensor some_normals(at::IntArrayRef shape, std::uint64_t seed) {
  at::Tensor x = at::empty(shape);
  fill_normal({x.data_ptr<float>(), static_cast<std::size_t>(x.numel())}, {seed, Purpose::kOther});
  return x.to(at::kDouble);
}

inline SchedulePtr class_schedule(const std::string& type) {
  ScheduleRegistry schedules("schedule");
  register_schedules(schedules);
  return schedules.create(Config::parse("{type: " + type + "}", "t"), "");
}

inline Grid class_grid(std::int64_t steps) {
  GridRegistry grids("grid");
  register_grids(grids);
  return grids.create(Config::parse("{type: trailing, steps: " + std::to_string(steps) + "}", "t"), "",
                      *class_schedule("cosine"));
}

/// E[x0 | x] of N(mean, spread^2) in every pixel.
inline at::Tensor normal_x0(const at::Tensor& x, const Level& level, const at::Tensor& mean, double spread) {
  const double own = spread * spread;
  const double pull = level.alpha * own / (level.alpha * level.alpha * own + level.sigma * level.sigma);
  return mean + (x - mean * level.alpha) * pull;
}

/// log N(x; alpha mean_k, alpha^2 spread^2 + sigma^2) + constant, [N, 3], over the pixels of a sample.
inline at::Tensor class_logits(const at::Tensor& x, const at::Tensor& alpha_N, const at::Tensor& sigma_N) {
  std::vector<at::Tensor> logits;
  for (const double mean : kMeans) {
    const at::Tensor variance = alpha_N.square() * (kSpread * kSpread) + sigma_N.square();
    const at::Tensor gap = x - (alpha_N * mean).reshape({-1, 1, 1, 1});
    logits.push_back(gap.square().flatten(1).sum(1) * -0.5 / variance);
  }
  return at::stack(logits, 1);
}

struct Counts {
  std::int64_t calls = 0, rows = 0;
};

/// Predicts v at the level that its noise number (an angle) names. Label 3 is none: the mixture of the classes, each
/// sample wholly of one. A perturbed pass of layer 1 doubles the spread.
class ClassNetwork : public Backbone {
 public:
  ClassNetwork(std::shared_ptr<Counts> counts, double widening, bool takes_guidance)
      : counts_(std::move(counts)), widening_(widening), takes_guidance_(takes_guidance), parameters_(0) {}
  at::Tensor forward(const at::Tensor& x, const at::Tensor& noise, const Condition& condition) const override {
    ++counts_->calls;
    counts_->rows += x.size(0);
    const at::Tensor angle = noise * (std::numbers::pi / 2 / 1000), alpha = at::cos(angle), sigma = at::sin(angle);
    const auto wide = [](const at::Tensor& value) { return value.reshape({-1, 1, 1, 1}); };
    double spread = kSpread * widening_;
    if (nn::perturbation_of(1) != Perturbation::Kind::kNone)
      spread *= nn::perturbation_of(1) == Perturbation::Kind::kSkippedLayer ? 3 : 2;
    const at::Tensor shares = at::softmax(class_logits(x, alpha, sigma), 1);
    const at::Tensor label = condition.at("label");
    const at::Tensor known = at::one_hot(label.clamp_max(2), 3).to(at::kDouble);
    const at::Tensor share = at::where((label < 3).unsqueeze(1), known, shares);
    at::Tensor mean = at::matmul(share, class_means());
    if (takes_guidance_) mean = mean * condition.at("guidance");
    const at::Tensor pull = alpha * spread * spread / (alpha.square() * spread * spread + sigma.square());
    const at::Tensor data = wide(mean) + (x - wide(alpha * mean)) * wide(pull);
    return (x * wide(alpha) - data) / wide(sigma);
  }
  bool takes_guidance() const override { return takes_guidance_; }
  std::int64_t attention_layers() const override { return 2; }
  const Parameters& parameters() const override { return parameters_; }

 private:
  std::shared_ptr<Counts> counts_;
  double widening_;
  bool takes_guidance_;
  Parameters parameters_;
};

/// The exact classifier of noisy samples of these classes.
class ClassJudge : public Classifier {
 public:
  ClassJudge() : parameters_(0) {}
  at::Tensor features(const at::Tensor& x) const override { return x; }
  std::vector<at::Tensor> layers(const at::Tensor& x) const override { return {x.unsqueeze(2)}; }
  at::Tensor logits(const at::Tensor& x) const override { return noisy_logits(x, at::zeros({x.size(0)}, at::kDouble)); }
  bool takes_noise() const override { return true; }
  at::Tensor noisy_logits(const at::Tensor& x, const at::Tensor& noise) const override {
    const at::Tensor angle = noise * (std::numbers::pi / 2 / 1000);
    return class_logits(x, at::cos(angle), at::sin(angle));
  }
  const Parameters& parameters() const override { return parameters_; }

 private:
  Parameters parameters_;
};

inline Model class_model(std::shared_ptr<Counts> counts, double widening = 1.0, bool takes_guidance = false) {
  Parameterisation own;
  own.schedule = class_schedule("cosine");
  return {.spec = {{1, 4, 4}, 3},
          .parameterisation = own,
          .backbone = std::make_unique<ClassNetwork>(std::move(counts), widening, takes_guidance),
          .precision = Precision::kFloat64};
}

// Three levels of the cosine schedule's path.
inline const Level kMiddle{0.6, 0.8}, kNoisy{0.05, std::sqrt(1 - 0.0025)}, kClean{0.995, std::sqrt(1 - 0.995 * 0.995)};

struct Bench {
  std::shared_ptr<Counts> counts = std::make_shared<Counts>();
  Model model = class_model(counts);
  at::Tensor labels = at::tensor({0, 1, 2, 1}, at::kLong);
  at::Tensor x = some_normals({4, 1, 4, 4}, 3);

  GuidedRun run() const { return {&model, {{"label", labels}}, 0, 4}; }
  Denoiser guided(const std::string& yaml, const SecondModelOpener& open = {}) const {
    return with_guidance(model.denoiser({{"label", labels}}), make_guidance(yaml, open), run());
  }
  at::Tensor ask(const Denoiser& denoiser, const Level& level) const {
    return denoiser(Latent::of(x), {.at = level}).front().data.main();
  }
  at::Tensor ask(const std::string& yaml, const Level& level, const SecondModelOpener& open = {}) const {
    return ask(guided(yaml, open), level);
  }
  at::Tensor branch(Branch branch, const Level& level) const {
    return model.denoiser({{"label", labels}})(Latent::of(x), {.at = level, .branches = {branch}}).front().data.main();
  }
};

inline std::shared_ptr<const Model> weaker(const std::string&, std::int64_t) {
  auto model = std::make_shared<Model>(class_model(std::make_shared<Counts>(), 2.0));
  return model;
}
inline std::shared_ptr<const Model> noisy_classifier(const std::string&, std::int64_t) {
  auto model = std::make_shared<Model>(class_model(std::make_shared<Counts>()));
  model->backbone = std::make_unique<ClassJudge>();
  return model;
}

inline bool is_close(const at::Tensor& a, const at::Tensor& b, double margin = 1e-12) {
  return (a - b).abs().max().item<double>() <= margin * std::max(1.0, b.abs().max().item<double>());
}

inline std::string message_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace thaw::test
