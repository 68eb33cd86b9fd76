"""What a diffusers scheduler config is in our schedules and grids; golden_grids.py checks it level by level."""
import math

FLOOR = 2.0**-24
# Classes that put alpha_bar = 2^-24 at the end of a table they rescale.
FLOORED = {"EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler", "DPMSolverMultistepScheduler",
           "UniPCMultistepScheduler"}
# N points from the noisiest to the cleanest timestep; sigma interpolated between timesteps.
INTERPOLATING = {"EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler", "HeunDiscreteScheduler",
                 "LMSDiscreteScheduler", "KDPM2DiscreteScheduler", "KDPM2AncestralDiscreteScheduler",
                 "DPMSolverSDEScheduler"}
# N + 1 points, the cleanest left out; whole timesteps.
MULTISTEP = {"DPMSolverMultistepScheduler", "DPMSolverSinglestepScheduler", "UniPCMultistepScheduler",
             "DEISMultistepScheduler", "SASolverScheduler"}
ALWAYS_SIGMA_MIN = {"DEISMultistepScheduler", "SASolverScheduler"}
FLOW = {"FlowMatchEulerDiscreteScheduler", "FlowMatchHeunDiscreteScheduler"}
EDM = {"EDMEulerScheduler", "EDMDPMSolverMultistepScheduler", "CosineDPMSolverMultistepScheduler"}
TABLES = {"linear": "linear", "scaled_linear": "scaled_linear", "squaredcos_cap_v2": "squaredcos",
          "sigmoid": "sigmoid_betas", "exp": "exp_betas", "laplace": "laplace_betas"}
SPACED = {"use_karras_sigmas": "karras", "use_exponential_sigmas": "exponential", "use_beta_sigmas": "beta",
          "use_lu_lambdas": "uniform_lambda"}


def flow_text(options):
    """YAML flow text of a section's options."""
    def one(value):
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, (list, tuple)):
            return "[" + ", ".join(one(v) for v in value) + "]"
        return repr(float(value)) if isinstance(value, float) else str(value)
    return ", ".join(f"{key}: {one(value)}" for key, value in options.items())


def table_of(name, config):
    """Our schedule of a discrete scheduler config."""
    options = {}
    if config["trained_betas"] is not None:
        kind, options["betas"] = "betas", list(config["trained_betas"])
    else:
        kind = TABLES[config["beta_schedule"]]
        options["timesteps"] = config["num_train_timesteps"]
        if kind in ("linear", "scaled_linear", "sigmoid_betas"):
            options["beta_start"], options["beta_end"] = float(config["beta_start"]), float(config["beta_end"])
    if config.get("snr_shift_scale", 1.0) != 1.0:
        options["snr_shift"] = float(config["snr_shift_scale"])
    if config.get("rescale_betas_zero_snr"):
        options["zero_terminal_snr"] = True
        if name in FLOORED:
            options["last_alpha_bar"] = FLOOR
    # The clip moves the spacings of timesteps only; the ranges of karras and its kin are the whole table's.
    if config.get("lambda_min_clipped", -math.inf) > -math.inf and not any(config.get(k) for k in SPACED):
        options["lambda_cut"] = float(config["lambda_min_clipped"])
    return kind, options


def spaced_kind(config):
    return next((ours for key, ours in SPACED.items() if config.get(key)), None)


def spaced_options(kind):
    return {"variable": "ratio"} if kind == "beta" else {}


def interpolating(name, config, steps):
    schedule = table_of(name, config)
    spacing, offset = config["timestep_spacing"], config["steps_offset"]
    kind = spaced_kind(config)
    is_log = config.get("interpolation_type", "linear") == "log_linear"
    if is_log and kind is None:
        return *schedule, "uniform_lambda", {"steps": steps, "final": "sigma_min"}
    ends_low = is_log or spacing == "linspace" or (spacing == "leading" and offset == 0)
    final = {"steps": steps, "final": "clean"}
    if config.get("final_sigmas_type", "zero") == "sigma_min":
        final = {"steps": steps - 1, "final": "sigma_min"} if ends_low else {"steps": steps, "final": "then_sigma_min"}
    if kind is not None:
        ends = {"ends": spacing, "offset": offset} if spacing != "linspace" and not is_log else {}
        return *schedule, kind, {**final, **spaced_options(kind), **ends}
    own = {"linspace": {"round": False, "interpolation": "ratio"}, "leading": {"offset": offset}, "trailing": {}}
    return *schedule, spacing, {**final, **own[spacing]}


