// Flow matching: x = (1 - sigma) x0 + sigma eps.

#include <algorithm>
#include <cmath>

#include "core/base/text.h"
#include "samplers/scheduler_import.h"

namespace thaw {
namespace {

/// set_timesteps of FlowMatchEulerDiscrete and its kin.
struct FlowSigmas {
  double table = 1000.0;
  double shift = 1.0;
  std::optional<double> mu{};  // dynamic shifting
  bool is_linear_mu = false;   // time_shift_type
  bool is_even = false;        // sigmas given by a pipeline: even from 1 to 1 / steps
  double terminal = 0.0;
  SigmaKind kind = SigmaKind::kTable;
  std::optional<double> low{}, high{};

  double moved(double sigma) const {
    if (!mu) return shifted(sigma, shift);
    const double weight = is_linear_mu ? *mu : std::exp(*mu);
    return weight / (weight + (1.0 / sigma - 1.0));
  }
  SigmaGrid grid(const SchedulerOptions& o, int steps) const;
};

SigmaGrid FlowSigmas::grid(const SchedulerOptions& o, int steps) const {
  // The ends are shifted when the scheduler is made (unless mu replaces the shift), and all of them again here.
  const double first = mu || is_even ? 1.0 : shifted(1.0, shift);
  const double last = is_even ? 1.0 / steps : mu ? 1.0 / table : shifted(1.0 / table, shift);
  SigmaGrid made{.sigmas = {}, .times = {}};
  const double stride = steps > 1 ? (last - first) / (steps - 1) : 0.0;
  for (int i = 0; i < steps; ++i) made.sigmas.push_back(moved(i + 1 == steps && steps > 1 ? last : first + i * stride));
  if (terminal > 0.0) {
    const double scale = (1.0 - made.sigmas.back()) / (1.0 - terminal);
    for (double& s : made.sigmas) s = 1.0 - (1.0 - s) / scale;
  }
  if (kind != SigmaKind::kTable)
    made.sigmas = spaced_sigmas(kind, low.value_or(made.sigmas.back()), high.value_or(made.sigmas.front()), steps);
  for (const double sigma : made.sigmas) made.times.push_back(table * sigma);
  expect_falling(o, made);
  return made;
}

FlowSigmas read_flow_sigmas(Import& peer) {
  const SchedulerOptions& o = peer.o();
  FlowSigmas sigmas{.table = static_cast<double>(o.integer("num_train_timesteps", 2, 1000000))};
  if (peer.is("LTXEulerAncestralRFScheduler")) return sigmas;
  const bool is_dynamic = o.is_own("use_dynamic_shifting") && o.flag("use_dynamic_shifting");
  if (is_dynamic) {
    if (!peer.calls.contains("mu"))
      o.fail("use_dynamic_shifting", "true needs the argument mu, which a pipeline makes from the picture's size.");
    sigmas.is_linear_mu = o.text("time_shift_type", {"exponential", "linear"}) == "linear";
    sigmas.mu = peer.call("mu", 0.0, sigmas.is_linear_mu ? 1e-6 : -20.0, 100.0);
  } else {
    sigmas.shift = o.number("shift", 1e-3, 1e4);
  }
  if (peer.is("FlowMatchHeunDiscreteScheduler")) return sigmas;
  // An argument of the pipelines of Flux, not of a file.
  sigmas.is_even = peer.call("even_sigmas", 0.0, 0.0, 1.0) == 1.0;
  if (!o.is_null("shift_terminal")) sigmas.terminal = o.number("shift_terminal", 0.0, 0.999);
  sigmas.kind = read_sigma_kind(o);
  if (sigmas.kind != SigmaKind::kTable) {
    if (o.has("sigma_min")) sigmas.low = o.optional_number("sigma_min");
    if (o.has("sigma_max")) sigmas.high = o.optional_number("sigma_max");
  }
  if (o.flag("invert_sigmas"))
    o.fail("invert_sigmas", "true runs from sigma 0 to 1 for models whose time counts the other way; not supported.");
  return sigmas;
}

std::string flow_sampler_yaml(Import& peer) {
  const SchedulerOptions& o = peer.o();
  if (peer.is("FlowMatchHeunDiscreteScheduler")) return "{type: flow_heun, clean: euler}";
  if (peer.is("FlowMatchLCMScheduler")) {
    if (!o.is_null("scale_factors")) o.fail("scale_factors", "must be null: it resizes pictures between steps.");
    return "{type: lcm, boundary: none}";
  }
  if (peer.is("LTXEulerAncestralRFScheduler"))
    return concat("{type: rf_ancestral, eta: ", format_double(o.number("eta", 0.0, 1.0)),
                  ", s_noise: ", format_double(o.number("s_noise", 0.0, 1.5)), "}");
  if (o.flag("stochastic_sampling")) return "{type: lcm, boundary: none}";
  return "{type: flow_euler}";
}

}  // namespace

void import_flow(Import& peer) {
  const SchedulerOptions& o = peer.o();
  const FlowSigmas sigmas = read_flow_sigmas(peer);
  peer.made.prediction = "velocity";
  peer.made.schedule = peer.schedules.create(Config::parse("{type: flow}", o.file()), "");
  peer.made.grid = [sigmas, options = peer.options](int steps) {
    return sigmas.grid(*options, steps).on(linear_path());
  };
  peer.section("schedule", concat("{type: flow, shift: ", format_double(sigmas.shift), "}"));
  peer.section("grid", "{type: linspace, steps: 20}");
  peer.made.solver = peer.sampler(flow_sampler_yaml(peer));
  peer.note(concat("the network is told sigma times ", sigmas.table, "."));
  peer.inexact(concat("sigmas are even between sigma(1) and sigma(1 / ", sigmas.table,
                      "), shifted once more: with a shift other than 1 it counts twice at the clean end."));
  if (peer.is("LTXEulerAncestralRFScheduler"))
    peer.note("diffusers adds 1e-12 to a denominator: states differ by 2.7e-11.");
}  // namespace thaw

// iPNDM has a grid of its own: the angle from pi / 2 to 0, alpha hard-coded to 0 at the first level.
void import_ipndm(Import& peer) {
  const SchedulerOptions& o = peer.o();
  if (!o.is_null("trained_betas"))
    o.fail("trained_betas", "must be null: diffusers takes them for sigmas of one certain number of steps.");
  peer.made.prediction = "v";
  peer.made.schedule = peer.schedules.create(Config::parse("{type: cosine}", o.file()), "");
  peer.made.grid = [](int steps) {
    Grid grid{.levels = {}, .times = {}, .path = &variance_preserving()};
    for (int i = 0; i <= steps; ++i) {
      const double sine = std::sin(std::atan(1.0) * 2.0 * (1.0 - static_cast<double>(i) / steps));
      const double sigma = i == steps ? 0.0 : sine * sine;
      grid.levels.push_back(i == steps ? Level{1.0, 0.0} : Level{std::sqrt(std::max(0.0, 1.0 - sigma * sigma)), sigma});
      grid.times.push_back(std::atan2(sigma, grid.levels.back().alpha) / (std::atan(1.0) * 2.0));
    }
    return grid;
  };
  peer.made.solver = peer.sampler("{type: ipndm_compat_hf}");
  peer.inexact(
      "its first level has alpha 0: the first prediction is multiplied by 0 and the state itself taken for "
      "the noise (compat; ipndm is the method of the paper).");
}

}  // namespace thaw
