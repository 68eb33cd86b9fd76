// Metrics of every kind of data.

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/caption.h"
#include "core/math/philox.h"
#include "core/metrics/metric.h"
#include "core/metrics/obedience.h"
#include "core/metrics/similarity.h"

namespace thaw {

namespace {

// The shape of raw samples, as the codec decodes them.
std::vector<std::int64_t> raw_shape(const MetricParts& parts) {
  std::vector<std::int64_t> shape = parts.spec.shape;
  shape.insert(shape.begin(), 1);
  return parts.codec->decode(at::zeros(shape))[0].sizes().vec();
}

class FrechetMetric : public Metric {
 public:
  FrechetMetric(const Settings& settings, const MetricParts& parts)
      : parts_(parts), against_(settings.integer("against")) {
    expect_takes(parts_, *parts_.features, "features", raw_shape(parts_));
  }
  Measured measure(const Subject& subject) const override {
    const at::Tensor own = parts_.features->features(subject.raw);
    return {
        {{"frechet", frechet_distance(own, reference()), frechet_interval(own, reference(), parts_.seed),
          subject.raw.size(0),
          concat("features of ", parts_.features->named, " against ", reference().size(0),
                 " held-out examples; 95 % bootstrap interval over samples with the bias of resampling taken off")}}};
  }
  /// The distance of n real training examples, and of n samples of noise, to the same reference.
  nlohmann::json beside(std::int64_t n) const override {
    std::vector<std::int64_t> shape = parts_.spec.shape;
    shape.insert(shape.begin(), n);
    at::Tensor noise = at::empty(shape, at::kFloat);
    fill_normal({noise.data_ptr<float>(), static_cast<std::size_t>(noise.numel())},
                {parts_.seed, Purpose::kEvaluate, 0, 1, 0});
    const auto distance = [this](const at::Tensor& raw) {
      return frechet_distance(parts_.features->features(raw), reference());
    };
    return {{"frechet_floor", distance(examples(*parts_.data, n).data)},
            {"frechet_noise", distance(parts_.codec->decode(noise))}};
  }

 private:
  const at::Tensor& reference() const {
    if (!reference_.defined())
      reference_ =
          parts_.features->features(examples(*parts_.held_out, against_ > 0 ? against_ : parts_.held_out->size()).data);
    return reference_;
  }

  MetricParts parts_;
  std::int64_t against_;  // held-out examples; 0: all
  mutable at::Tensor reference_;
};

class ClassAgreement : public Metric {
 public:
  explicit ClassAgreement(const MetricParts& parts) : judge_(parts.judge), held_out_(parts.held_out) {
    expect_takes(parts, *judge_, "judge", raw_shape(parts));
    expect_knows(parts, parts.spec.num_classes);
  }
  Measured measure(const Subject& subject) const override {
    if (subject.labels.empty()) return {};
    const at::Tensor right = judge_->classes(subject.raw).eq(at::tensor(subject.labels, at::kLong));
    return {{share_figure("class_agreement", right.sum().item<std::int64_t>(), subject.raw.size(0),
                          concat("share recognised as the class asked for, by ", judge_->named))}};
  }
  /// The same of as many real held-out examples: what the judge is worth on such data.
  nlohmann::json beside(std::int64_t n) const override {
    if (!held_out_) return nlohmann::json::object();
    const Batch real = examples(*held_out_, n);
    const auto label = real.condition.find("label");
    if (label == real.condition.end()) return nlohmann::json::object();
    const at::Tensor right = judge_->classes(real.data).eq(label->second);
    return {{"class_agreement_ceiling", right.to(at::kDouble).mean().item<double>()}};
  }

 private:
  TrainedClassifierPtr judge_;
  DatasetPtr held_out_;  // may be null
};

class PromptObeyed : public Metric {
 public:
  explicit PromptObeyed(const MetricParts& parts) : parts_(parts), checker_(parts.held_out->prompt_checker()) {
    const DataSpec needed = checker_->judge_spec();
    const TrainedClassifier& judge = *parts.judge;
    judge.network();
    if (judge.model->spec.shape != needed.shape)
      parts.section.fail("judge", concat(judge.path, " takes ", at::IntArrayRef(judge.model->spec.shape),
                                         ", and prompts are judged on ", at::IntArrayRef(needed.shape), "."));
    expect_knows(parts, needed.num_classes);
  }
  Measured measure(const Subject& subject) const override {
    if (subject.captions.empty()) return {};
    const nlohmann::json prompts = measure_prompts(*checker_, subject.raw, subject.captions, naming());
    const nlohmann::json& in_full = prompts["rows"][0];
    return {{{"prompt_obeyed",
              in_full["share"],
              {in_full["low"], in_full["high"]},
              in_full["n"],
              concat("share that shows all its held-out caption asks for, as read with ", parts_.judge->named,
                     "; 95 % Wilson interval; ceiling: the real examples of the same captions")}},
            nlohmann::json::object(),
            {{"prompts", prompts}}};
  }
  nlohmann::json beside(std::int64_t n) const override {
    const Batch real = examples(*parts_.held_out, n);
    std::vector<std::string> captions;
    for (std::int64_t i = 0; i < real.data.size(0); ++i) captions.push_back(text_of(real.condition.at("caption")[i]));
    const nlohmann::json rows = measure_prompts(*checker_, real.data, captions, naming())["rows"];
    return {{"prompt_obeyed_ceiling", rows[0]["share"]}, {"prompts", {{"real", rows}}}};
  }

 private:
  Naming naming() const {
    return [judge = parts_.judge](const at::Tensor& x) {
      const c10::NoGradGuard no_grad;
      return judge->network().logits(x.to(judge->model->device)).argmax(1).to(at::kCPU);
    };
  }

