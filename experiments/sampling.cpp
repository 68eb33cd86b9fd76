#include "experiments/sampling.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/progress.h"
#include "core/base/stop.h"
#include "core/base/text.h"
#include "core/caption.h"
#include "core/coarse.h"
#include "core/math/philox.h"
#include "core/told_of_sample.h"

namespace thaw {

namespace {

constexpr std::uint32_t kCoarseDraw = 1;  // of Purpose::kStart; 0 is the start

void expect_finite(const at::Tensor& x, std::int64_t first) {
  const at::Tensor is_finite = at::isfinite(x).flatten(1).all(1);
  if (is_finite.all().item<bool>()) return;
  const at::Tensor bad = at::nonzero(at::logical_not(is_finite)).flatten();
  throw NumbersError(concat("sampling: sample ", first + bad[0].item<std::int64_t>(), " is not finite (", bad.numel(),
                            " of ", x.size(0), " in its batch)."));
}

// The first state of a micro-batch, of a run from `level`.
Latent start_state(const SampleRequest& request, const Level& level, const Latent& like, const NoiseSource& noise) {
  const Editing& editing = request.editing;
  const double spread = std::hypot(level.alpha, level.sigma);
  if (!request.noise.defined() && !editing.starts_from_known && request.start_scale == 0.0)
    return noise.start(like, level);
  constexpr Level kUnit{0.0, 1.0};
  Latent x = request.noise.defined() ? Latent::of(rows_of(request.noise, 0, request.micro_batch, like.main()))
                                     : noise.start(like, kUnit);
  at::Tensor& state = x.streams.front().second;
  if (editing.starts_from_known)
    state = rows_of(editing.known, 0, request.micro_batch, like.main()) * level.alpha +
            state * (level.sigma * editing.noise_share);
  else
    state = state * (request.start_scale > 0.0 ? request.start_scale : spread);
  return x;
}

// A negative prompt stands for no prompt: whoever asks for the unconditional branch is answered under it.
Denoiser with_null(Denoiser denoiser, Condition null) {
  return [denoiser = std::move(denoiser), null = std::make_shared<const Condition>(std::move(null))](const Latent& x,
                                                                                                     Query query) {
    std::replace(query.branches.begin(), query.branches.end(), Branch::kUnconditional, Branch::kNegative);
    query.negative = null;
    return denoiser(x, query);
  };
}

// One micro-batch of a request for no more than that, the last sample repeated to fill it up, since a network rounds
// differently at another batch size.
class MicroBatch {
 public:
  MicroBatch(const Model& model, const SampleRequest& request)
      : request_(request), noise_(request.seed, names(), request.path_kind) {
    Condition condition;
    if (!request.labels.empty()) {
      std::vector<std::int64_t> labels;
      for (std::int64_t i = 0; i < request.micro_batch; ++i) labels.push_back(request.labels[index(i)]);
      condition["label"] = at::tensor(labels, at::kLong).to(model.device);
    }
    if (!request.captions.empty()) {
      std::vector<at::Tensor> captions;
      for (std::int64_t i = 0; i < request.micro_batch; ++i)
        captions.push_back(text_bytes(request.captions[index(i)], model.spec.caption_bytes));
      condition["caption"] = at::stack(captions).to(model.device);
    }
    if (request.coarse.defined()) tell_coarse_part(condition, model.device);
    if (request.told_of.defined())
      condition =
          with_told_of_sample(*model.backbone, own_rows(request.told_of).to(model.device), std::move(condition));
    if (request.given.data.defined()) {
      given_ = {own_rows(request.given.data), own_rows(request.given.mask)};
      is_told_given_ = model.backbone->takes_given();
      if (is_told_given_) tell_given(condition, given_.data.to(model.device), given_.mask);
    }
    for (const auto& [name, rows] : request.condition) condition[name] = own_rows(rows).to(model.device);
    Condition null = condition;
    for (const auto& [name, rows] : request.null) null[name] = own_rows(rows).to(model.device);
    const Path& own_path = model.parameterisation.schedule->path();
    const GuidedRun run{&model, condition, request.first, request.micro_batch};
    Denoiser asked = model.denoiser(std::move(condition));
    if (!request.null.empty()) asked = with_null(std::move(asked), std::move(null));
    denoiser_ = with_guidance(std::move(asked), request.guidance, run);
    denoiser_ = on_path(std::move(denoiser_), own_path);
    denoiser_ = with_thresholding(std::move(denoiser_), request.thresholding);
    if (given_.data.defined()) denoiser_ = with_given_part(std::move(denoiser_), given_, !is_told_given_);
    denoiser_ = with_velocity(std::move(denoiser_), *request.grid.path);
  }

