"""Random settings of diffusers' schedulers: golden_samplers.py and scheduler_fuzz.py draw from them."""
STEPS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 13, 14, 15, 16, 20, 25, 30)
BETAS = (("linear", 1e-4, 0.02), ("scaled_linear", 0.00085, 0.012), ("squaredcos_cap_v2", None, None),
         ("linear", 0.00085, 0.012), ("scaled_linear", 1e-3, 0.015))


def one_of(rng, *choices):
    return rng.choice(choices)


def betas(rng, config, others=()):
    name, start, end = rng.choice(BETAS + tuple((o, 1e-4, 0.02) for o in others))
    config["beta_schedule"] = name
    if start is not None:
        config["beta_start"], config["beta_end"] = start, end
    if rng.random() < 0.2:
        config["num_train_timesteps"] = rng.choice((100, 500, 250))
    if rng.random() < 0.03:
        config["num_train_timesteps"] = 40
        config["trained_betas"] = [round(0.002 + 0.004 * i + 0.01 * rng.random(), 4) for i in range(40)]


def spacing(rng, config, kinds=("linspace", "leading", "trailing")):
    config["timestep_spacing"] = rng.choice(kinds)
    if config["timestep_spacing"] == "leading" and rng.random() < 0.5:
        config["steps_offset"] = 1


def sigmas(rng, config, flow=True):
    kind = rng.random()
    if kind < 0.2:
        config["use_karras_sigmas"] = True
    elif kind < 0.35:
        config["use_exponential_sigmas"] = True
    elif kind < 0.5:
        config["use_beta_sigmas"] = True
    elif kind < 0.62 and flow:
        config["use_flow_sigmas"], config["prediction_type"] = True, "flow_prediction"
        config["flow_shift"] = rng.choice((1.0, 3.0, 5.0))


def predict(rng, config, kinds=("epsilon", "sample", "v_prediction")):
    config["prediction_type"] = rng.choice(kinds)


def thresholding(rng, config, has_clip=False):
    kind = rng.random()
    if kind < 0.25:
        config["thresholding"] = True
        config["dynamic_thresholding_ratio"] = rng.choice((0.995, 0.6))
        config["sample_max_value"] = rng.choice((1.0, 1.2))
    elif has_clip:
        config["clip_sample"] = kind < 0.6
        if config["clip_sample"]:
            config["clip_sample_range"] = rng.choice((1.0, 0.9))


def zero_snr(rng, config):
    if rng.random() < 0.25:
        config["rescale_betas_zero_snr"] = True
        if config.get("prediction_type") == "epsilon":
            config["prediction_type"] = "v_prediction"


def ddim(rng, config, case):
    betas(rng, config)
    spacing(rng, config)
    predict(rng, config)
    thresholding(rng, config, has_clip=True)
    zero_snr(rng, config)
    config["set_alpha_to_one"] = rng.random() < 0.5
    case["step"] = {"eta": rng.choice((0.0, 0.0, 0.5, 1.0))}
    at_least_two(case)


def at_least_two(case):
    """Where a single step may be one of no length, which is refused."""
    case["steps"] = max(case["steps"], 2)


def ddpm(rng, config, case):
    betas(rng, config, ("laplace", "sigmoid"))
    spacing(rng, config)
    predict(rng, config)
    thresholding(rng, config, has_clip=True)
    zero_snr(rng, config)
    config["variance_type"] = rng.choice(("fixed_small", "fixed_large", "fixed_small_log"))


def ddim_inverse(rng, config, case):
    at_least_two(case)
    betas(rng, config)
    spacing(rng, config, ("leading", "trailing"))
    predict(rng, config)
    config["clip_sample"] = False
    config["set_alpha_to_one"] = rng.random() < 0.5
    if config["timestep_spacing"] == "trailing" and config.get("num_train_timesteps", 1000) % case["steps"]:
        case["steps"] = 5


def pndm(rng, config, case):
    betas(rng, config)
    spacing(rng, config)
    predict(rng, config, ("epsilon", "v_prediction"))
    config["skip_prk_steps"] = rng.random() < 0.5
    config["set_alpha_to_one"] = rng.random() < 0.5
    case["steps"] = max(case["steps"], 5)


