#include "samplers/scheduler_config.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/base/text.h"
#include "samplers/scheduler_import.h"

namespace thaw {
namespace {

struct Family {
  std::vector<std::string> classes;
  void (*read)(Import&);
};

const std::vector<Family>& families() {
  static const std::vector<Family> all{
      {{"DDIMScheduler", "DDIMParallelScheduler", "DDIMInverseScheduler", "CogVideoXDDIMScheduler", "RePaintScheduler"},
       import_ddim},
      {{"DDPMScheduler", "DDPMParallelScheduler"}, import_ddpm},
      {{"PNDMScheduler"}, import_pndm},
      {{"LCMScheduler", "TCDScheduler", "CMStochasticIterativeScheduler", "SCMScheduler"}, import_distilled},
      {{"CogVideoXDPMScheduler"}, import_cogvideox_dpm},
      {{"EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler", "HeunDiscreteScheduler", "KDPM2DiscreteScheduler",
        "KDPM2AncestralDiscreteScheduler", "LMSDiscreteScheduler", "DPMSolverSDEScheduler"},
       import_exploding},
      {{"EDMEulerScheduler", "EDMDPMSolverMultistepScheduler", "CosineDPMSolverMultistepScheduler"}, import_edm},
      {{"DPMSolverMultistepScheduler", "DPMSolverMultistepInverseScheduler"}, import_dpm},
      {{"DPMSolverSinglestepScheduler"}, import_singlestep},
      {{"DEISMultistepScheduler", "UniPCMultistepScheduler", "SASolverScheduler"}, import_predictor},
      {{"FlowMatchEulerDiscreteScheduler", "FlowMatchHeunDiscreteScheduler", "FlowMatchLCMScheduler",
        "LTXEulerAncestralRFScheduler"},
       import_flow},
      {{"IPNDMScheduler"}, import_ipndm}};
  return all;
}

// Why a key that its own class reads elsewhere was not read here.
const std::vector<std::pair<std::string, std::string>>& idle_reasons() {
  static const std::vector<std::pair<std::string, std::string>> reasons{
      {"beta_end", "the betas do not come from a range here"},
      {"beta_schedule", "trained_betas are given, or the scheduler has no table"},
      {"beta_start", "the betas do not come from a range here"},
      {"base_image_seq_len", "pipelines read it to choose mu; the scheduler does not"},
      {"base_shift", "pipelines read it to choose mu; the scheduler does not"},
      {"clip_sample", "the scheduler's step never looks at it"},
      {"clip_sample_range", "nothing is clipped to it"},
      {"disable_corrector", "no corrector runs"},
      {"dynamic_thresholding_ratio", "thresholding is off, or the scheduler never thresholds"},
      {"euler_at_final", "the last step has order 1 anyway"},
      {"flow_shift", "use_flow_sigmas is false"},
      {"interpolation_type", "another sigma schedule replaces the interpolated sigmas"},
      {"lambda_min_clipped", "another sigma schedule replaces the timesteps it clips"},
      {"lower_order_final", "the order is 1 everywhere"},
      {"max_image_seq_len", "pipelines read it to choose mu; the scheduler does not"},
      {"max_shift", "pipelines read it to choose mu; the scheduler does not"},
      {"noise_sampler_seed", "noise is a function of seed, sample and level here"},
      {"num_train_timesteps", "the scheduler's levels do not depend on it"},
      {"original_inference_steps", "the grid does not start from a table of them"},
      {"prediction_type", "the scheduler expects one kind of network only"},
      {"rescale_betas_zero_snr", "the scheduler reads no betas"},
      {"rho", "only sigma_schedule \"karras\" reads it"},
      {"sample_max_value", "thresholding is off, or the scheduler never thresholds"},
      {"sigma_max", "no sigma schedule reads it"},
      {"sigma_min", "no sigma schedule reads it"},
      {"shift", "use_dynamic_shifting replaces it by mu"},
      {"snr_shift_scale", "the scheduler reads no table"},
      {"solver_p", "null: UniPC's own predictor"},
      {"solver_type", "steps of this order have one form"},
      {"steps_offset", "only timestep_spacing \"leading\" reads it"},
      {"tau_func", "null: the default, tau = 1 for timesteps 200 to 800"},
      {"thresholding", "the scheduler's step never looks at it"},
      {"time_shift_type", "use_dynamic_shifting is false"},
      {"timestep_spacing", "the sigma schedule chooses the levels by itself"},
      {"timestep_type", "\"continuous\" acts on v_prediction only"},
      {"trained_betas", "null: betas come from beta_schedule"},
      {"use_dynamic_shifting", "the scheduler's grid has no shift of its own"},
      {"variance_type", "null, or a variance channel is cut off before the step"}};
  return reasons;
}

std::string idle_reason(const SchedulerOptions& options, const std::string& key) {
  if (!options.is_own(key)) return concat(options.class_name(), " has no such option; diffusers ignores it too");
  for (const auto& [known, reason] : idle_reasons())
    if (known == key) return reason;
  return "nothing reads it with the other options as they are";
}

}  // namespace

std::string ImportedThresholding::yaml() const {
  if (kind == Kind::kClip) return concat("{type: static, range: ", format_double(range), "}");
  if (kind == Kind::kDynamic)
    return concat("{type: dynamic, percentile: ", format_double(quantile), ", max: ", format_double(maximum), "}");
  return "";
}

double Import::call(const std::string& name, double fallback, double minimum, double maximum) {
  const auto found = calls.find(name);
  if (found == calls.end()) return fallback;
  const double value = found->second;
  calls.erase(found);
  if (!(value >= minimum && value <= maximum))
    o().fail(name, concat("must lie in [", format_short(minimum), ", ", format_short(maximum), "], got ",
                          format_short(value), "."));
  return value;
}

Solver Import::sampler(const std::string& yaml) {
  section("sampler", yaml);
  return samplers.create(Config::parse(yaml, o().file()), "");
}

void note_churn(Import& peer) {
  peer.note(
      "churn (s_churn, s_tmin, s_tmax, s_noise) is an argument of diffusers' step and in no file; there the network is "
      "asked before the noise is added. Here it is options of euler, which asks after it (Karras et al. 2022).");
}

void read_prediction(Import& peer, const std::vector<std::string>& allowed) {
  const std::string name = peer.o().text("prediction_type", allowed);
  const std::pair<const char*, const char*> names[] = {{"epsilon", "noise"},
                                                       {"sample", "data"},
                                                       {"original_sample", "data"},
                                                       {"v_prediction", "v"},
                                                       {"flow_prediction", "velocity"}};
  for (const auto& [theirs, ours] : names)
    if (name == theirs) peer.made.prediction = ours;
}

void read_thresholding(Import& peer) {
  const SchedulerOptions& o = peer.o();
  ImportedThresholding& made = peer.made.thresholding;
  if (o.is_own("thresholding") && o.flag("thresholding")) {
    made.kind = ImportedThresholding::Kind::kDynamic;
    made.quantile = o.number("dynamic_thresholding_ratio", 0.0, 1.0);
    made.maximum = o.number("sample_max_value", 1.0, 1e6);
  } else if (o.is_own("clip_sample") && o.flag("clip_sample")) {
    made.kind = ImportedThresholding::Kind::kClip;
    made.range = o.is_own("clip_sample_range") ? o.number("clip_sample_range", 1e-6, 1e6) : 1.0;
  }
}

ImportedScheduler import_scheduler(std::string_view text, const std::string& file, const ScheduleRegistry& schedules,
                                   const SamplerRegistry& samplers, const SchedulerCalls& calls) {
  Import peer{.options = std::make_shared<SchedulerOptions>(SchedulerOptions::parse(text, file)),
              .schedules = schedules,
              .samplers = samplers,
              .calls = calls};
  peer.made.file = file;
  peer.made.class_name = peer.o().class_name();
  peer.made.start_scale = [](int) { return 1.0; };
  // An argument of pipelines that begin part of the way: some steps go floor(T / steps) timesteps, whatever is left.
  peer.total_steps = static_cast<int>(peer.call("total_steps", 0.0, 0.0, 1e6));
  for (const Family& family : families())
    for (const std::string& name : family.classes)
      if (name == peer.made.class_name) family.read(peer);
  if (!peer.calls.empty())
    peer.o().fail(peer.calls.begin()->first, concat("the steps of ", peer.made.class_name, " take no such argument."));
  for (const std::string& key : peer.o().unread()) peer.made.idle.push_back({key, idle_reason(peer.o(), key)});
  if (const std::string yaml = peer.made.thresholding.yaml(); !yaml.empty()) peer.section("thresholding", yaml);
  return std::move(peer.made);
}  // namespace thaw

}  // namespace thaw