  MethodRun run(const Latent& like, const Observer& observer) {
    const std::optional<Plan> plan =
        request_.solver.is_adaptive() ? std::nullopt : std::optional(request_.solver(request_.grid));
    const Level begin = plan ? plan->start : request_.grid.front();
    Latent start = start_state(request_, begin, like, noise_);
    if (request_.level_map) return run_apart(plan, start);
    Trace* const trace = request_.trace;
    if (trace != nullptr) {
      trace->begin(start);
      denoiser_ = trace->watched(std::move(denoiser_));
    }
    const Observer observe = [&](const Mark& mark, const Latent& x, const Latent& denoised) {
      if (trace != nullptr && mark.kind == MarkKind::kStep) trace->step(x);
      if (trace != nullptr && mark.kind == MarkKind::kCorrected) trace->correct(x);
      if (observer) observer(mark, x, denoised);
    };
    Watch watch(observe);
    const Editing& editing = request_.editing;
    if (editing.mask.defined()) {
      KnownPart part{own_rows(editing.known).to(like.main()), own_rows(editing.mask).to(like.main())};
      if (editing.keeps_start_noise) part.noise = unit_noise(like);
      part.end = plan ? plan->end : request_.grid.back();
      watch.hook = keep_known(std::move(part), noise_);
    }
    if (plan) return kept({run_plan(*plan, denoiser_, std::move(start), noise_, watch), plan->evaluations()});
    return kept(run_method(request_.solver.method(request_.grid), denoiser_, std::move(start), noise_, watch));
  }

 private:
  MethodRun kept(MethodRun run) const {
    if (given_.data.defined()) run.x = Latent::of(keep_given(run.x.main(), given_));
    return run;
  }
  MethodRun run_apart(const std::optional<Plan>& plan, const Latent& start) {
    if (!plan)
      throw ConfigError(concat("sampling.levels: sampler \"", request_.solver.name(),
                               "\" chooses its steps for a whole sample. Use one on a fixed grid."));
    if (request_.trace != nullptr || request_.editing.mask.defined())
      throw ConfigError(concat("sampling.levels: ", request_.trace != nullptr ? "trace=" : "mask=",
                               " needs a state at one level. Use sampling.levels=same."));
    if (!given_.data.defined() || is_told_given_)
      return kept(run_plan_apart(*plan, denoiser_, start, noise_, request_.level_map));
    // Told by its level alone, a given part is what it is from the beginning.
    const at::Tensor is_given = (given_.mask > 0.5).flatten(1).all(0);
    std::vector<bool> is_settled;
    for (std::int64_t k = 0; k < is_given.size(0); ++k) is_settled.push_back(is_given[k].item<bool>());
    const Latent known = Latent::of(keep_given(start.main(), given_));
    return kept(run_plan_apart(*plan, denoiser_, known, noise_, request_.level_map, is_settled));
  }
  at::Tensor own_rows(const at::Tensor& rows) const { return rows_of(rows, 0, request_.micro_batch, rows); }
  at::Tensor unit_noise(const Latent& like) const {
    constexpr Level kUnit{0.0, 1.0};
    return request_.noise.defined() ? own_rows(request_.noise).to(like.main()) : noise_.start(like, kUnit).main();
  }
  std::size_t index(std::int64_t i) const {
    return static_cast<std::size_t>(std::min(i, static_cast<std::int64_t>(request_.samples.size()) - 1));
  }
  // Noise of a sample's own, beside that of its start.
  void tell_coarse_part(Condition& condition, const c10::Device& device) const {
    const at::Tensor coarse = rows_of(request_.coarse, 0, request_.micro_batch, at::empty({}, device));
    at::Tensor eps = at::empty(coarse.sizes(), at::kFloat);
    const auto row = static_cast<std::size_t>(eps.numel() / eps.size(0));
    const std::vector<std::uint64_t> samples = names();
    for (std::size_t i = 0; i < samples.size(); ++i)
      fill_normal({eps.data_ptr<float>() + i * row, row}, {request_.seed, Purpose::kStart, samples[i], kCoarseDraw, 0});
    const std::vector<double> shares(samples.size(), request_.coarse_noise);
    tell_coarse(condition, coarse, eps.to(device), shares);
  }
  std::vector<std::uint64_t> names() const {
    std::vector<std::uint64_t> result;
    for (std::int64_t i = 0; i < request_.micro_batch; ++i) result.push_back(request_.samples[index(i)]);
    return result;
  }