def euler(rng, config, case):
    betas(rng, config)
    spacing(rng, config)
    predict(rng, config)
    sigmas(rng, config, flow=False)
    config["final_sigmas_type"] = rng.choice(("zero", "zero", "sigma_min"))
    at_least_two(case)
    if rng.random() < 0.2:
        config["interpolation_type"] = "log_linear"
    if rng.random() < 0.2:
        config["sigma_min"], config["sigma_max"] = 0.05, 9.0
    if rng.random() < 0.15:
        config["timestep_type"] = "continuous"
    if rng.random() < 0.2:
        config["rescale_betas_zero_snr"] = True


def euler_ancestral(rng, config, case):
    betas(rng, config)
    spacing(rng, config)
    predict(rng, config, ("epsilon", "v_prediction"))
    if rng.random() < 0.2:
        config["rescale_betas_zero_snr"] = True


def karras_family(*kinds, clip=False, others=()):
    def fill(rng, config, case):
        betas(rng, config, others)
        spacing(rng, config)
        predict(rng, config, kinds)
        sigmas(rng, config, flow=False)
        if clip:
            config["clip_sample"] = rng.random() < 0.3
    return fill


def dpm_multistep(rng, config, case, has_final=True):
    at_least_two(case)
    betas(rng, config)
    spacing(rng, config)
    predict(rng, config)
    sigmas(rng, config)
    thresholding(rng, config)
    config["solver_order"] = rng.choice((1, 2, 2, 3, 3))
    config["solver_type"] = rng.choice(("midpoint", "heun"))
    config["algorithm_type"] = rng.choice(("dpmsolver++", "dpmsolver++", "dpmsolver", "sde-dpmsolver++",
                                           "sde-dpmsolver"))
    if config["solver_order"] == 3 and config["algorithm_type"] == "sde-dpmsolver":
        config["solver_order"] = 2
    if config["prediction_type"] == "flow_prediction" and "++" not in config["algorithm_type"]:
        config["algorithm_type"] = "dpmsolver++"
    config["lower_order_final"] = rng.random() < 0.7
    if rng.random() < 0.2:
        config["euler_at_final"] = True
    if not has_final:
        return
    config["final_sigmas_type"] = rng.choice(("zero", "sigma_min"))
    if "++" not in config["algorithm_type"]:
        config["final_sigmas_type"] = "sigma_min"
    # A stochastic step of no length is the rounding of 1 - e^0.
    if config["algorithm_type"].startswith("sde") and config["final_sigmas_type"] == "sigma_min":
        for key in ("use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas"):
            config.pop(key, None)
    if rng.random() < 0.15:
        config["lambda_min_clipped"] = -5.1
    if rng.random() < 0.1 and not any(k.startswith("use_") for k in config):
        config["use_lu_lambdas"] = True
    if rng.random() < 0.15:
        config["rescale_betas_zero_snr"] = True


def dpm_inverse(rng, config, case):
    dpm_multistep(rng, config, case, has_final=False)
    if config.get("num_train_timesteps", 1000) < 500:
        config.pop("use_karras_sigmas", None)  # rounded timesteps must differ
    if config.pop("use_flow_sigmas", False):
        config.pop("flow_shift")
        config["prediction_type"] = "epsilon"
    if config["algorithm_type"] == "sde-dpmsolver++" and config["solver_order"] == 3:
        config["solver_order"] = 2
    if config["algorithm_type"].startswith("sde"):
        config["algorithm_type"] = config["algorithm_type"][4:]


def dpm_singlestep(rng, config, case):
    at_least_two(case)
    betas(rng, config)
    predict(rng, config)
    sigmas(rng, config)
    thresholding(rng, config)
    config["solver_order"] = rng.choice((1, 2, 2, 3, 3))
    config["solver_type"] = rng.choice(("midpoint", "heun"))
    config["algorithm_type"] = rng.choice(("dpmsolver++", "dpmsolver", "sde-dpmsolver++"))
    if config["algorithm_type"] == "dpmsolver":
        config.pop("thresholding", None)
        if config["prediction_type"] == "flow_prediction":
            config["algorithm_type"] = "dpmsolver++"
    config["lower_order_final"] = rng.random() < 0.6
    config["final_sigmas_type"] = "sigma_min" if config["algorithm_type"] == "dpmsolver" else rng.choice(
        ("zero", "sigma_min"))
    if config["algorithm_type"] == "sde-dpmsolver++":
        config["final_sigmas_type"] = "zero"