def multistep_flow(name, config, steps, sigma_first, options):
    """use_flow_sigmas of the multistep schedulers."""
    train = config["num_train_timesteps"]
    shift = float(config["flow_shift"])
    if config.get("use_dynamic_shifting"):
        shift = math.exp(options["mu"]) if config["time_shift_type"] == "exponential" else float(options["mu"])
    ends_low = config.get("final_sigmas_type", "sigma_min") == "sigma_min"
    if name == "UniPCMultistepScheduler":
        if config["use_karras_sigmas"]:
            high, low = sigma_first
            grid = {"sigma_min": low, "sigma_max": high}
            final = {"steps": steps - 1, "final": "sigma_min"} if ends_low else {"steps": steps, "final": "clean"}
            return "flow", {}, "karras", {**grid, **final}
        t_min = 1 - (1 - 1 / train) * (steps - 1) / steps
        schedule = {"shift": shift, "t_min": t_min, "alpha_min": 1e-6}
        if config["shift_terminal"]:
            schedule["shift_terminal"] = float(config["shift_terminal"])
        if ends_low:
            return "flow", schedule, "linspace", {"steps": steps - 1, "final": "sigma_min"}
        return "flow", schedule, "linspace", {"steps": steps, "final": "clean"}
    t_max = 1 - 1 / train
    if name in ALWAYS_SIGMA_MIN:
        return "flow", {"shift": shift, "t_max": t_max, "t_min": t_max / steps}, "trailing", {"steps": steps - 1,
                                                                                            "final": "sigma_min"}
    if not ends_low:
        return "flow", {"shift": shift, "t_max": t_max}, "trailing", {"steps": steps, "final": "clean"}
    last = sigma_first[1]  # the table's smallest sigma / alpha, which the peer then takes for a sigma
    return "flow", {"shift": shift, "t_max": t_max, "t_min": last / (shift - (shift - 1) * last)}, "trailing", {
        "steps": steps, "final": "then_sigma_min"}


def multistep(name, config, steps, sigma_ends, options):
    if config["use_flow_sigmas"]:
        return multistep_flow(name, config, steps, sigma_ends, options)
    schedule = table_of(name, config)
    ends_low = name in ALWAYS_SIGMA_MIN or config["final_sigmas_type"] == "sigma_min"
    kind = spaced_kind(config)
    if kind is not None:
        final = {"steps": steps - 1, "final": "sigma_min"} if ends_low else {"steps": steps, "final": "clean"}
        return *schedule, kind, {**final, **spaced_options(kind)}
    spacing = config.get("timestep_spacing", "linspace")
    own = {"linspace": {"drop_last": True}, "trailing": {},
           "leading": {"drop_last": True, "offset": config.get("steps_offset", 0)}}
    return *schedule, spacing, {"steps": steps, "final": "then_sigma_min" if ends_low else "clean", **own[spacing]}


def flow_match(config, steps, options):
    shift, train = float(config["shift"]), config["num_train_timesteps"]
    schedule = {"t_min": 1 / train}
    if config.get("use_dynamic_shifting"):
        kind = "flow_dynamic"
        schedule.update(image_seq_len=options["image_seq_len"], base_shift=config["base_shift"],
                        max_shift=config["max_shift"], time_shift=config["time_shift_type"])
    else:
        # The smallest input is a shifted one already, and is shifted again.
        kind = "flow"
        schedule = {"shift": shift, "t_min": shift / train / (1 + (shift - 1) / train)}
    if config.get("shift_terminal"):
        schedule["shift_terminal"] = float(config["shift_terminal"])
    grid = spaced_kind(config)
    if grid is None:
        return kind, schedule, "linspace", {"steps": steps, "final": "clean"}
    return kind, schedule, grid, {"steps": steps, "final": "clean", "variable": "sigma"}


def edm(name, config, steps):
    schedule = {"sigma_min": float(config["sigma_min"]), "sigma_max": float(config["sigma_max"])}
    ends_low = config["final_sigmas_type"] == "sigma_min"
    grid = {"steps": steps - 1, "final": "sigma_min"} if ends_low else {"steps": steps, "final": "clean"}
    if config["sigma_schedule"] == "karras":
        grid["rho"] = float(config["rho"])
    return "edm", schedule, config["sigma_schedule"], grid


def by_timestep(name, config, steps):
    """DDIM, DDPM and PNDM: alpha_bar at whole timesteps."""
    schedule = table_of(name, config)
    spacing, offset = config["timestep_spacing"], config["steps_offset"]
    ends_low = not config.get("set_alpha_to_one", True)
    grid = {"steps": steps, "final": "then_sigma_min" if ends_low else "clean"}
    if ends_low and (spacing == "linspace" or (spacing == "leading" and offset == 0)):
        grid = {"steps": steps - 1, "final": "sigma_min"}
    if spacing == "leading":
        grid["offset"] = offset
    return *schedule, spacing, grid


def ours(name, config, steps, sigma_ends, options):
    """(schedule, its options, grid, its options) that make the levels of a scheduler config."""
    if "timesteps" in options:
        return *table_of(name, config), "list", {"by": "time", "levels": options["timesteps"]}
    if "sigmas" in options:
        return *table_of(name, config), "list", {"by": "ratio", "levels": options["sigmas"]}
    if name in INTERPOLATING:
        return interpolating(name, config, steps)
    if name in MULTISTEP:
        return multistep(name, config, steps, sigma_ends, options)
    if name in FLOW:
        return flow_match(config, steps, options)
    if name in EDM:
        return edm(name, config, steps)
    if name in ("LCMScheduler", "TCDScheduler"):
        end = "clean" if name == "LCMScheduler" or config["set_alpha_to_one"] else "then_sigma_min"
        return *table_of(name, config), "lcm", {"steps": steps, "final": end,
                                                "original_steps": options.get("original_inference_steps",
                                                                              config["original_inference_steps"])}
    if name == "IPNDMScheduler":
        return "trigflow", {"sigma_data": 1.0, "t_min": 1e-7}, "crash", {"steps": steps, "final": "clean"}
    if name == "SCMScheduler":
        return "trigflow", {"t_max": options["max_timesteps"], "t_min": 1e-7}, "trailing", {"steps": steps,
                                                                                           "final": "clean"}
    return by_timestep(name, config, steps)