  const SampleRequest& request_;
  NoiseSource noise_;
  GivenPart given_{};
  bool is_told_given_ = false;  // by channels; else by its level
  Denoiser denoiser_;
};

void expect_can_grow(const SampleRequest& request) {
  const char* what = request.level_map                ? "sampling.levels"
                     : request.editing.mask.defined() ? "mask="
                     : request.given.data.defined()   ? "a given part"
                     : request.coarse.defined()       ? "a coarse sample that is told"
                     : request.told_of.defined()      ? "an example that is told of"
                                                      : nullptr;
  if (what != nullptr)
    throw ConfigError(
        concat("sampling.grown_from: ", what, " is for samples of one length. Use sampling.grown_from=0."));
}

// A micro-batch at growth.from, then again at the length of `like`.
MethodRun run_grown(const Model& model, const SampleRequest& request, const Latent& like, const Observer& observer) {
  constexpr std::uint64_t kGrownSeed = std::uint64_t{1} << 61;  // above all seeds: noise of its own
  std::vector<std::int64_t> shape = like.main().sizes().vec();
  const std::int64_t length = shape[2];
  shape[2] = request.growth.from;
  const MethodRun first = MicroBatch(model, request).run(Latent::of(at::empty(shape, like.main().options())), observer);
  SampleRequest longer = request;
  longer.seed += kGrownSeed;
  longer.noise = at::Tensor();
  longer.grid = last_part(request.grid, request.growth.strength);
  longer.editing = {.known = repeated(first.x.main(), length), .mask = {}, .starts_from_known = true};
  MethodRun run = MicroBatch(model, longer).run(like, observer);
  run.evaluations += first.evaluations;
  return run;
}

}  // namespace

bool grows(const SampleRequest& request, std::int64_t length) {
  if (request.growth.from == 0 || request.growth.from >= length || request.editing.starts_from_known) return false;
  return !request.noise.defined() || request.noise.size(2) == request.growth.from;
}

SampleRequest part_of(const SampleRequest& request, std::int64_t first, std::int64_t count) {
  SampleRequest part = request;
  part.first += first;
  const auto listed = [&](auto& list) {
    if (list.empty()) return;
    list.erase(list.begin() + first + count, list.end());
    list.erase(list.begin(), list.begin() + first);
  };
  listed(part.samples);
  listed(part.labels);
  listed(part.captions);
  const auto stacked = [&](at::Tensor& rows) {
    if (!rows.defined() || rows.size(0) == 1) return;  // one row serves all samples
    const std::int64_t begin = std::min(first, rows.size(0) - 1);
    rows = rows.narrow(0, begin, std::min(count, rows.size(0) - begin));
  };
  for (at::Tensor* rows : {&part.noise, &part.coarse, &part.told_of, &part.editing.known, &part.editing.mask,
                           &part.given.data, &part.given.mask})
    stacked(*rows);
  for (Condition* condition : {&part.condition, &part.null})
    for (auto& [name, rows] : *condition) stacked(rows);
  return part;
}

void sample(const Model& model, const SampleRequest& request, const SampleSink& sink, const Observer& observer) {
  const auto n = static_cast<std::int64_t>(request.samples.size());
  std::optional<Progress> progress;
  if (!request.progress.empty()) progress.emplace(request.progress, n);
  std::vector<std::int64_t> shape = model.spec.shape;
  if (request.positions > 0) shape.at(1) = request.positions;
  const std::int64_t length = shape.size() > 1 ? shape[1] : 0;
  shape.insert(shape.begin(), request.micro_batch);
  const Latent like =
      Latent::of(at::empty(shape, at::TensorOptions(model.device).dtype(request.is_double ? at::kDouble : at::kFloat)));
  const bool is_grown = grows(request, length);
  if (is_grown) expect_can_grow(request);
  for (std::int64_t first = 0; first < n; first += request.micro_batch) {
    if (stop_requested()) throw Stopped(concat("sampling stopped after ", first, " of ", n, " samples."));
    const std::int64_t count = std::min(request.micro_batch, n - first);
    const SampleRequest part = part_of(request, first, count);
    if (request.trace != nullptr) request.trace->begin_batch(count, length);
    const MethodRun run =
        is_grown ? run_grown(model, part, like, observer) : MicroBatch(model, part).run(like, observer);
    const at::Tensor x = run.x.main().narrow(0, 0, count).to(at::kCPU);
    expect_finite(x, part.first);
    sink(x, run.evaluations);
    if (progress) progress->update(first + count);
  }
}

at::Tensor sample_all(const Model& model, const SampleRequest& request) {
  std::vector<at::Tensor> parts;
  sample(model, request, [&](const at::Tensor& x, std::int64_t) { parts.push_back(x); });
  return at::cat(parts);
}

}  // namespace thaw
