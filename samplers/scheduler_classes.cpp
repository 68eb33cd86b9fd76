// From the signatures of diffusers 0.42.1, each key with its default.
#include "samplers/scheduler_options.h"

namespace thaw {
namespace {

struct Signature {
  const char* name;
  const char* defaults;
};

// As in the peer's __init__; -1e308 is its -inf.
constexpr Signature kSignatures[] = {
    {"CMStochasticIterativeScheduler",
     R"("num_train_timesteps":40,"sigma_min":0.002,"sigma_max":80.0,"sigma_data":0.5,"s_noise":1.0,"rho":7.0,)"
     R"("clip_denoised":true)"},
    {"CogVideoXDDIMScheduler",
     R"("num_train_timesteps":1000,"beta_start":0.00085,"beta_end":0.012,"beta_schedule":"scaled_linear",)"
     R"("trained_betas":null,"clip_sample":true,"set_alpha_to_one":true,"steps_offset":0,)"
     R"("prediction_type":"epsilon","clip_sample_range":1.0,"sample_max_value":1.0,"timestep_spacing":"leading",)"
     R"("rescale_betas_zero_snr":false,"snr_shift_scale":3.0)"},
    {"CogVideoXDPMScheduler",
     R"("num_train_timesteps":1000,"beta_start":0.00085,"beta_end":0.012,"beta_schedule":"scaled_linear",)"
     R"("trained_betas":null,"clip_sample":true,"set_alpha_to_one":true,"steps_offset":0,)"
     R"("prediction_type":"epsilon","clip_sample_range":1.0,"sample_max_value":1.0,"timestep_spacing":"leading",)"
     R"("rescale_betas_zero_snr":false,"snr_shift_scale":3.0)"},
    {"CosineDPMSolverMultistepScheduler",
     R"("sigma_min":0.3,"sigma_max":500,"sigma_data":1.0,"sigma_schedule":"exponential",)"
     R"("num_train_timesteps":1000,"solver_order":2,"prediction_type":"v_prediction","rho":7.0,)"
     R"("solver_type":"midpoint","lower_order_final":true,"euler_at_final":false,"final_sigmas_type":"zero")"},
    {"DDIMInverseScheduler",
     R"("num_train_timesteps":1000,"beta_start":0.0001,"beta_end":0.02,"beta_schedule":"linear",)"
     R"("trained_betas":null,"clip_sample":true,"set_alpha_to_one":true,"steps_offset":0,)"
     R"("prediction_type":"epsilon","clip_sample_range":1.0,"timestep_spacing":"leading",)"
     R"("rescale_betas_zero_snr":false)"},
    {"DDIMParallelScheduler",
     R"("num_train_timesteps":1000,"beta_start":0.0001,"beta_end":0.02,"beta_schedule":"linear",)"
     R"("trained_betas":null,"clip_sample":true,"set_alpha_to_one":true,"steps_offset":0,)"
     R"("prediction_type":"epsilon","thresholding":false,"dynamic_thresholding_ratio":0.995,)"
     R"("clip_sample_range":1.0,"sample_max_value":1.0,"timestep_spacing":"leading",)"
     R"("rescale_betas_zero_snr":false)"},
    {"DDIMScheduler", R"("num_train_timesteps":1000,"beta_start":0.0001,"beta_end":0.02,"beta_schedule":"linear",)"
                      R"("trained_betas":null,"clip_sample":true,"set_alpha_to_one":true,"steps_offset":0,)"
                      R"("prediction_type":"epsilon","thresholding":false,"dynamic_thresholding_ratio":0.995,)"
                      R"("clip_sample_range":1.0,"sample_max_value":1.0,"timestep_spacing":"leading",)"
                      R"("rescale_betas_zero_snr":false)"},
    {"DDPMParallelScheduler",
     R"("num_train_timesteps":1000,"beta_start":0.0001,"beta_end":0.02,"beta_schedule":"linear",)"
     R"("trained_betas":null,"variance_type":"fixed_small","clip_sample":true,"prediction_type":"epsilon",)"
     R"("thresholding":false,"dynamic_thresholding_ratio":0.995,"clip_sample_range":1.0,"sample_max_value":1.0,)"
     R"("timestep_spacing":"leading","steps_offset":0,"rescale_betas_zero_snr":false)"},
    {"DDPMScheduler",
     R"("num_train_timesteps":1000,"beta_start":0.0001,"beta_end":0.02,"beta_schedule":"linear",)"
     R"("trained_betas":null,"variance_type":"fixed_small","clip_sample":true,"prediction_type":"epsilon",)"
     R"("thresholding":false,"dynamic_thresholding_ratio":0.995,"clip_sample_range":1.0,"sample_max_value":1.0,)"
     R"("timestep_spacing":"leading","steps_offset":0,"rescale_betas_zero_snr":false)"},
    {"DEISMultistepScheduler",
     R"("num_train_timesteps":1000,"beta_start":0.0001,"beta_end":0.02,"beta_schedule":"linear",)"
     R"("trained_betas":null,"solver_order":2,"prediction_type":"epsilon","thresholding":false,)"
     R"("dynamic_thresholding_ratio":0.995,"sample_max_value":1.0,"algorithm_type":"deis","solver_type":"logrho",)"
     R"("lower_order_final":true,"use_karras_sigmas":false,"use_exponential_sigmas":false,"use_beta_sigmas":false,)"
     R"("use_flow_sigmas":false,"flow_shift":1.0,"timestep_spacing":"linspace","steps_offset":0,)"
     R"("use_dynamic_shifting":false,"time_shift_type":"exponential")"},
    {"DPMSolverMultistepInverseScheduler",
     R"("num_train_timesteps":1000,"beta_start":0.0001,"beta_end":0.02,"beta_schedule":"linear",)"
     R"("trained_betas":null,"solver_order":2,"prediction_type":"epsilon","thresholding":false,)"
     R"("dynamic_thresholding_ratio":0.995,"sample_max_value":1.0,"algorithm_type":"dpmsolver++",)"
     R"("solver_type":"midpoint","lower_order_final":true,"euler_at_final":false,"use_karras_sigmas":false,)"
     R"("use_exponential_sigmas":false,"use_beta_sigmas":false,"use_flow_sigmas":false,"flow_shift":1.0,)"
     R"("lambda_min_clipped":-1e+308,"variance_type":null,"timestep_spacing":"linspace","steps_offset":0)"},
    {"DPMSolverMultistepScheduler",
     R"("num_train_timesteps":1000,"beta_start":0.0001,"beta_end":0.02,"beta_schedule":"linear",)"
     R"("trained_betas":null,"solver_order":2,"prediction_type":"epsilon","thresholding":false,)"
     R"("dynamic_thresholding_ratio":0.995,"sample_max_value":1.0,"algorithm_type":"dpmsolver++",)"
     R"("solver_type":"midpoint","lower_order_final":true,"euler_at_final":false,"use_karras_sigmas":false,)"
     R"("use_exponential_sigmas":false,"use_beta_sigmas":false,"use_lu_lambdas":false,"use_flow_sigmas":false,)"
     R"("flow_shift":1.0,"final_sigmas_type":"zero","lambda_min_clipped":-1e+308,"variance_type":null,)"
     R"("timestep_spacing":"linspace","steps_offset":0,"rescale_betas_zero_snr":false,)"
     R"("use_dynamic_shifting":false,"time_shift_type":"exponential")"},
    {"DPMSolverSDEScheduler",
     R"("num_train_timesteps":1000,"beta_start":0.00085,"beta_end":0.012,"beta_schedule":"linear",)"
     R"("trained_betas":null,"prediction_type":"epsilon","use_karras_sigmas":false,"use_exponential_sigmas":false,)"
     R"("use_beta_sigmas":false,"noise_sampler_seed":null,"timestep_spacing":"linspace","steps_offset":0)"},
    {"DPMSolverSinglestepScheduler",
     R"("num_train_timesteps":1000,"beta_start":0.0001,"beta_end":0.02,"beta_schedule":"linear",)"
     R"("trained_betas":null,"solver_order":2,"prediction_type":"epsilon","thresholding":false,)"
     R"("dynamic_thresholding_ratio":0.995,"sample_max_value":1.0,"algorithm_type":"dpmsolver++",)"
     R"("solver_type":"midpoint","lower_order_final":false,"use_karras_sigmas":false,)"
     R"("use_exponential_sigmas":false,"use_beta_sigmas":false,"use_flow_sigmas":false,"flow_shift":1.0,)"
     R"("final_sigmas_type":"zero","lambda_min_clipped":-1e+308,"variance_type":null,"use_dynamic_shifting":false,)"
     R"("time_shift_type":"exponential")"},
    {"EDMDPMSolverMultistepScheduler",
     R"("sigma_min":0.002,"sigma_max":80.0,"sigma_data":0.5,"sigma_schedule":"karras","num_train_timesteps":1000,)"
     R"("prediction_type":"epsilon","rho":7.0,"solver_order":2,"thresholding":false,)"
     R"("dynamic_thresholding_ratio":0.995,"sample_max_value":1.0,"algorithm_type":"dpmsolver++",)"
     R"("solver_type":"midpoint","lower_order_final":true,"euler_at_final":false,"final_sigmas_type":"zero")"},
    {"EDMEulerScheduler",
     R"("sigma_min":0.002,"sigma_max":80.0,"sigma_data":0.5,"sigma_schedule":"karras","num_train_timesteps":1000,)"
     R"("prediction_type":"epsilon","rho":7.0,"final_sigmas_type":"zero")"},
    {"EulerAncestralDiscreteScheduler",
     R"("num_train_timesteps":1000,"beta_start":0.0001,"beta_end":0.02,"beta_schedule":"linear",)"
     R"("trained_betas":null,"prediction_type":"epsilon","timestep_spacing":"linspace","steps_offset":0,)"
     R"("rescale_betas_zero_snr":false)"},
    {"EulerDiscreteScheduler",
     R"("num_train_timesteps":1000,"beta_start":0.0001,"beta_end":0.02,"beta_schedule":"linear",)"
     R"("trained_betas":null,"prediction_type":"epsilon","interpolation_type":"linear","use_karras_sigmas":false,)"
     R"("use_exponential_sigmas":false,"use_beta_sigmas":false,"sigma_min":null,"sigma_max":null,)"
     R"("timestep_spacing":"linspace","timestep_type":"discrete","steps_offset":0,"rescale_betas_zero_snr":false,)"
     R"("final_sigmas_type":"zero")"},
    {"FlowMatchEulerDiscreteScheduler",
     R"("num_train_timesteps":1000,"shift":1.0,"use_dynamic_shifting":false,"base_shift":0.5,"max_shift":1.15,)"
     R"("base_image_seq_len":256,"max_image_seq_len":4096,"invert_sigmas":false,"shift_terminal":null,)"
     R"("use_karras_sigmas":false,"use_exponential_sigmas":false,"use_beta_sigmas":false,)"
     R"("time_shift_type":"exponential","stochastic_sampling":false)"},
    {"FlowMatchHeunDiscreteScheduler", R"("num_train_timesteps":1000,"shift":1.0)"},
    {"FlowMatchLCMScheduler",
     R"("num_train_timesteps":1000,"shift":1.0,"use_dynamic_shifting":false,"base_shift":0.5,"max_shift":1.15,)"
     R"("base_image_seq_len":256,"max_image_seq_len":4096,"invert_sigmas":false,"shift_terminal":null,)"
     R"("use_karras_sigmas":false,"use_exponential_sigmas":false,"use_beta_sigmas":false,)"
     R"("time_shift_type":"exponential","scale_factors":null,"upscale_mode":"bicubic")"},
    {"HeunDiscreteScheduler",
     R"("num_train_timesteps":1000,"beta_start":0.00085,"beta_end":0.012,"beta_schedule":"linear",)"
     R"("trained_betas":null,"prediction_type":"epsilon","use_karras_sigmas":false,"use_exponential_sigmas":false,)"
     R"("use_beta_sigmas":false,"clip_sample":false,"clip_sample_range":1.0,"timestep_spacing":"linspace",)"
     R"("steps_offset":0)"},
    {"IPNDMScheduler", R"("num_train_timesteps":1000,"trained_betas":null)"},
    {"KDPM2AncestralDiscreteScheduler",
     R"("num_train_timesteps":1000,"beta_start":0.00085,"beta_end":0.012,"beta_schedule":"linear",)"
     R"("trained_betas":null,"use_karras_sigmas":false,"use_exponential_sigmas":false,"use_beta_sigmas":false,)"
     R"("prediction_type":"epsilon","timestep_spacing":"linspace","steps_offset":0)"},
    {"KDPM2DiscreteScheduler",
     R"("num_train_timesteps":1000,"beta_start":0.00085,"beta_end":0.012,"beta_schedule":"linear",)"
     R"("trained_betas":null,"use_karras_sigmas":false,"use_exponential_sigmas":false,"use_beta_sigmas":false,)"
     R"("prediction_type":"epsilon","timestep_spacing":"linspace","steps_offset":0)"},
    {"LCMScheduler",
     R"("num_train_timesteps":1000,"beta_start":0.00085,"beta_end":0.012,"beta_schedule":"scaled_linear",)"
     R"("trained_betas":null,"original_inference_steps":50,"clip_sample":false,"clip_sample_range":1.0,)"
     R"("set_alpha_to_one":true,"steps_offset":0,"prediction_type":"epsilon","thresholding":false,)"
     R"("dynamic_thresholding_ratio":0.995,"sample_max_value":1.0,"timestep_spacing":"leading",)"
     R"("timestep_scaling":10.0,"rescale_betas_zero_snr":false)"},
    {"LMSDiscreteScheduler",
     R"("num_train_timesteps":1000,"beta_start":0.0001,"beta_end":0.02,"beta_schedule":"linear",)"
     R"("trained_betas":null,"use_karras_sigmas":false,"use_exponential_sigmas":false,"use_beta_sigmas":false,)"
     R"("prediction_type":"epsilon","timestep_spacing":"linspace","steps_offset":0)"},
    {"LTXEulerAncestralRFScheduler", R"("num_train_timesteps":1000,"eta":1.0,"s_noise":1.0)"},
    {"PNDMScheduler",
     R"("num_train_timesteps":1000,"beta_start":0.0001,"beta_end":0.02,"beta_schedule":"linear",)"
     R"("trained_betas":null,"skip_prk_steps":false,"set_alpha_to_one":false,"prediction_type":"epsilon",)"
     R"("timestep_spacing":"leading","steps_offset":0)"},
    {"RePaintScheduler",
     R"("num_train_timesteps":1000,"beta_start":0.0001,"beta_end":0.02,"beta_schedule":"linear","eta":0.0,)"
     R"("trained_betas":null,"clip_sample":true)"},
    {"SASolverScheduler",
     R"("num_train_timesteps":1000,"beta_start":0.0001,"beta_end":0.02,"beta_schedule":"linear",)"
     R"("trained_betas":null,"predictor_order":2,"corrector_order":2,"prediction_type":"epsilon","tau_func":null,)"
     R"("thresholding":false,"dynamic_thresholding_ratio":0.995,"sample_max_value":1.0,)"
     R"("algorithm_type":"data_prediction","lower_order_final":true,"use_karras_sigmas":false,)"
     R"("use_exponential_sigmas":false,"use_beta_sigmas":false,"use_flow_sigmas":false,"flow_shift":1.0,)"
     R"("lambda_min_clipped":-1e+308,"variance_type":null,"timestep_spacing":"linspace","steps_offset":0)"},
    {"SCMScheduler", R"("num_train_timesteps":1000,"prediction_type":"trigflow","sigma_data":0.5)"},
    {"TCDScheduler",
     R"("num_train_timesteps":1000,"beta_start":0.00085,"beta_end":0.012,"beta_schedule":"scaled_linear",)"
     R"("trained_betas":null,"original_inference_steps":50,"clip_sample":false,"clip_sample_range":1.0,)"
     R"("set_alpha_to_one":true,"steps_offset":0,"prediction_type":"epsilon","thresholding":false,)"
     R"("dynamic_thresholding_ratio":0.995,"sample_max_value":1.0,"timestep_spacing":"leading",)"
     R"("timestep_scaling":10.0,"rescale_betas_zero_snr":false)"},
    {"UniPCMultistepScheduler",
     R"("num_train_timesteps":1000,"beta_start":0.0001,"beta_end":0.02,"beta_schedule":"linear",)"
     R"("trained_betas":null,"solver_order":2,"prediction_type":"epsilon","thresholding":false,)"
     R"("dynamic_thresholding_ratio":0.995,"sample_max_value":1.0,"predict_x0":true,"solver_type":"bh2",)"
     R"("lower_order_final":true,"disable_corrector":[],"solver_p":null,"use_karras_sigmas":false,)"
     R"("use_exponential_sigmas":false,"use_beta_sigmas":false,"use_flow_sigmas":false,"flow_shift":1.0,)"
     R"("timestep_spacing":"linspace","steps_offset":0,"final_sigmas_type":"zero","rescale_betas_zero_snr":false,)"
     R"("use_dynamic_shifting":false,"time_shift_type":"exponential","sigma_min":null,"sigma_max":null,)"
     R"("shift_terminal":null)"},
};
constexpr const char* kDiscrete = "its states are tokens, not levels of noise.";
constexpr const char* kOneModel = "it was written for one model and its pipeline chooses its steps.";

}  // namespace

const std::vector<SchedulerClass>& scheduler_classes() {
  static const std::vector<SchedulerClass> classes = [] {
    std::vector<SchedulerClass> parsed;
    for (const Signature& signature : kSignatures)
      parsed.push_back({signature.name, nlohmann::json::parse(std::string("{") + signature.defaults + "}")});
    return parsed;
  }();
  return classes;
}

const std::vector<RefusedScheduler>& refused_schedulers() {
  static const std::vector<RefusedScheduler> refused{
      {"AmusedScheduler", kDiscrete},
      {"BlockRefinementScheduler", kDiscrete},
      {"ConsistencyDecoderScheduler", kOneModel},
      {"DDPMWuerstchenScheduler", "its timesteps are real numbers given one by one by its pipeline."},
      {"DiscreteDDIMScheduler", kDiscrete},
      {"EntropyBoundScheduler", kDiscrete},
      {"FlowMapEulerDiscreteScheduler", "its network takes a second time, which a config does not say."},
      {"HeliosDMDScheduler", kOneModel},
      {"HeliosScheduler", kOneModel},
      {"KarrasVeScheduler", "its corrector is called by its pipeline, outside of the scheduler."},
      {"MiniMaxH3Scheduler", kOneModel},
      {"PiflowScheduler", "its network predicts policies, not a state."},
      {"RFD4ProteinaScheduler", kOneModel},
      {"ScoreSdeVeScheduler", "the length of its Langevin steps depends on the norms of a batch."},
      {"ScoreSdeVpScheduler", "its steps are given one by one by its pipeline."},
      {"UnCLIPScheduler", "its pipeline passes both ends of each step."},
      {"VQDiffusionScheduler", kDiscrete}};
  return refused;
}

}  // namespace thaw
