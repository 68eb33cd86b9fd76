// Guidance by a second network: a weaker denoiser, or a classifier of noisy data.

#include <cmath>

#include <ATen/ATen.h>

#include "core/base/text.h"
#include "core/guidance_parts.h"
#include "core/metrics/features.h"

namespace thaw {

namespace {

void expect_same_shape(const Settings& settings, const Model& model, const GuidedRun& run) {
  if (run.model == nullptr || model.spec.shape == run.model->spec.shape) return;
  settings.fail("model", concat(settings.text("model"), " works on ", at::IntArrayRef(model.spec.shape),
                                ", the guided model on ", at::IntArrayRef(run.model->spec.shape), "."));
}

// scale D + (1 - scale) D_weak, the formulas too: both are of the same x.
Outputs weighed(const Outputs& own, const Outputs& weak, double scale, const Query& query) {
  Estimate guided = own.front();
  const Estimate& against = weak.front();
  if (guided.affine) {
    Affine& sum = *guided.affine;
    sum.skip = scale * sum.skip + (1 - scale) * against.affine->skip;
    for (auto& [weight, part] : sum.parts) weight *= scale;
    for (const auto& [weight, part] : against.affine->parts) sum.parts.emplace_back((1 - scale) * weight, part);
  } else {
    for (std::size_t s = 0; s < guided.data.streams.size(); ++s)
      guided.data.streams[s].second =
          at::add(guided.data.streams[s].second * scale, against.data.streams[s].second, 1.0 - scale);
  }
  if (query.wanted.unguided) guided.unguided = against.data;
  return {guided};
}

// Both give formulas or neither: a formula the other cannot join is asked for in full.
bool both_give_formulas(const Outputs& own, const Outputs& weak) {
  return own.front().affine.has_value() == weak.front().affine.has_value();
}

Guidance make_autoguidance(const Settings& settings, const GuidanceParts& parts, const Config& section) {
  const Strength strength = read_strength(settings);
  if (settings.text("model").empty()) settings.fail("model", "needs the directory of a weaker model.");
  const auto open = opened_when_needed(parts, settings.text("model"), settings.integer("step"));
  const Guidance around = guidance_around(parts, section);
  return [=](Denoiser denoiser, const GuidedRun& run) -> Denoiser {
    const auto model = open();
    if (dynamic_cast<const Classifier*>(model->backbone.get()) != nullptr)
      settings.fail("model",
                    concat(settings.text("model"), " is a classifier. Use guidance classifier, or a denoiser."));
    expect_same_shape(settings, *model, run);
    Condition condition;
    if (model->spec.num_classes > 0) condition = run.condition;
    const Path& path = model->parameterisation.schedule->path();
    const Denoiser weak = on_path(model->denoiser(std::move(condition)), path);
    const Denoiser own = around(std::move(denoiser), run);
    const Denoiser one = [=, keep = model](const Latent& x, const Query& query) {
      const double scale = strength.at(query.lanes.empty() ? query.at : query.lanes.front());
      if (scale == 1.0) return own(x, query);
      Query asked = query;
      asked.wanted.unguided = false;
      Outputs mine = own(x, asked), other = weak(x, asked);
      if (!both_give_formulas(mine, other)) {
        asked.wanted.affine = false;
        mine = own(x, asked);
        other = weak(x, asked);
      }
      return weighed(mine, other, scale, query);
    };
    return by_strength(one, strength);
  };
}

at::Tensor log_likelihood(const Model& classifier, const Level& level, const at::Tensor& x, const at::Tensor& labels) {
  const Level own = classifier.parameterisation.schedule->path().at(level.lambda());
  const c10::ScalarType type = weight_type(classifier.precision);
  const at::Tensor number =
      at::full({x.size(0)}, classifier.parameterisation.noise_number(own), at::TensorOptions(x.device()).dtype(type));
  const at::Tensor logits = classifier.backbone->forward((x * rescaling(level, own)).to(type), number, {});
  return at::log_softmax(logits.to(x.scalar_type()), 1).gather(1, labels.unsqueeze(1)).sum();
}

Guidance make_classifier(const Settings& settings, const GuidanceParts& parts, const Config& section) {
  const Strength strength = read_strength(settings, 0.0);
  if (settings.text("model").empty()) settings.fail("model", "needs the directory of a classifier of noisy data.");
  const auto open = opened_when_needed(parts, settings.text("model"), settings.integer("step"));
  const Guidance around = guidance_around(parts, section);
  return [=](Denoiser denoiser, const GuidedRun& run) -> Denoiser {
    const auto model = open();
    const auto* classifier = dynamic_cast<const Classifier*>(model->backbone.get());
    if (classifier == nullptr) settings.fail("model", concat(settings.text("model"), " is no classifier."));
    if (!classifier->takes_noise())
      settings.fail("model",
                    concat(settings.text("model"), " has learned clean data only. Train one with objective.noisy."));
    expect_same_shape(settings, *model, run);
    const auto label = run.condition.find("label");
    if (label == run.condition.end()) settings.fail("type", "the samples have no labels to guide towards.");
    const auto acts = [=](const Level& level) { return level.alpha > 0.0 && !strength.is_neutral(level); };
    // D + scale (sigma^2 / alpha) grad log p(y | x_t): Tweedie's formula of the score that the classifier adds.
    const GradientShift shift = [=, labels = label->second](const Level& level, const at::Tensor& x,
                                                            const at::Tensor&) {
      return gradient(log_likelihood(*model, level, x, labels), x) *
             (strength.at(level) * level.sigma * level.sigma / level.alpha);
    };
    return shifted_by_gradient(around(std::move(denoiser), run), acts, shift, false);
  };
}

std::vector<Option> second_model_options(std::vector<Option> options, const char* which) {
  options.push_back({"model", std::string(), which});
  options.push_back({"step", std::int64_t{0}, "of a checkpoint of that run; 0: the finished model", 0, 1e12});
  return options;
}

}  // namespace

void register_model_guidance(GuidanceRegistry& registry) {
  registry.add({{"autoguidance",
                 "Away from a weaker version of the model: a smaller one, or an earlier checkpoint.",
                 "Karras et al. 2024, eq. 3",
                 second_model_options(strength_options(2.0, "weight of the model against the weaker one"),
                                      "directory or run of the weaker model"),
                 {}},
                make_autoguidance,
                {"around"}});
  registry.add({{"classifier",
                 "Along the gradient of a noisy classifier's log p(label | x).",
                 "Dhariwal and Nichol 2021, section 4.1, eq. 13",
                 second_model_options(strength_options(1.0, "weight of the classifier's gradient", 0.0),
                                      "directory or run of a classifier trained with objective.noisy"),
                 {"needs_condition"}},
                make_classifier,
                {"around"}});
}

}  // namespace thaw
