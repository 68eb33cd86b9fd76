#include "experiments/sampling.h"

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/progress.h"
#include "core/base/stop.h"
#include "core/base/text.h"

namespace thaw {

namespace {

void expect_finite(const at::Tensor& x, std::int64_t first) {
  const at::Tensor is_finite = at::isfinite(x).flatten(1).all(1);
  if (is_finite.all().item<bool>()) return;
  const at::Tensor bad = at::nonzero(at::logical_not(is_finite)).flatten();
  throw NumbersError(concat("sampling: sample ", first + bad[0].item<std::int64_t>(), " is not finite (", bad.numel(),
                            " of ", x.size(0), " in its batch)."));
}

}  // namespace

void sample(const Model& model, const SampleRequest& request, const SampleSink& sink, const Observer& observer) {
  const auto n = static_cast<std::int64_t>(request.samples.size());
  std::optional<Progress> progress;
  if (!request.progress.empty()) progress.emplace(request.progress, n);
  std::vector<std::int64_t> shape = model.spec.shape;
  shape.insert(shape.begin(), request.micro_batch);
  const Latent like = Latent::of(
      at::empty(shape, at::TensorOptions(model.device).dtype(request.is_double ? at::kDouble : at::kFloat)));
  for (std::int64_t first = 0; first < n; first += request.micro_batch) {
    if (stop_requested()) throw Stopped(concat("sampling stopped after ", first, " of ", n, " samples."));
    // The last part is filled up with its last sample: a network rounds differently at another batch size.
    std::vector<std::uint64_t> samples;
    std::vector<std::int64_t> labels;
    for (std::int64_t i = 0; i < request.micro_batch; ++i) {
      const auto index = static_cast<std::size_t>(std::min(first + i, n - 1));
      samples.push_back(request.samples[index]);
      if (!request.labels.empty()) labels.push_back(request.labels[index]);
    }
    Condition condition;
    if (!labels.empty()) condition["label"] = at::tensor(labels, at::kLong).to(model.device);
    const Denoiser denoiser = with_guidance(model.denoiser(std::move(condition)), request.guidance);
    NoiseSource noise(request.seed, samples);
    const Latent x = run_plan(request.plan, denoiser, noise.start(like, request.plan.start), noise, observer);
    const std::int64_t count = std::min(request.micro_batch, n - first);
    const at::Tensor part = x.main().narrow(0, 0, count).to(at::kCPU);
    expect_finite(part, first);
    sink(first, part);
    if (progress) progress->update(first + count);
  }
}

at::Tensor sample_all(const Model& model, const SampleRequest& request) {
  std::vector<at::Tensor> parts;
  sample(model, request, [&](std::int64_t, const at::Tensor& x) { parts.push_back(x); });
  return at::cat(parts);
}

SampleRequest make_request(const Experiment& experiment, std::int64_t n, std::int64_t label,
                           std::uint64_t first_sample) {
  SampleRequest request;
  request.plan = experiment.solver()(experiment.grid());
  request.guidance = experiment.guidance();
  request.seed = experiment.seed();
  request.micro_batch = experiment.micro_batch();
  request.is_double = experiment.is_double();
  const std::int64_t classes = experiment.data_spec().num_classes;
  if (label >= classes && label >= 0)
    throw ConfigError(concat("command line: label: must be below ", classes, ", got ", label, "."));
  for (std::int64_t i = 0; i < n; ++i) {
    request.samples.push_back(first_sample + static_cast<std::uint64_t>(i));
    if (classes > 0) request.labels.push_back(label >= 0 ? label : i % classes);
  }
  return request;
}

}  // namespace thaw
