"""Runs diffusers' own schedulers with an exact denoiser; golden_samplers.py and scheduler_fuzz.py use it.

Data are the one-dimensional mixture 0.3 N(-1, 0.25^2) + 0.7 N(0.8, 0.4^2) in each of four coordinates, so that the
denoiser is a formula and any difference is the scheduler's. A case is run twice: "double", the peer's code with its
float32 constants replaced by float64 (torch and numpy are wrapped inside its modules); and "shipped", the code as it
is. Start and noise are not stored: they come from splitmix64, so that a case is its config, a seed and its end.
"""
import importlib
import math
import warnings

import numpy
import torch

warnings.filterwarnings("ignore")
COUNT = 4
MASK = (1 << 64) - 1
PARTS = ((0.3, -1.0, 0.25**2), (0.7, 0.8, 0.4**2))
MODULES = {
    "CMStochasticIterativeScheduler": "consistency_models",
    "CogVideoXDDIMScheduler": "ddim_cogvideox",
    "CogVideoXDPMScheduler": "dpm_cogvideox",
    "CosineDPMSolverMultistepScheduler": "cosine_dpmsolver_multistep",
    "DDIMInverseScheduler": "ddim_inverse",
    "DDIMParallelScheduler": "ddim_parallel",
    "DDIMScheduler": "ddim",
    "DDPMParallelScheduler": "ddpm_parallel",
    "DDPMScheduler": "ddpm",
    "DEISMultistepScheduler": "deis_multistep",
    "DPMSolverMultistepInverseScheduler": "dpmsolver_multistep_inverse",
    "DPMSolverMultistepScheduler": "dpmsolver_multistep",
    "DPMSolverSDEScheduler": "dpmsolver_sde",
    "DPMSolverSinglestepScheduler": "dpmsolver_singlestep",
    "EDMDPMSolverMultistepScheduler": "edm_dpmsolver_multistep",
    "EDMEulerScheduler": "edm_euler",
    "EulerAncestralDiscreteScheduler": "euler_ancestral_discrete",
    "EulerDiscreteScheduler": "euler_discrete",
    "FlowMatchEulerDiscreteScheduler": "flow_match_euler_discrete",
    "FlowMatchHeunDiscreteScheduler": "flow_match_heun_discrete",
    "FlowMatchLCMScheduler": "flow_match_lcm",
    "HeunDiscreteScheduler": "heun_discrete",
    "IPNDMScheduler": "ipndm",
    "KDPM2AncestralDiscreteScheduler": "k_dpm_2_ancestral_discrete",
    "KDPM2DiscreteScheduler": "k_dpm_2_discrete",
    "LCMScheduler": "lcm",
    "LMSDiscreteScheduler": "lms_discrete",
    "LTXEulerAncestralRFScheduler": "ltx_euler_ancestral_rf",
    "PNDMScheduler": "pndm",
    "RePaintScheduler": "repaint",
    "SASolverScheduler": "sasolver",
    "SCMScheduler": "scm",
    "TCDScheduler": "tcd",
    "UniPCMultistepScheduler": "unipc_multistep",
}
EXPLODING = {"EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler", "HeunDiscreteScheduler",
             "KDPM2DiscreteScheduler", "KDPM2AncestralDiscreteScheduler", "LMSDiscreteScheduler",
             "DPMSolverSDEScheduler"}
PRECONDITIONED = {"EDMEulerScheduler", "EDMDPMSolverMultistepScheduler", "CosineDPMSolverMultistepScheduler"}
STRAIGHT = {"FlowMatchEulerDiscreteScheduler", "FlowMatchHeunDiscreteScheduler", "FlowMatchLCMScheduler",
            "LTXEulerAncestralRFScheduler"}
TWO_CALLS = {"HeunDiscreteScheduler", "KDPM2DiscreteScheduler", "KDPM2AncestralDiscreteScheduler",
             "DPMSolverSDEScheduler", "FlowMatchHeunDiscreteScheduler"}
# Steps in timesteps of their table, whose levels no `sigmas` list holds.
TABLE = {"DDIMScheduler", "DDIMParallelScheduler", "DDPMScheduler", "DDPMParallelScheduler", "DDIMInverseScheduler",
         "PNDMScheduler", "LCMScheduler", "TCDScheduler", "RePaintScheduler", "CogVideoXDDIMScheduler",
         "CogVideoXDPMScheduler"}


