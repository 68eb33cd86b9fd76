// Guidance by a measurement y = A x0 + noise of each sample: inverse problems.

#include <ATen/ATen.h>

#include "core/base/text.h"
#include "core/checkpoint.h"
#include "core/guidance_parts.h"
#include "core/math/philox.h"

namespace thaw {

namespace {

at::Tensor read_named(const Settings& settings, const std::string& option, const std::string& name,
                      const std::vector<std::int64_t>& shape) {
  const std::string& path = settings.text(option);
  for (const auto& [known, tensor] : load_tensors(path).tensors) {
    if (known != name) continue;
    if (!tensor.is_floating_point() || tensor.dim() < 1 || tensor.size(0) == 0 ||
        tensor.sizes().slice(1) != at::IntArrayRef(shape))
      settings.fail(option, concat(path, ": ", name, " is ", tensor.sizes(), ", expected floats [N] of ",
                                   at::IntArrayRef(shape), "."));
    return tensor;
  }
  settings.fail(option, concat(path, ": has no tensor \"", name, "\"."));
}

at::Tensor noise_like(const at::Tensor& y) {
  at::Tensor noise = at::empty(y.sizes(), at::kFloat);
  const auto elements = static_cast<std::size_t>(noise.numel() / noise.size(0));
  for (std::int64_t n = 0; n < noise.size(0); ++n)
    fill_normal({noise.data_ptr<float>() + static_cast<std::size_t>(n) * elements, elements},
                {0, Purpose::kOther, static_cast<std::uint64_t>(n), 0, 0});
  return noise.to(y.scalar_type());
}

// What was measured, [N, ...]: read, or made of the clean samples that `truth` names.
at::Tensor read_measured(const Settings& settings, const Measurement& measurement, const DataSpec& spec) {
  if (!settings.text("measured").empty())
    return read_named(settings, "measured", "measured", measurement.measured_shape(spec.shape));
  if (settings.text("truth").empty())
    settings.fail("measured", "needs a .safetensors file with the tensor \"measured\" (or `truth`, with \"sample\").");
  const at::Tensor y = measurement.apply(read_named(settings, "truth", "sample", spec.shape));
  return y + noise_like(y) * settings.number("noise");
}

// The rows of the micro-batch's samples; the last one serves all that follow.
at::Tensor rows_for(const at::Tensor& measured, const GuidedRun& run, const at::Tensor& like) {
  const at::Tensor rows = at::arange(run.first, run.first + like.size(0)).clamp_max(measured.size(0) - 1);
  return measured.index_select(0, rows).to(like.device(), like.scalar_type());
}

/// The gradient with respect to x of the log-likelihood of y, through the denoiser; data carries the graph.
using LogLikelihood = std::function<at::Tensor(const Level&, const at::Tensor& data, const at::Tensor& y)>;

Guidance guided_by(const Settings& settings, const GuidanceParts& parts, const Config& section,
                   const MeasurementPtr& measurement, const LogLikelihood& log_likelihood) {
  const Strength strength = read_strength(settings, 0.0);
  const Guidance around = guidance_around(parts, section);
  auto measured = std::make_shared<at::Tensor>();
  return [=](Denoiser denoiser, const GuidedRun& run) -> Denoiser {
    if (!measured->defined()) *measured = read_measured(settings, *measurement, run.model->spec);
    const auto acts = [=](const Level& level) { return level.alpha > 0.0 && !strength.is_neutral(level); };
    const GradientShift shift = [=](const Level& level, const at::Tensor& x, const at::Tensor& data) {
      const at::Tensor value = log_likelihood(level, data, rows_for(*measured, run, data));
      return gradient(value, x) * (strength.at(level) * level.sigma * level.sigma / level.alpha);
    };
    return shifted_by_gradient(around(std::move(denoiser), run), acts, shift, true);
  };
}

MeasurementPtr make_measurement(const GuidanceParts& parts, const Config& section) {
  return parts.measurements.create(section.section("measurement"), "");
}

Guidance make_dps(const Settings& settings, const GuidanceParts& parts, const Config& section) {
  const MeasurementPtr measurement = make_measurement(parts, section);
  const double noise = settings.number("noise");
  const bool takes_residual = settings.text("variance") == "residual";
  if (!takes_residual && noise == 0.0) settings.fail("noise", "must be above 0 where it alone is the variance.");
  // -|y - A D|^2 / (2 v): Chung et al. 2023, eq. 16, with v the noise's variance. Their step sizes (after eq. 16)
  // divide by the residual's norm instead, so that a step has one length whatever is left to do: v is then the root of
  // the residual's mean square plus the noise's variance.
  return guided_by(settings, parts, section, measurement,
                   [=](const Level&, const at::Tensor& data, const at::Tensor& y) {
                     const at::Tensor squares = (y - measurement->apply(data)).square().flatten(1);
                     if (!takes_residual) return squares.sum() * (-0.5 / (noise * noise));
                     const at::Tensor size = (squares.detach().mean(1) + noise * noise).sqrt();
                     return (squares.sum(1) / size.clamp_min(1e-12)).sum() * -0.5;
                   });
}

Guidance make_pigdm(const Settings& settings, const GuidanceParts& parts, const Config& section) {
  const MeasurementPtr measurement = make_measurement(parts, section);
  const double noise = settings.number("noise"), spread = settings.number("data_std");
  // log N(y; A D, r^2 A A^T + noise^2 I), r^2 the variance of x0 given x of normal data. Song et al. 2023, eq. 7 and 9.
  return guided_by(settings, parts, section, measurement,
                   [=](const Level& level, const at::Tensor& data, const at::Tensor& y) {
                     const double own = spread * spread, sigma2 = level.sigma * level.sigma;
                     const double r2 = own * sigma2 / (level.alpha * level.alpha * own + sigma2);
                     const at::Tensor estimate = measurement->apply(data);
                     const at::Tensor residual = (y - estimate).detach();
                     return (estimate * measurement->solve(residual, r2, noise * noise)).sum();
                   });
}

std::vector<Option> measured_options(std::vector<Option> more) {
  std::vector<Option> options = strength_options(1.0, "weight of the likelihood's gradient", 0.0);
  options.push_back({"measured", std::string(), ".safetensors with the tensor \"measured\", one row or one a sample"});
  options.push_back(
      {"truth", std::string(), ".safetensors with clean \"sample\"s that are measured here instead: trials"});
  options.insert(options.end(), more.begin(), more.end());
  return options;
}

}  // namespace

void register_measurement_guidance(GuidanceRegistry& registry) {
  registry.add({{"dps",
                 "Diffusion posterior sampling: along the gradient of log p(measured | estimate), as a shift of it.",
                 "Chung et al. 2023 (DPS), eq. 11, 16",
                 measured_options({{"noise", 0.05, "standard deviation of the measurement's noise", 0.0, 1e6},
                                   {"variance",
                                    std::string("residual"),
                                    "what divides the squared residual: its own size, or the variance of the noise",
                                    0,
                                    0,
                                    {"residual", "noise"}}}),
                 {"needs_gradient"}},
                make_dps,
                {"around", "measurement"}});
  registry.add({{"pigdm",
                 "Pseudo-inverse guidance: y given the estimate has the estimate's own uncertainty in it.",
                 "Song et al. 2023 (PiGDM), eq. 7, 9",
                 measured_options({{"noise", 0.05, "standard deviation of the measurement's noise", 1e-6, 1e6},
                                   {"data_std", 1.0, "standard deviation of encoded data", 1e-6, 1e6}}),
                 {"needs_gradient"}},
                make_pigdm,
                {"around", "measurement"}});
}

}  // namespace thaw