  MetricParts parts_;
  PromptCheckerPtr checker_;
};

class Accuracy : public Metric {
 public:
  explicit Accuracy(const MetricParts& parts) : parts_(parts) {}
  Measured measure(const Subject& subject) const override {
    const Batch batch = examples(*parts_.held_out, parts_.held_out->size());
    // Borrowed: the subject outlives this.
    const TrainedClassifier own{{std::shared_ptr<const Model>(), subject.model}, parts_.codec, "the model", "itself"};
    const at::Tensor right = own.classes(batch.data).eq(batch.condition.at("label"));
    return {{share_figure("accuracy", right.sum().item<std::int64_t>(), batch.data.size(0),
                          "held-out examples named rightly")}};
  }

 private:
  MetricParts parts_;
};

// [-1, 1] to [0, 1].
at::Tensor unit(const at::Tensor& encoded) {
  return (encoded.to(at::kDouble) + 1) / 2;
}

// The means of values [N, K] of samples of K pictures over those that were made, and for K > 1 of each picture in turn.
Measured of_pictures(const std::string& name, const at::Tensor& values_NK, const at::Tensor& made_NK,
                     const std::string& protocol) {
  const auto list_of = [](const at::Tensor& values) {
    const at::Tensor dense = values.contiguous();
    return std::vector<double>(dense.data_ptr<double>(), dense.data_ptr<double>() + dense.numel());
  };
  const bool is_partly_given = made_NK.defined();
  const at::Tensor made = is_partly_given ? made_NK.to(at::kDouble) : at::ones_like(values_NK);
  const at::Tensor mean_N = (values_NK * made).sum(1) / made.sum(1);
  Measured measured{{mean_figure(name, mean_N, protocol + (is_partly_given ? "; what was given is left out" : ""))},
                    {{name, list_of(mean_N)}}};
  if (values_NK.size(1) == 1) return measured;
  const at::Tensor places = made.sum(0).nonzero().flatten();  // made in some sample
  const at::Tensor mean_K = ((values_NK * made).sum(0) / made.sum(0)).index_select(0, places);
  measured.more = {{"by_place", {{name, {{"samples", list_of(mean_K)}}}}}};
  if (is_partly_given) measured.more["by_place"][name]["axis"] = "place that was made";
  return measured;
}

class PeakSignalToNoise : public Metric {
 public:
  Measured measure(const Subject& subject) const override {
    if (!subject.originals.defined()) return {};
    const at::Tensor a = unit(subject.encoded), b = unit(subject.originals);
    // Data without height and width is one picture of one row.
    const auto rows = [](const at::Tensor& x) { return x.dim() < 4 ? x.reshape({x.size(0), 1, 1, -1}) : x; };
    return of_pictures("psnr", peak_signal_to_noise(rows(a), rows(b)), subject.made,
                       "decibel, mean over pairs with the example of the same index");
  }
};

class StructuralSimilarity : public Metric {
 public:
  Measured measure(const Subject& subject) const override {
    if (!subject.originals.defined()) return {};
    return of_pictures("ssim", structural_similarity(unit(subject.encoded), unit(subject.originals)), subject.made,
                       "structural similarity, Gaussian window of 11 with sigma 1.5, mean over pairs with the "
                       "example of the same index");
  }
};

}  // namespace

void register_metrics(MetricRegistry& registry) {
  const auto add = [&](EntryInfo info, auto make) {
    registry.add(
        {std::move(info), [make](const Settings&, const MetricParts& parts) -> MetricPtr { return make(parts); }});
  };
  add({"accuracy",
       "Share of held-out examples that a classifier names rightly.",
       "",
       {},
       {"of_classifier", "needs_held_out"}},
      [](const MetricParts& parts) { return std::make_shared<Accuracy>(parts); });
  add({"class_agreement",
       "Share of samples that a judge recognises as the class asked for.",
       "",
       {},
       {"of_samples", "needs_classes", "needs_judge"}},
      [](const MetricParts& parts) { return std::make_shared<ClassAgreement>(parts); });
  registry.add({{"frechet",
                 "Distance of samples to held-out examples as Gaussians of a network's features.",
                 "Heusel et al. 2017, eq. 6",
                 {{"against", std::int64_t{0}, "held-out examples compared with; 0: all", 0, 1e9}},
                 {"of_samples", "needs_held_out", "needs_features"}},
                [](const Settings& settings, const MetricParts& parts) -> MetricPtr {
                  return std::make_shared<FrechetMetric>(settings, parts);
                }});
  register_nearest_training(registry);
  add({"prompt_obeyed",
       "Share of samples that show all that their captions ask for.",
       "",
       {},
       {"of_samples", "needs_held_out", "needs_captions", "needs_judge"}},
      [](const MetricParts& parts) { return std::make_shared<PromptObeyed>(parts); });
  add({"psnr",
       "Peak signal-to-noise ratio against held-out examples of the same index, in dB.",
       "",
       {},
       {"of_autoencoder", "of_pairs", "needs_held_out"}},
      [](const MetricParts&) { return std::make_shared<PeakSignalToNoise>(); });
  add({"ssim",
       "Structural similarity to held-out examples of the same index.",
       "Wang et al. 2004, section III",
       {},
       {"of_autoencoder", "of_pairs", "needs_held_out"}},
      [](const MetricParts& parts) {
        if (parts.spec.shape.size() < 3) parts.section.fail("metrics", "ssim needs pictures.");
        return std::make_shared<StructuralSimilarity>();
      });
}

}  // namespace thaw