def uniform(seed, stream, index):
    """A number of variance 1 in (-sqrt 3, sqrt 3): splitmix64, Steele et al. 2014."""
    z = (seed * 0x9E3779B97F4A7C15 + stream * 0xBF58476D1CE4E5B9 + index * 0x94D049BB133111EB) & MASK
    z = (z + 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    z ^= z >> 31
    return math.sqrt(12.0) * ((z >> 11) * 2.0**-53 - 0.5)


def draw(seed, stream):
    values = [uniform(seed, stream, i) for i in range(COUNT)]
    return torch.tensor(values, dtype=torch.float64).reshape(1, COUNT, 1, 1)  # thresholding wants pictures


def denoise(x, alpha, sigma):
    """E[x0 | x] of the mixture; alpha and sigma are floats."""
    logs, means = [], []
    for share, mean, own in PARTS:
        total = alpha * alpha * own + sigma * sigma
        gap = x - alpha * mean
        logs.append(math.log(share) - 0.5 * gap * gap / total - 0.5 * math.log(total))
        means.append(mean + alpha * own / total * gap)
    top = torch.maximum(logs[0], logs[1])
    weights = [torch.exp(value - top) for value in logs]
    return (weights[0] * means[0] + weights[1] * means[1]) / (weights[0] + weights[1])


class InDouble:
    """A module that calls its float32 float64."""

    def __init__(self, module):
        self._module = module

    def __getattr__(self, name):
        return getattr(self._module, "float64" if name == "float32" else name)


class Brownian:
    """Normalised increments of one Brownian motion over sigma: those from one sigma on share their beginning."""

    def __init__(self, noise):
        self._noise, self._start, self._drawn = noise, None, []

    def __call__(self, start, end):
        start, end = float(start), float(end)
        if start != self._start:
            self._start, self._drawn = start, []
        for drawn_end, value in self._drawn:
            share = (start - drawn_end) / (start - end)
            return math.sqrt(share) * value + math.sqrt(1.0 - share) * self._noise()
        self._drawn.append((end, self._noise()))
        return self._drawn[-1][1]


class Patched:
    """The peer's modules with our noise and, on request, in double."""

    def __init__(self, in_double, noise, keeps_default=False):
        self._in_double, self._noise, self._saved = in_double, noise, []
        self._keeps_default = keeps_default

    def _set(self, module, name, value):
        self._saved.append((module, name, getattr(module, name)))
        setattr(module, name, value)

    def __enter__(self):
        for name in MODULES.values():
            module = importlib.import_module("diffusers.schedulers.scheduling_" + name)
            if hasattr(module, "randn_tensor"):
                self._set(module, "randn_tensor", lambda shape, **_: self._noise().reshape(shape))
            if hasattr(module, "BrownianTreeNoiseSampler"):
                self._set(module, "BrownianTreeNoiseSampler", lambda *_, **__: Brownian(self._noise))
            if self._in_double:
                self._set(module, "torch", InDouble(torch))
                if hasattr(module, "np"):
                    self._set(module, "np", InDouble(numpy))
        # TCD rounds (1 - eta) t down: which timestep that is depends on the default type, as nothing else does.
        torch.set_default_dtype(torch.float64 if self._in_double and not self._keeps_default else torch.float32)

    def __exit__(self, *_):
        for module, name, value in reversed(self._saved):
            setattr(module, name, value)
        torch.set_default_dtype(torch.float32)


class Walk:
    """One run of a scheduler: what it asks of the network, and its answers from the exact denoiser."""

    def __init__(self, case, in_double):
        self.case, self.in_double = case, in_double
        self.name = case["config"]["_class_name"]
        self.seed = case["seed"]
        self.call, self.step, self.within = 0, 0, 0
        self.states, self.levels = [], []

    def next_noise(self):
        stream = 1 + 2 * self.step + self.within
        # CogVideoX's DPM draws twice and keeps the second.
        if self.name not in ("KDPM2AncestralDiscreteScheduler", "CogVideoXDPMScheduler"):
            self.within = 1
        return draw(self.seed, stream)

    def make(self):
        module = importlib.import_module("diffusers.schedulers.scheduling_" + MODULES[self.name])
        options = {k: v for k, v in self.case["config"].items() if not k.startswith("_")}
        return getattr(module, self.name)(**options)

    def level(self, scheduler, t):
        """(alpha, sigma) the scheduler takes this call's state to be at, as floats."""
        if self.name in TABLE:
            if self.name == "DDIMInverseScheduler":
                t = min(int(t), scheduler.config.num_train_timesteps - 1)
            a = float(scheduler.alphas_cumprod[int(t)])
            return math.sqrt(a), math.sqrt(1.0 - a)
        if self.name == "IPNDMScheduler":
            i = scheduler.step_index or 0
            return float(scheduler.alphas[i]), float(scheduler.betas[i])
        if self.name == "SCMScheduler":
            s = float(scheduler.timesteps[scheduler.step_index or 0])
            return math.cos(s), scheduler.config.sigma_data * math.sin(s)
        i = scheduler.step_index or 0
        sigma = scheduler.sigmas[i]
        if self.name in TWO_CALLS and not getattr(scheduler, "state_in_first_order", True):
            if self.name == "KDPM2DiscreteScheduler":
                sigma = scheduler.sigmas_interpol[i]
            elif self.name == "KDPM2AncestralDiscreteScheduler":
                sigma = scheduler.sigmas_interpol[i - 1]
            elif self.name == "DPMSolverSDEScheduler":
                sigma = scheduler.mid_point_sigma
        sigma = float(sigma)
        if self.name in STRAIGHT or getattr(scheduler.config, "use_flow_sigmas", False):
            return 1.0 - sigma, sigma
        if self.name in EXPLODING or self.name in PRECONDITIONED or self.name == "CMStochasticIterativeScheduler":
            return 1.0, sigma
        alpha = 1.0 / math.sqrt(sigma * sigma + 1.0)
        return alpha, sigma * alpha

    def answer(self, scheduler, x, alpha, sigma):
        """What a perfect network of the configured prediction returns."""
        d = denoise(x, alpha, sigma)
        kind = getattr(scheduler.config, "prediction_type", "epsilon")
        if self.name in PRECONDITIONED or self.name == "CMStochasticIterativeScheduler":
            return self.preconditioned(scheduler, x, d, sigma, kind)
        if self.name in STRAIGHT or kind == "flow_prediction":
            return (x - d) / sigma
        if kind in ("sample", "original_sample"):
            return d
        if self.name in EXPLODING and kind == "v_prediction":
            root = math.sqrt(sigma * sigma + 1.0)
            return (x / (root * root) - d) * root / sigma
        if self.name == "SCMScheduler":  # the derivative in its angle; noise has the data's scale
            data = scheduler.config.sigma_data
            return alpha * data * (x - alpha * d) / sigma - sigma / data * d
        if self.name == "IPNDMScheduler":
            kind = "v_prediction"
        eps = (x - alpha * d) / sigma
        return alpha * eps - sigma * d if kind == "v_prediction" else eps

    def preconditioned(self, scheduler, x, d, sigma, kind):
        data = scheduler.config.sigma_data
        if self.name == "CMStochasticIterativeScheduler":
            low = scheduler.config.sigma_min
            skip = data**2 / ((sigma - low) ** 2 + data**2)
            out = (sigma - low) * data / math.sqrt(sigma**2 + data**2)
            return (d - skip * x) / out
        skip = data**2 / (sigma**2 + data**2)
        out = sigma * data / math.sqrt(sigma**2 + data**2)
        return (d - skip * x) / (-out if kind == "v_prediction" else out)

    def start(self, scheduler):
        x = draw(self.seed, 0)
        if self.name == "SCMScheduler":  # its pipeline scales the noise
            return x * scheduler.config.sigma_data
        return x * float(getattr(scheduler, "init_noise_sigma", 1.0))

    def set_steps(self, scheduler):
        options = dict(self.case.get("set", {}))
        if self.name == "SCMScheduler" and self.case["steps"] != 2:
            options["intermediate_timesteps"] = None
        if self.name == "RePaintScheduler":
            options.update(jump_length=1, jump_n_sample=1)
        scheduler.set_timesteps(self.case["steps"], **options)
        if hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(0)

    def run(self):
        with Patched(self.in_double, self.next_noise, keeps_default=self.name == "TCDScheduler"):
            scheduler = self.make()
            self.set_steps(scheduler)
            x = self.start(scheduler)
            timesteps = scheduler.timesteps
            if self.name == "SCMScheduler":
                if self.in_double:  # .float() is written out in this one
                    scheduler.timesteps = timesteps = exact_scm_times(self.case["steps"])
                timesteps = timesteps[:-1]
            old = None
            for i, t in enumerate(timesteps):
                if hasattr(scheduler, "scale_model_input"):
                    scheduler.scale_model_input(x, t)
                alpha, sigma = self.level(scheduler, t)
                self.levels.append((alpha, sigma))
                out = self.answer(scheduler, x, alpha, sigma)
                options = dict(self.case.get("step", {}))
                self.within = self.call % 2 if self.name == "DPMSolverSDEScheduler" else 0
                if self.name == "CogVideoXDPMScheduler":
                    back = timesteps[i - 1] if i > 0 else None  # as the peer's pipeline calls it
                    x, old = scheduler.step(out, old, t, back, x, return_dict=False)
                elif self.name == "RePaintScheduler":
                    x = scheduler.step(out, t, x, torch.zeros_like(x), torch.zeros_like(x)).prev_sample
                else:
                    x = scheduler.step(out, t, x, **options).prev_sample
                x = x.double()
                self.count(scheduler, i, x)
        return self

    def count(self, scheduler, i, x):
        """A step has ended unless the scheduler waits for a second call."""
        self.call += 1
        self.within = 0
        if self.name == "PNDMScheduler":
            ended = scheduler.cur_sample is None or not self.in_pndm_stage(scheduler, i)
        else:
            ended = self.name not in TWO_CALLS or scheduler.state_in_first_order
        if ended or i + 1 == len(scheduler.timesteps):
            self.step += 1
            self.states.append(x.numpy().reshape(-1).copy())
            self.call = 0

    def in_pndm_stage(self, scheduler, i):
        if scheduler.config.skip_prk_steps:
            return i == 0
        return i < 12 and i % 4 != 3


def exact_scm_times(steps):
    times = [1.5708, 1.3, 0.0] if steps == 2 else numpy.linspace(1.5708, 0.0, steps + 1)
    return torch.tensor(times, dtype=torch.float64)


def run_case(case, in_double):
    return Walk(case, in_double).run()
