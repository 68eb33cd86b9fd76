#include "core/few_step.h"

#include <cmath>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/nn/layers.h"

namespace thaw {

namespace {

// sigma' / sigma, the share of x a ddim step keeps; 0 into the clean level.
double kept(const Level& from, const Level& to) {
  return to.sigma / from.sigma;
}

// Of models that know x0 in closed form; undefined of networks.
at::Tensor exact_estimates(const Model& model, const at::Tensor& x, std::span<const Level> levels) {
  std::vector<at::Tensor> rows;
  for (std::size_t n = 0; n < levels.size(); ++n) {
    rows.push_back(model.backbone->exact_x0(x.narrow(0, static_cast<std::int64_t>(n), 1), levels[n]));
    if (!rows.back().defined()) return {};
  }
  return at::cat(rows);
}

}  // namespace

at::Tensor estimate_x0(const Model& model, const at::Tensor& x, std::span<const Level> levels,
                       const Condition& condition, std::span<const Level> targets) {
  const Parameterisation& p = model.parameterisation;
  std::vector<double> skip, out;
  for (const Level& level : levels) {
    const Scalings k = scalings(p.prediction, level, p.schedule->path(), p.sigma_data);
    skip.push_back(k.skip);
    out.push_back(k.out);
  }
  const at::Tensor output = model.output(x, levels, condition, targets);
  return x * per_sample(skip, x) + output * per_sample(out, x);
}

at::Tensor moved(const at::Tensor& x, const at::Tensor& x0, std::span<const Level> from, std::span<const Level> to) {
  std::vector<double> on_x, on_x0;
  for (std::size_t n = 0; n < from.size(); ++n) {
    on_x.push_back(kept(from[n], to[n]));
    on_x0.push_back(to[n].alpha - from[n].alpha * on_x.back());
  }
  return x * per_sample(on_x, x) + x0 * per_sample(on_x0, x);
}

MapWeights map_weights(const Parameterisation& parameterisation, const Level& from, const Level& to) {
  const Scalings k =
      scalings(parameterisation.prediction, from, parameterisation.schedule->path(), parameterisation.sigma_data);
  const double on_x = kept(from, to), on_x0 = to.alpha - from.alpha * on_x;
  return {on_x + on_x0 * k.skip, on_x0 * k.out};
}

at::Tensor mapped(const Model& model, const at::Tensor& x, std::span<const Level> from, std::span<const Level> to,
                  const Condition& condition) {
  std::vector<double> on_x, on_output;
  for (std::size_t n = 0; n < from.size(); ++n) {
    const MapWeights w = map_weights(model.parameterisation, from[n], to[n]);
    on_x.push_back(w.on_x);
    on_output.push_back(w.on_output);
  }
  return x * per_sample(on_x, x) + model.output(x, from, condition, to) * per_sample(on_output, x);
}

Teacher::Teacher(std::string path, ModelOpener open, double guidance)
    : path_(std::move(path)), open_(std::move(open)), guidance_(guidance) {}

void Teacher::prepare(const Model& student) {
  if (!is_used() || model_) return;
  if (!open_) throw Error(ExitCode::kBug, "an objective with a teacher was made without a way to open it");
  model_ = open_(path_);
  if (model_->spec.shape != student.spec.shape)
    throw ConfigError(concat("objective.teacher: ", path_, " makes samples of ", at::IntArrayRef(model_->spec.shape),
                             ", the student's are ", at::IntArrayRef(student.spec.shape), "."));
  if (model_->spec.num_classes != student.spec.num_classes)
    throw ConfigError(concat("objective.teacher: ", path_, " knows ", model_->spec.num_classes,
                             " classes, the student's data has ", student.spec.num_classes, "."));
  if (model_->parameterisation.learns_variance)
    throw ConfigError(concat("objective.teacher: ", path_,
                             " learns a variance, which a deterministic student has no use for; take one without."));
}

at::Tensor Teacher::x0(const Model& student, const at::Tensor& x, std::span<const Level> levels,
                       const Condition& condition, std::span<const double> scales) const {
  const c10::NoGradGuard no_grad;
  const nn::EvaluationPass no_dropout;
  const Path& path = model_->parameterisation.schedule->path();
  const bool is_other_path = &path != &student.parameterisation.schedule->path();
  std::vector<Level> own(levels.begin(), levels.end());
  at::Tensor state = x;
  if (is_other_path) {
    std::vector<double> factor;
    for (Level& level : own) {
      const Level there = path.at(level.lambda());
      factor.push_back(std::hypot(there.alpha, there.sigma) / std::hypot(level.alpha, level.sigma));
      level = there;
    }
    state = x * per_sample(factor, x);
  }
  if (at::Tensor exact = exact_estimates(*model_, state, own); exact.defined()) return exact;
  const bool is_guided = guidance_ != 1.0 || !scales.empty();
  if (!is_guided) return estimate_x0(*model_, state, own, condition);
  std::vector<double> scale(levels.size(), guidance_);
  if (!scales.empty()) scale.assign(scales.begin(), scales.end());
  Condition both;
  for (const auto& [name, null] : model_->unconditional(condition)) both[name] = at::cat({condition.at(name), null});
  own.insert(own.end(), own.begin(), own.begin() + static_cast<std::ptrdiff_t>(levels.size()));
  const auto halves = estimate_x0(*model_, at::cat({state, state}), own, both).chunk(2);
  return halves[1] + per_sample(scale, x) * (halves[0] - halves[1]);
}

at::Tensor Teacher::step(const Model& student, const at::Tensor& x, std::span<const Level> from,
                         std::span<const Level> to, const Condition& condition, int order,
                         std::span<const double> scales) const {
  const at::Tensor first = x0(student, x, from, condition, scales);
  const at::Tensor end = moved(x, first, from, to);
  if (order == 1) return end;
  // A clean end cannot be asked about: there the first estimate is the end.
  std::vector<Level> asked(to.begin(), to.end());
  std::vector<double> share;
  for (std::size_t n = 0; n < asked.size(); ++n) {
    share.push_back(asked[n].is_clean() ? 0.0 : 0.5);
    if (asked[n].is_clean()) asked[n] = from[n];
  }
  const at::Tensor second = x0(student, end, asked, condition, scales);
  return moved(x, first + per_sample(share, x) * (second - first), from, to);
}

void FrozenWeights::begin(const Model& model) {
  tensors_.clear();
  for (const auto& [name, tensor] : model.backbone->parameters().all())
    tensors_.emplace_back(name, tensor.detach().clone());
}

void FrozenWeights::follow(const Model& model, double decay) {
  const c10::NoGradGuard no_grad;
  const NamedTensors& weights = model.backbone->parameters().all();
  for (std::size_t i = 0; i < tensors_.size(); ++i)
    if (tensors_[i].second.is_floating_point()) tensors_[i].second.lerp_(weights[i].second.detach(), 1.0 - decay);
}

Level second_level(const Model& model, const LevelSampler& levels, const StepContext& context, std::int64_t i) {
  constexpr std::uint64_t kOther = 0x9E3779B97F4A7C15;  // another key of the generator
  StepContext other = context;
  other.seed = context.seed ^ kOther;
  return levels(*model.parameterisation.schedule, other, i);
}

std::vector<Option> teacher_options(bool is_required) {
  return {{"teacher", std::string(), "model directory or finished run that is learned from", 0, 0, {}, is_required},
          {"teacher_guidance", 1.0, "scale of classifier-free guidance in the teacher's estimates", 0.0, 100.0}};
}

Teacher teacher_from(const Settings& settings, const ObjectiveParts& parts) {
  return {settings.text("teacher"), parts.open_model, settings.number("teacher_guidance")};
}

std::vector<std::filesystem::path> used_files(const Settings& settings, const ObjectiveParts& parts,
                                              std::initializer_list<const char*> options) {
  std::vector<std::filesystem::path> files;
  for (const char* option : options) {
    const std::string path = settings.text(option);
    if (path.empty() || !parts.model_files) continue;
    for (std::filesystem::path& file : parts.model_files(path)) files.push_back(std::move(file));
  }
  return files;
}

}  // namespace thaw