def deis(rng, config, case):
    at_least_two(case)
    betas(rng, config)
    spacing(rng, config)
    predict(rng, config)
    sigmas(rng, config)
    thresholding(rng, config)
    config["solver_order"] = rng.choice((1, 2, 3, 3))
    config["lower_order_final"] = rng.random() < 0.7


def unipc(rng, config, case):
    at_least_two(case)
    betas(rng, config)
    spacing(rng, config)
    predict(rng, config)
    sigmas(rng, config)
    config["predict_x0"] = rng.random() < 0.75 or config["prediction_type"] == "flow_prediction"
    if config["predict_x0"]:
        thresholding(rng, config)
    config["solver_order"] = rng.choice((1, 2, 2, 3, 3))
    config["solver_type"] = rng.choice(("bh1", "bh2"))
    config["final_sigmas_type"] = rng.choice(("zero", "sigma_min"))
    config["lower_order_final"] = rng.random() < 0.8
    if rng.random() < 0.25:
        config["disable_corrector"] = rng.choice(([0], [0, 1, 2], list(range(40))))
    if config.get("use_flow_sigmas") and rng.random() < 0.4:
        config["shift_terminal"] = 0.1
    if rng.random() < 0.15:
        config["rescale_betas_zero_snr"] = True


def sa_solver(rng, config, case):
    at_least_two(case)
    betas(rng, config)
    spacing(rng, config)
    predict(rng, config)
    sigmas(rng, config)
    thresholding(rng, config)
    config["predictor_order"] = rng.choice((1, 2, 2, 3))
    config["corrector_order"] = rng.choice((1, 2, 2, 3, 4))
    config["lower_order_final"] = rng.random() < 0.8


def edm_euler(rng, config, case):
    at_least_two(case)
    predict(rng, config, ("epsilon", "v_prediction"))
    config["sigma_schedule"] = rng.choice(("karras", "exponential"))
    config["final_sigmas_type"] = rng.choice(("zero", "sigma_min"))
    if rng.random() < 0.4:
        config["sigma_min"], config["sigma_max"], config["rho"] = 0.01, 40.0, 5.0
    if rng.random() < 0.4:
        config["sigma_data"] = 1.0


def edm_dpm(rng, config, case):
    edm_euler(rng, config, case)
    config["solver_order"] = rng.choice((1, 2, 3))
    config["solver_type"] = rng.choice(("midpoint", "heun"))
    config["algorithm_type"] = rng.choice(("dpmsolver++", "sde-dpmsolver++"))
    if config["algorithm_type"] == "sde-dpmsolver++":
        config["solver_order"] = min(config["solver_order"], 2)
    config["lower_order_final"] = rng.random() < 0.7
    config["euler_at_final"] = rng.random() < 0.2
    if rng.random() < 0.3:
        config["thresholding"] = True


def cosine_dpm(rng, config, case):
    edm_euler(rng, config, case)
    config["solver_order"] = rng.choice((1, 2))
    config["solver_type"] = rng.choice(("midpoint", "heun"))
    config["lower_order_final"] = rng.random() < 0.7


def flow_euler(rng, config, case):
    config["shift"] = rng.choice((1.0, 3.0, 7.0))
    sigmas(rng, config, flow=False)
    if rng.random() < 0.25:
        config["use_dynamic_shifting"] = True
        config["time_shift_type"] = rng.choice(("exponential", "linear"))
        case["set"] = {"mu": rng.choice((0.5, 1.15, 2.0))}
    if rng.random() < 0.25 and case["steps"] > 1:
        config["shift_terminal"] = rng.choice((0.02, 0.1))
    if rng.random() < 0.2:
        config["num_train_timesteps"] = 500


def flow_match_euler(rng, config, case):
    flow_euler(rng, config, case)
    if rng.random() < 0.2:
        config["stochastic_sampling"] = True


def flow_heun(rng, config, case):
    config["shift"] = rng.choice((1.0, 3.0, 7.0))


def ltx(rng, config, case):
    config["eta"] = rng.choice((0.0, 0.5, 1.0))
    config["s_noise"] = rng.choice((1.0, 1.0, 0.9))


