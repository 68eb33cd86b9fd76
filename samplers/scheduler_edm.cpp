// Schedulers over EDM's sigma, with its preconditioning; alpha is 1.

#include <cmath>

#include "core/base/text.h"
#include "samplers/scheduler_dpm_sigmas.h"

namespace thaw {
namespace {

struct EdmSigmas {
  double low = 0.0, high = 0.0, rho = 7.0;
  SigmaKind kind = SigmaKind::kKarras;
  bool ends_clean = true;
  bool tells_angle = false;  // CosineDPMSolver: 2 / pi atan(sigma)

  SigmaGrid grid(const SchedulerOptions& o, int steps) const {
    SigmaGrid made{.sigmas = spaced_sigmas(kind, low, high, steps, rho), .times = {}};
    for (const double sigma : made.sigmas)
      made.times.push_back(tells_angle ? std::atan(sigma) / std::atan(1.0) / 2.0 : 0.25 * std::log(sigma));
    // torch.linspace of one point, from the clean end.
    if (steps == 1 && kind == SigmaKind::kExponential) made.sigmas.front() = low;
    made.repeats_last = !ends_clean && made.sigmas.back() <= low * (1.0 + 1e-12);
    if (!ends_clean) made.end = low;
    expect_falling(o, made);
    return made;
  }
};

EdmSigmas read_edm_sigmas(const SchedulerOptions& o) {
  EdmSigmas sigmas{.low = o.number("sigma_min", 1e-8, 1e6), .high = o.number("sigma_max", 1e-8, 1e8)};
  if (sigmas.low >= sigmas.high)
    o.fail("sigma_max", concat("must be above sigma_min ", sigmas.low, ", got ", sigmas.high, "."));
  if (o.text("sigma_schedule", {"karras", "exponential"}) == "karras")
    sigmas.rho = o.number("rho", 0.1, 100.0);
  else
    sigmas.kind = SigmaKind::kExponential;
  sigmas.ends_clean = o.text("final_sigmas_type", {"zero", "sigma_min"}) == "zero";
  return sigmas;
}

std::string edm_grid_yaml(const EdmSigmas& s) {
  // Their last step to sigma_min has no length: 20 of theirs are 19.
  const std::string final = s.ends_clean ? ", steps: 20, final: clean" : ", steps: 19, final: sigma_min";
  const std::string ends = concat(", sigma_min: ", format_double(s.low), ", sigma_max: ", format_double(s.high));
  if (s.kind == SigmaKind::kExponential) return concat("{type: exponential", final, ends, "}");
  return concat("{type: karras, rho: ", format_double(s.rho), final, ends, "}");
}

}  // namespace

void import_edm(Import& peer) {
  const SchedulerOptions& o = peer.o();
  EdmSigmas sigmas = read_edm_sigmas(o);
  sigmas.tells_angle = peer.is("CosineDPMSolverMultistepScheduler");
  o.number("sigma_data", 1e-6, 1e6);
  peer.made.prediction = "edm";
  peer.made.negates_output = o.text("prediction_type", {"epsilon", "v_prediction"}) == "v_prediction";
  const std::string schedule =
      concat("{type: edm, sigma_min: ", format_double(sigmas.low), ", sigma_max: ", format_double(sigmas.high), "}");
  peer.made.schedule = peer.schedules.create(Config::parse(schedule, o.file()), "");
  peer.made.grid = [sigmas, options = peer.options](int steps) {
    return sigmas.grid(*options, steps).on(variance_exploding());
  };
  peer.made.start_scale = [high = sigmas.high](int) { return std::sqrt(high * high + 1.0); };  // namespace thaw
  peer.section("schedule", schedule);
  peer.section("grid", edm_grid_yaml(sigmas));
  const bool repeats = !sigmas.ends_clean;
  if (peer.is("EDMEulerScheduler"))
    peer.made.solver = peer.sampler("{type: euler}");
  else
    peer.made.solver = import_dpm_solver(peer, repeats, sigmas.ends_clean);
  if (peer.is("EDMDPMSolverMultistepScheduler")) read_thresholding(peer);
  peer.note("noise starts at sqrt(sigma_max^2 + 1), a little above the first level's sigma.");
  if (peer.is("EDMEulerScheduler")) note_churn(peer);
  if (repeats) peer.note("final_sigmas_type sigma_min: the last step stays at sigma_min, its network call is saved.");
  if (sigmas.tells_angle)
    peer.note(
        "Brownian noise over lambda: diffusers draws it over sigma; steps do not overlap, so that distributions "
        "agree.");
}

}  // namespace thaw
