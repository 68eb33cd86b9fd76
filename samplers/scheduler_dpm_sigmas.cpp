#include "samplers/scheduler_dpm_sigmas.h"

#include <cmath>

#include "core/base/text.h"

namespace thaw {
namespace {

// shift (1 - a) of a even from 1 to 1 / T, the clean end left out.
std::vector<double> flow_sigmas(double table, double shift, int steps) {
  std::vector<double> sigmas;
  const double stride = (1.0 / table - 1.0) / steps;
  for (int i = steps; i > 0; --i) sigmas.push_back(shifted(1.0 - (i == steps ? 1.0 / table : 1.0 + i * stride), shift));
  return sigmas;
}

// UniPC: from 1 to 1 / T, the last one left out; then stretched so that the last has the sigma `terminal`.
std::vector<double> unipc_flow_sigmas(double table, double shift, double terminal, int steps) {
  std::vector<double> sigmas;
  for (int i = 0; i < steps; ++i) sigmas.push_back(shifted(1.0 + i * ((1.0 / table - 1.0) / steps), shift));
  if (terminal > 0.0) {
    const double scale = (1.0 - sigmas.back()) / (1.0 - terminal);
    for (double& s : sigmas) s = 1.0 - (1.0 - s) / scale;
  }
  if (std::abs(sigmas.front() - 1.0) < 1e-6) sigmas.front() -= 1e-6;
  return sigmas;
}

// Timesteps whose lambda is below lambda_min_clipped are left out.
double usable_timesteps(const SchedulerOptions& o, const PeerTable& table) {
  if (!o.is_own("lambda_min_clipped")) return static_cast<double>(table.size());
  const double least = o.optional_number("lambda_min_clipped").value_or(-HUGE_VAL);
  std::size_t used = table.size();
  while (used > 1 && -std::log(table.rho(used - 1)) < least) --used;
  return static_cast<double>(used);
}

// Sigma schedules come back to their own end but for rounding.
bool ends_at(const SigmaGrid& grid, double end) {
  return std::abs(grid.sigmas.back() - end) <= 1e-12 * end;
}

void expect_consistent(Import& peer, const DpmSigmas& sigmas) {
  const SchedulerOptions& o = peer.o();
  const std::string& prediction = peer.made.prediction;
  if (sigmas.is_straight && prediction == "v")
    o.fail("prediction_type",
           "\"v_prediction\" contradicts use_flow_sigmas: alpha^2 + sigma^2 is not 1 there. Use "
           "flow_prediction.");
  if (!sigmas.is_straight && prediction == "velocity")
    o.fail("prediction_type",
           "\"flow_prediction\" contradicts use_flow_sigmas: false; the velocity belongs to "
           "x = (1 - sigma) x0 + sigma eps.");
  if (o.is_own("use_dynamic_shifting") && o.flag("use_dynamic_shifting")) {
    if (peer.is("UniPCMultistepScheduler") && !peer.calls.contains("mu"))
      o.fail("use_dynamic_shifting", "true needs the argument mu, which a pipeline makes from the picture's size.");
  }
}

}  // namespace

SigmaGrid DpmSigmas::grid(const SchedulerOptions& o, int steps) const {
  SigmaGrid made{.sigmas = {}, .times = {}};
  const double least = table.rho(0), size = static_cast<double>(table.size());
  if (kind == SigmaKind::kTable) {
    made.times = rule.times(o, table.size(), steps);
    for (const double t : made.times) made.sigmas.push_back(rho_at(table, t));
  } else if (kind == SigmaKind::kFlow) {
    made.sigmas =
        is_unipc ? unipc_flow_sigmas(size, flow_shift, terminal, steps) : flow_sigmas(size, flow_shift, steps);
  } else {
    made.sigmas = spaced_sigmas(kind, low.value_or(least), high.value_or(table.rho(table.size() - 1)), steps);
    if (is_straight)
      for (double& s : made.sigmas) s = s / (s + 1.0);
  }
  const bool rounds = is_rounded && (kind == SigmaKind::kKarras || kind == SigmaKind::kLu);
  for (std::size_t i = made.times.size(); i < made.sigmas.size(); ++i) {
    const double t = is_straight ? made.sigmas[i] * size : time_of_rho(table, made.sigmas[i]);
    made.times.push_back(rounds && !is_straight ? std::nearbyint(t) : std::trunc(t));
  }
  if (final != FinalSigma::kZero) made.end = least;
  made.repeats_last = final == FinalSigma::kRepeated || (final == FinalSigma::kTableMin && ends_at(made, least));
  expect_falling(o, made);
  return made;
}

std::string DpmSigmas::schedule_yaml() const {
  return is_straight ? concat("{type: flow, shift: ", format_double(flow_shift), "}") : table.yaml;
}

std::string DpmSigmas::yaml() const {
  const std::string last = final == FinalSigma::kZero ? "clean" : spans_table() ? "sigma_min" : "then_sigma_min";
  // A step of no length is none: 20 of theirs are 19.
  const std::string steps = repeats_last() ? ", steps: 19" : ", steps: 20";
  std::string ends;
  if (low) ends += concat(", sigma_min: ", format_double(*low));
  if (high) ends += concat(", sigma_max: ", format_double(*high));
  switch (kind) {
    case SigmaKind::kTable:
      return grid_yaml(rule, last);
    case SigmaKind::kFlow:
      return concat("{type: linspace, steps: 20, drop_last: true, final: ", last, "}");
    case SigmaKind::kKarras:
      return concat("{type: karras", steps, ", final: ", last, ends, "}");
    case SigmaKind::kBeta:
      return concat("{type: beta, variable: ratio", steps, ", final: ", last, ends, "}");
    case SigmaKind::kExponential:
    case SigmaKind::kLu:
      break;
  }
  return concat("{type: exponential", steps, ", final: ", last, ends, "}");
}

DpmSigmas read_dpm_sigmas(Import& peer, FinalSigma default_final) {
  const SchedulerOptions& o = peer.o();
  const TableRule rule{.has_rescaling = o.is_own("rescale_betas_zero_snr"), .keeps_last_finite = true};
  DpmSigmas sigmas{.table = read_table(o, peer.schedules, rule), .kind = read_sigma_kind(o)};
  sigmas.is_unipc = peer.is("UniPCMultistepScheduler");
  sigmas.is_straight = o.is_own("use_flow_sigmas") && o.flag("use_flow_sigmas");
  sigmas.final = default_final;
  if (o.is_own("final_sigmas_type"))
    sigmas.final = o.text("final_sigmas_type", {"zero", "sigma_min"}) == "zero" ? FinalSigma::kZero
                   : sigmas.is_unipc && sigmas.kind != SigmaKind::kTable        ? FinalSigma::kRepeated
                                                                                : FinalSigma::kTableMin;
  if (default_final == FinalSigma::kRepeated && sigmas.kind == SigmaKind::kTable) sigmas.final = FinalSigma::kTableMin;
  if (sigmas.kind == SigmaKind::kTable) {
    sigmas.rule.spacing = Spacing::kLinspace;
    if (o.is_own("timestep_spacing")) sigmas.rule = read_timestep_rule(o);
    sigmas.rule.has_spare_point = sigmas.rule.spacing != Spacing::kTrailing;
    sigmas.rule.first = usable_timesteps(o, sigmas.table);
  } else if (sigmas.kind == SigmaKind::kFlow) {
    sigmas.flow_shift = o.number("flow_shift", 0.01, 1000.0);
    if (sigmas.is_unipc && !o.is_null("shift_terminal")) sigmas.terminal = o.number("shift_terminal", 0.0, 0.999);
  } else {
    // Foreign keys of the file count too: diffusers keeps them and looks for these two.
    if (o.has("sigma_min")) sigmas.low = o.optional_number("sigma_min");
    if (o.has("sigma_max")) sigmas.high = o.optional_number("sigma_max");
  }
  const bool keeps_fractions =
      peer.is("DPMSolverMultistepScheduler") && o.is_null("trained_betas") &&
      o.text("beta_schedule", {"linear", "scaled_linear", "squaredcos_cap_v2"}) == "squaredcos_cap_v2";
  sigmas.is_rounded = !keeps_fractions;
  read_prediction(peer, {"epsilon", "sample", "v_prediction", "flow_prediction"});
  expect_consistent(peer, sigmas);
  return sigmas;
}

void use_dpm_sigmas(Import& peer, const DpmSigmas& sigmas) {
  const SchedulerOptions& o = peer.o();
  if (sigmas.is_straight)
    peer.made.schedule = peer.schedules.create(Config::parse("{type: flow}", o.file()), "");
  else
    peer.made.schedule = make_table_schedule(sigmas.table, variance_preserving(), o.class_name());
  peer.made.grid = [sigmas, options = peer.options](int steps) {
    return sigmas.grid(*options, steps).on(sigmas.path());
  };
  peer.section("schedule", sigmas.schedule_yaml());
  peer.section("grid", sigmas.yaml());
  if (sigmas.is_straight && sigmas.final == FinalSigma::kTableMin)
    peer.inexact("the last sigma is that of timestep 0 of the beta table, on the straight line.");
  if (sigmas.repeats_last()) peer.note("the last sigma stands twice in diffusers: the last step has no length.");
  if (sigmas.kind != SigmaKind::kTable)
    peer.note("timesteps told to the network are whole ones, rounded (Karras) or cut.");
}  // namespace thaw

}  // namespace thaw
