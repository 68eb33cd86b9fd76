// Schedulers whose state is x / alpha: Euler, Heun, KDPM2, LMS and their ancestral forms.

#include <algorithm>
#include <cmath>

#include "core/base/text.h"
#include "samplers/scheduler_import.h"

namespace thaw {
namespace {

/// Everything that decides the sigmas of this family.
struct Sigmas {
  PeerTable table;
  TimestepRule rule{};
  SigmaKind kind = SigmaKind::kTable;
  bool is_log_linear = false;  // interpolation_type
  std::optional<double> low{}, high{};
  bool ends_clean = true;
  bool rounds_times = false;
  bool tells_log_sigma = false;  // timestep_type "continuous"

  SigmaGrid grid(const SchedulerOptions& o, int steps) const;
};

// One more than there are timesteps.
std::vector<double> log_linear_sigmas(const PeerTable& table, int steps) {
  const double high = std::log(table.rho(table.size() - 1)), low = std::log(table.rho(0));
  std::vector<double> sigmas;
  for (int i = 0; i <= steps; ++i) sigmas.push_back(std::exp(high + i * (low - high) / steps));
  return sigmas;
}

SigmaGrid Sigmas::grid(const SchedulerOptions& o, int steps) const {
  SigmaGrid made{.sigmas = {}, .times = rule.times(o, table.size(), steps), .end = ends_clean ? 0.0 : table.rho(0)};
  if (is_log_linear)
    made.sigmas = log_linear_sigmas(table, steps);
  else
    for (const double t : made.times) made.sigmas.push_back(rho_at(table, t));
  if (is_log_linear && kind == SigmaKind::kTable && !tells_log_sigma) {
    made.end = made.sigmas.back();
    made.sigmas.pop_back();
  }
  made.times.resize(std::max(made.times.size(), made.sigmas.size()));
  if (kind != SigmaKind::kTable) {
    made.sigmas = spaced_sigmas(kind, low.value_or(made.sigmas.back()), high.value_or(made.sigmas.front()), steps);
    for (std::size_t i = 0; i < made.sigmas.size(); ++i) made.times[i] = time_of_rho(table, made.sigmas[i]);
    if (rounds_times && kind == SigmaKind::kKarras)
      for (double& t : made.times) t = std::nearbyint(t);
  }
  if (tells_log_sigma)
    for (std::size_t i = 0; i < made.sigmas.size(); ++i) made.times[i] = 0.25 * std::log(made.sigmas[i]);
  made.repeats_last = made.end > 0.0 && std::abs(made.sigmas.back() - made.end) <= 1e-12 * made.end;
  expect_falling(o, made);
  return made;
}

Sigmas read_sigmas(Import& peer) {
  const SchedulerOptions& o = peer.o();
  TableRule table{.has_rescaling = o.is_own("rescale_betas_zero_snr"), .keeps_last_finite = true};
  if (peer.is("HeunDiscreteScheduler")) table.schedules.push_back("exp");
  Sigmas sigmas{.table = read_table(o, peer.schedules, table), .rule = read_timestep_rule(o)};
  sigmas.rule.is_rounded = sigmas.rule.spacing != Spacing::kLinspace;
  sigmas.kind = read_sigma_kind(o);
  if (sigmas.kind != SigmaKind::kTable) {
    // Also where the class has no such option: diffusers keeps foreign keys of the file and looks for these two. Its
    // LMS and DPMSolverSDE have Karras sigmas of their own that do not.
    const bool is_deaf =
        sigmas.kind == SigmaKind::kKarras && (peer.is("LMSDiscreteScheduler") || peer.is("DPMSolverSDEScheduler"));
    if (!is_deaf && o.has("sigma_min")) sigmas.low = o.optional_number("sigma_min");
    if (!is_deaf && o.has("sigma_max")) sigmas.high = o.optional_number("sigma_max");
  }
  sigmas.rounds_times = peer.is("KDPM2DiscreteScheduler") || peer.is("KDPM2AncestralDiscreteScheduler");
  return sigmas;
}

void read_euler(Import& peer, Sigmas& sigmas) {
  const SchedulerOptions& o = peer.o();
  sigmas.is_log_linear = o.text("interpolation_type", {"linear", "log_linear"}) == "log_linear";
  sigmas.ends_clean = o.text("final_sigmas_type", {"zero", "sigma_min"}) == "zero";
  if (peer.made.prediction == "v")
    sigmas.tells_log_sigma = o.text("timestep_type", {"discrete", "continuous"}) == "continuous";
  if (sigmas.is_log_linear && sigmas.kind == SigmaKind::kTable && sigmas.tells_log_sigma) {
    peer.inexact(
        "interpolation_type log_linear with continuous timesteps: diffusers makes one step more than asked "
        "for.");
  } else if (sigmas.is_log_linear && sigmas.kind == SigmaKind::kTable) {
    sigmas.ends_clean = false;
    peer.inexact(
        "interpolation_type log_linear: sigmas run from the table's largest to its smallest, where the last "
        "step ends whatever final_sigmas_type says; the network is told the timesteps of the spacing, which "
        "have other sigmas.");
  } else if (sigmas.is_log_linear) {
    peer.note(
        "interpolation_type log_linear: the sigma schedule runs over the whole table, whatever timestep_spacing "
        "says.");
  }
}

std::string sigma_grid_yaml(const Sigmas& sigmas) {
  const std::string final = sigmas.ends_clean ? "clean" : "then_sigma_min";
  if (sigmas.kind == SigmaKind::kTable) return grid_yaml(sigmas.rule, final);
  const char* type = sigmas.kind == SigmaKind::kKarras ? "karras"
                     : sigmas.kind == SigmaKind::kBeta ? "beta"
                                                       : "exponential";
  const char* ends[] = {"schedule", "leading", "trailing"};
  std::string yaml =
      concat("{type: ", type, ", steps: 20, variable: ratio, final: ", final,
             ", ends: ", sigmas.is_log_linear ? "schedule" : ends[static_cast<int>(sigmas.rule.spacing)]);
  if (sigmas.rule.offset > 0 && !sigmas.is_log_linear) yaml += concat(", offset: ", sigmas.rule.offset);
  if (sigmas.low) yaml += concat(", sigma_min: ", format_double(*sigmas.low));
  if (sigmas.high) yaml += concat(", sigma_max: ", format_double(*sigmas.high));
  return yaml + "}";
}

std::string sampler_yaml(Import& peer) {
  if (peer.is("EulerDiscreteScheduler")) return "{type: euler}";
  if (peer.is("EulerAncestralDiscreteScheduler")) return "{type: euler_ancestral}";
  if (peer.is("HeunDiscreteScheduler")) return "{type: heun}";
  if (peer.is("KDPM2DiscreteScheduler")) return "{type: dpm2}";
  if (peer.is("KDPM2AncestralDiscreteScheduler")) return "{type: dpm2_ancestral}";
  if (peer.is("LMSDiscreteScheduler"))
    return concat("{type: lms, order: ", peer.call("order", 4.0, 1.0, 4.0), ", final_order: full}");
  const double s_noise = peer.call("s_noise", 1.0, 0.5, 1.5);
  return concat("{type: dpmpp_sde, clock: rho, s_noise: ", format_double(s_noise), "}");
}

std::vector<std::string> predictions(const Import& peer) {
  std::vector<std::string> names{"epsilon", "v_prediction"};
  if (peer.is("EulerDiscreteScheduler")) names.insert(names.end(), {"sample", "original_sample"});
  if (peer.is("HeunDiscreteScheduler") || peer.is("LMSDiscreteScheduler")) names.push_back("sample");
  return names;
}

}  // namespace

void import_exploding(Import& peer) {
  const SchedulerOptions& o = peer.o();
  Sigmas sigmas = read_sigmas(peer);
  read_prediction(peer, predictions(peer));
  if (peer.is("EulerDiscreteScheduler")) read_euler(peer, sigmas);
  if (peer.is("HeunDiscreteScheduler")) read_thresholding(peer);
  peer.made.schedule = make_table_schedule(sigmas.table, variance_exploding(), o.class_name());
  peer.made.grid = [sigmas, options = peer.options](int steps) {
    return sigmas.grid(*options, steps).on(variance_exploding());
  };
  peer.made.start_scale = [sigmas, options = peer.options](int steps) {
    const double high = sigmas.grid(*options, steps).sigmas.front();
    return sigmas.rule.spacing == Spacing::kLeading ? std::sqrt(high * high + 1.0) : high;
  };  // namespace thaw
  peer.section("schedule", sigmas.table.yaml);
  peer.section("grid", sigma_grid_yaml(sigmas));
  peer.made.solver = peer.sampler(sampler_yaml(peer));
  peer.note(
      "states are x / alpha: the run is on the variance-exploding path, the configuration below on the "
      "variance-preserving one; both visit the same sigma / alpha.");
  if (sigmas.rule.spacing == Spacing::kLeading)
    peer.note("noise starts at sqrt(sigma_max^2 + 1), a little above the first level's sigma.");
  if (peer.is("LMSDiscreteScheduler"))
    peer.note(
        "the order stays 4 in the step to sigma 0, where its weights amplify rounding; lms falls to order 1 "
        "there by default.");
  if (peer.is("EulerDiscreteScheduler")) note_churn(peer);
  if (sigmas.rounds_times && sigmas.kind == SigmaKind::kKarras)
    peer.note("timesteps told to the network are rounded to whole ones.");
}

}  // namespace thaw