def lcm(rng, config, case):
    betas(rng, config)
    predict(rng, config)
    thresholding(rng, config, has_clip=True)
    zero_snr(rng, config)
    config["original_inference_steps"] = rng.choice((50, 40))
    config["timestep_scaling"] = rng.choice((10.0, 1.0))
    if case["steps"] > 8:
        case["steps"] -= 8


def tcd(rng, config, case):
    lcm(rng, config, case)
    case["step"] = {"eta": rng.choice((0.0, 0.3, 0.3, 0.7, 1.0))}


def cm(rng, config, case):
    config["clip_denoised"] = rng.random() < 0.5
    config["num_train_timesteps"] = rng.choice((40, 18))
    config["s_noise"] = rng.choice((1.0, 1.0, 0.9))
    case["steps"] = min(case["steps"], 18)


def repaint(rng, config, case):
    betas(rng, config, ("sigmoid",))
    config.pop("trained_betas", None)
    config["eta"] = rng.choice((0.0, 0.5, 1.0))
    config["clip_sample"] = rng.random() < 0.5


def cogvideox(rng, config, case):
    at_least_two(case)
    betas(rng, config)
    spacing(rng, config)
    predict(rng, config)
    zero_snr(rng, config)
    config["set_alpha_to_one"] = rng.random() < 0.5
    config["snr_shift_scale"] = rng.choice((3.0, 1.0))


def cogvideox_dpm(rng, config, case):
    cogvideox(rng, config, case)
    config["set_alpha_to_one"] = True


def nothing(rng, config, case):
    pass


FILES = {
    "tables": [("DDIMScheduler", ddim, 40), ("DDIMParallelScheduler", ddim, 6), ("DDPMScheduler", ddpm, 30),
               ("DDPMParallelScheduler", ddpm, 5), ("DDIMInverseScheduler", ddim_inverse, 15),
               ("PNDMScheduler", pndm, 25), ("LCMScheduler", lcm, 20), ("TCDScheduler", tcd, 20),
               ("RePaintScheduler", repaint, 10), ("CogVideoXDDIMScheduler", cogvideox, 12),
               ("CogVideoXDPMScheduler", cogvideox_dpm, 12)],
    "sigmas": [("EulerDiscreteScheduler", euler, 40), ("EulerAncestralDiscreteScheduler", euler_ancestral, 15),
               ("HeunDiscreteScheduler", karras_family("epsilon", "v_prediction", "sample", clip=True,
                                                       others=("exp",)), 25),
               ("KDPM2DiscreteScheduler", karras_family("epsilon", "v_prediction"), 15),
               ("KDPM2AncestralDiscreteScheduler", karras_family("epsilon", "v_prediction"), 15),
               ("LMSDiscreteScheduler", karras_family("epsilon", "v_prediction", "sample"), 20),
               ("DPMSolverSDEScheduler", karras_family("epsilon", "v_prediction"), 15),
               ("EDMEulerScheduler", edm_euler, 12), ("EDMDPMSolverMultistepScheduler", edm_dpm, 20),
               ("CosineDPMSolverMultistepScheduler", cosine_dpm, 12), ("CMStochasticIterativeScheduler", cm, 12),
               ("IPNDMScheduler", nothing, 8), ("SCMScheduler", nothing, 5)],
    "multistep": [("DPMSolverMultistepScheduler", dpm_multistep, 80),
                  ("DPMSolverMultistepInverseScheduler", dpm_inverse, 15),
                  ("DPMSolverSinglestepScheduler", dpm_singlestep, 50)],
    "predictors": [("DEISMultistepScheduler", deis, 30), ("UniPCMultistepScheduler", unipc, 60),
                   ("SASolverScheduler", sa_solver, 50)],
    "flow": [("FlowMatchEulerDiscreteScheduler", flow_match_euler, 30),
             ("FlowMatchHeunDiscreteScheduler", flow_heun, 8), ("FlowMatchLCMScheduler", flow_euler, 12),
             ("LTXEulerAncestralRFScheduler", ltx, 10)],
}


def draw_case(rng, name, fill):
    case = {"config": {"_class_name": name}, "steps": rng.choice(STEPS), "seed": rng.randrange(1 << 30)}
    fill(rng, case["config"], case)
    return {key: value for key, value in case.items() if value not in ({}, None)}
