#include "core/guidance_parts.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/lanes.h"

namespace thaw {

const std::vector<std::string> kSpaceNames{"data", "noise", "velocity", "output"};

namespace {

// Shapes over the way from noise (0) to clean (1); each has the mean 1, so that `scale` is the mean scale.
double shape_at(const Strength& strength, double way) {
  if (strength.schedule == "linear") return 2 * way;
  if (strength.schedule == "cosine") return 1 - std::cos(std::numbers::pi * way);
  if (strength.schedule == "beta") {
    const double a = strength.shape[0], b = strength.shape[1];
    const double log_norm = std::lgamma(a) + std::lgamma(b) - std::lgamma(a + b);
    return std::exp((a - 1) * std::log(way) + (b - 1) * std::log1p(-way) - log_norm);
  }
  return 1.0;
}

double from_list(const std::vector<double>& scales, double way) {
  const double place = way * static_cast<double>(scales.size() - 1);
  const std::size_t below = std::min(static_cast<std::size_t>(place), scales.size() - 2);
  const double share = place - static_cast<double>(below);
  return scales[below] * (1 - share) + scales[below + 1] * share;
}

}  // namespace

double Strength::at(const Level& level) const {
  const double fraction = noise_fraction(level);
  if (scale == neutral && schedule != "list") return neutral;
  if (fraction < from || fraction > to) return neutral;
  // The shapes of beta may have poles at both ends.
  const double way = std::clamp(1 - fraction, 1e-6, 1 - 1e-6);
  if (schedule == "list") return shape.size() == 1 ? shape.front() : from_list(shape, 1 - fraction);
  return neutral + (scale - neutral) * shape_at(*this, way);
}

std::vector<Option> strength_options(double scale, const std::string& help, double neutral) {
  constexpr double kMost = 1000.0;
  return {
      {"scale", scale, concat(help, "; ", neutral, " is no guidance"), 0.0, kMost},
      {"interval", std::vector<double>{0.0, 1.0}, "noise fractions (0 clean, 1 noise) between which it acts", 0.0, 1.0},
      {"schedule",
       std::string("constant"),
       "of the scale from noise to clean, over the noise fraction; linear, cosine and beta have the mean `scale`",
       0,
       0,
       {"constant", "linear", "cosine", "beta", "list"}},
      {"beta", std::vector<double>{2.0, 2.0}, "a, b of schedule beta, the density of that distribution", 0.1, 100.0},
      {"scales", std::vector<double>{}, "of schedule list, equally spaced from noise to clean, linear between", 0.0,
       kMost}};
}

Strength read_strength(const Settings& settings, double neutral) {
  const std::vector<double> interval = settings.numbers("interval");
  if (interval.size() != 2 || interval[0] >= interval[1])
    settings.fail("interval", "expected [from, to] with from < to.");
  Strength strength{settings.number("scale"), neutral, interval[0], interval[1], settings.text("schedule")};
  if (strength.schedule == "beta") {
    strength.shape = settings.numbers("beta");
    if (strength.shape.size() != 2)
      settings.fail("beta", concat("expected [a, b], got ", strength.shape.size(), " numbers."));
  }
  if (strength.schedule == "list") {
    strength.shape = settings.numbers("scales");
    if (strength.shape.empty()) settings.fail("scales", "schedule list needs at least one scale.");
  } else if (!settings.numbers("scales").empty()) {
    settings.fail("scales", concat("schedule ", strength.schedule, " does not read it. Use schedule list."));
  }
  return strength;
}

Space space_at(const std::string& name, const Level& level, const Model* model) {
  if (name == "data") return {};
  if (name == "noise") return {-level.alpha / level.sigma, 1 / level.sigma};
  if (model == nullptr) throw Error(ExitCode::kBug, concat("guidance: space \"", name, "\" needs a model"));
  const Parameterisation& own = model->parameterisation;
  if (name == "velocity") {
    const PathSlope slope = own.schedule->path().slope(level);
    return {slope.alpha - slope.sigma * level.alpha / level.sigma, slope.sigma / level.sigma};
  }
  const Scalings k = scalings(own.prediction, level, own.schedule->path(), own.sigma_data);
  return {1 / k.out, -k.skip / k.out};
}

at::Tensor inner_product(const at::Tensor& a, const at::Tensor& b) {
  std::vector<std::int64_t> shape(static_cast<std::size_t>(a.dim()), 1);
  shape[0] = a.size(0);
  return (a.to(at::kDouble) * b.to(at::kDouble)).flatten(1).sum(1).reshape(shape);
}

Denoiser by_strength(Denoiser one, const Strength& strength) {
  return [=](const Latent& x, const Query& query) {
    expect_one_level(query);
    const bool is_same = std::all_of(query.lanes.begin(), query.lanes.end(), [&](const Level& level) {
      return strength.at(level) == strength.at(query.lanes.front());
    });
    return is_same ? one(x, query) : ask_by_lane(one, x, query);
  };
}

at::Tensor gradient(const at::Tensor& scalar, const at::Tensor& leaf) {
  leaf.mutable_grad() = at::Tensor();
  scalar.backward({}, std::nullopt, false, at::TensorList(leaf));
  at::Tensor result = leaf.grad();
  leaf.mutable_grad() = at::Tensor();
  return result;
}

Denoiser shifted_by_gradient(Denoiser denoiser, std::function<bool(const Level&)> acts, GradientShift shift,
                             bool through_denoiser) {
  const Denoiser one = [=, denoiser = std::move(denoiser)](const Latent& x, const Query& query) {
    expect_one_level(query);
    if (!acts(query.at)) return denoiser(x, query);
    if (x.streams.size() != 1)
      throw ConfigError("guidance: gradients are taken of states of one stream; this one has several.");
    Query asked = query;
    asked.wanted.affine = false;
    const c10::AutoGradMode with_gradients(true);
    Latent leaf = x;
    leaf.streams.front().second = x.main().detach().clone().requires_grad_();
    asked.wanted.gradient = through_denoiser;
    Estimate estimate = denoiser(through_denoiser ? leaf : x, asked).front();
    if (query.wanted.unguided) estimate.unguided = Latent::of(estimate.data.main().detach());
    at::Tensor& data = estimate.data.streams.front().second;
    data = (data.detach() + shift(query.at, leaf.main(), data)).detach();
    return Outputs{estimate};
  };
  return [one](const Latent& x, const Query& query) {
    return query.lanes.empty() ? one(x, query) : ask_by_lane(one, x, query);
  };
}

Guidance guidance_around(const GuidanceParts& parts, const Config& section) {
  return parts.guidance.create(section.section("around"), "none", parts, section.section("around"));
}

std::function<std::shared_ptr<const Model>()> opened_when_needed(const GuidanceParts& parts, std::string path,
                                                                 std::int64_t step) {
  auto model = std::make_shared<std::shared_ptr<const Model>>();
  return [=, open = parts.open_model] {
    if (!*model) {
      if (!open) throw Error(ExitCode::kBug, "guidance: nothing opens models here");
      *model = open(path, step);
    }
    return *model;
  };
}

void expect_condition(const GuidedRun& run, const std::string& guidance) {
  if (run.model != nullptr && run.condition.empty())
    throw ConfigError(concat("guidance.type: \"", guidance,
                             "\" guides towards a condition, and this model is unconditional. Use autoguidance, "
                             "perturbed_attention, skip_layer, dps, pigdm or none."));
}

}  // namespace thaw
