// DEIS, UniPC and SA-Solver.

#include <cmath>

#include "core/base/text.h"
#include "samplers/scheduler_dpm_sigmas.h"

namespace thaw {
namespace {

std::string list_of(const std::vector<double>& values) {
  std::vector<std::string> texts;
  for (const double value : values) texts.push_back(format_double(value));
  return concat("[", join(texts, ", "), "]");
}

void import_deis(Import& peer, const DpmSigmas& sigmas) {
  const SchedulerOptions& o = peer.o();
  read_thresholding(peer);
  const auto order = static_cast<int>(o.integer("solver_order", 1, 3));
  if (o.text("algorithm_type", {"deis", "dpmsolver", "dpmsolver++"}) != "deis")
    peer.note("algorithm_type means \"deis\" here, as diffusers replaces it.");
  if (o.text("solver_type", {"logrho", "midpoint", "heun", "bh1", "bh2"}) != "logrho")
    peer.note("solver_type means \"logrho\" here, as diffusers replaces it.");
  const bool lowers = order > 1 && o.flag("lower_order_final");
  peer.made.solver =
      peer.sampler(concat("{type: deis, order: ", order, ", lower_order_final: ", lowers ? "auto" : "never",
                          sigmas.repeats_last() ? ", repeats_last_level: true}" : "}"));
}

// Where diffusers multiplies infinity by 0 in the step to sigma 0.
void note_unipc(Import& peer, const DpmSigmas& sigmas, const std::string& variant, int order) {
  if (sigmas.final != FinalSigma::kZero) return;
  const bool keeps_order = order > 1 && !peer.o().flag("lower_order_final");
  if (variant == "bh1" || keeps_order)
    peer.note(concat("diffusers returns NaN here: ", keeps_order ? "an order above 1" : "bh1, whose B(h) is h,",
                     " has infinite weights in the step to sigma 0. That step has order 1 here, as bh2 with "
                     "lower_order_final has it."));
}

void import_unipc(Import& peer, const DpmSigmas& sigmas) {
  const SchedulerOptions& o = peer.o();
  if (!o.is_null("solver_p")) o.fail("solver_p", "must be null: another scheduler as predictor is not supported.");
  const auto order = static_cast<int>(o.integer("solver_order", 1, 3));
  const bool is_data = o.flag("predict_x0");
  if (is_data) read_thresholding(peer);
  if (!is_data && peer.made.prediction == "velocity")
    o.fail("predict_x0", "false does not know flow_prediction; diffusers refuses it too.");
  std::string variant = o.text("solver_type", {"bh1", "bh2", "midpoint", "heun", "logrho"});
  if (variant != "bh1" && variant != "bh2") {
    peer.note("solver_type means \"bh2\" here, as diffusers replaces it.");
    variant = "bh2";
  }
  note_unipc(peer, sigmas, variant, order);
  peer.made.solver = peer.sampler(concat("{type: unipc, order: ", order, ", variant: ", variant,
                                         ", prediction: ", is_data ? "data" : "noise",
                                         ", disable_corrector: ", list_of(o.numbers("disable_corrector")),
                                         ", lower_order_final: ", o.flag("lower_order_final") ? "always" : "never",
                                         sigmas.repeats_last() ? ", repeats_last_level: true}" : "}"));
}

void import_sa(Import& peer, const DpmSigmas& sigmas) {
  const SchedulerOptions& o = peer.o();
  if (!o.is_null("tau_func")) o.fail("tau_func", "must be null: a function cannot stand in a file.");
  read_thresholding(peer);
  const auto predictor = static_cast<int>(o.integer("predictor_order", 1, 4));
  const auto corrector = static_cast<int>(o.integer("corrector_order", 1, 4));
  if (o.text("algorithm_type", {"data_prediction", "noise_prediction"}) == "noise_prediction")
    o.fail("algorithm_type",
           "\"noise_prediction\" does not keep the marginals and diffusers' weights for it were not "
           "reproduced. Use data_prediction.");
  peer.made.solver = peer.sampler(concat(
      "{type: sa_solver, predictor_order: ", predictor, ", corrector_order: ", corrector,
      ", tau: 1, tau_times: [200, 800], coefficients: simplified, lower_order_final: ",
      o.flag("lower_order_final") ? "always" : "never", sigmas.repeats_last() ? ", repeats_last_level: true}" : "}"));
  peer.note("noise acts at timesteps 200 to 800 only, diffusers' default tau_func.");
  if (predictor == 2 || corrector == 2)
    peer.note(
        "steps with two nodes use the published code's simplified rule: with tau 1 throughout the variance is "
        "+7295 % off after 10 steps (compat; coefficients: exact has +198 %).");
}

}  // namespace

void import_predictor(Import& peer) {
  const bool is_unipc = peer.is("UniPCMultistepScheduler");
  const DpmSigmas sigmas = read_dpm_sigmas(peer, is_unipc ? FinalSigma::kZero : FinalSigma::kRepeated);
  use_dpm_sigmas(peer, sigmas);
  if (is_unipc) return import_unipc(peer, sigmas);
  if (peer.is("SASolverScheduler")) return import_sa(peer, sigmas);
  import_deis(peer, sigmas);
}

}  // namespace thaw
