"""Writes tests/golden/samplers_diffusers.json: trajectories of diffusers' own schedulers with an exact denoiser.

Run:  python tests/peers/golden_samplers.py     (needs torch, numpy and diffusers 0.42.1; CPU, a few seconds)

Data are the one-dimensional mixture 0.3 N(-1, 0.25^2) + 0.7 N(0.8, 0.4^2), so that the denoiser is a formula and any
difference is the solver's. Each case is run twice: "double", the peer's code with its float32 constants replaced by
float64 (torch and numpy are wrapped inside its module), to compare algebra to 1e-12; and "shipped", the same code as it
is, whose float32 tables limit agreement to about 1e-5. States are stored as variance-preserving ones.
"""
import hashlib
import importlib
import json
import pathlib

import diffusers
import numpy
import torch

HERE = pathlib.Path(__file__).resolve()
STEPS = 10
COUNT = 4
TABLES = {"linear": (1e-4, 0.02), "scaled_linear": (0.00085, 0.012)}
MODULES = {
    "DDIMScheduler": "scheduling_ddim",
    "DDPMScheduler": "scheduling_ddpm",
    "EulerDiscreteScheduler": "scheduling_euler_discrete",
    "HeunDiscreteScheduler": "scheduling_heun_discrete",
    "DPMSolverMultistepScheduler": "scheduling_dpmsolver_multistep",
}
# peer, our sampler, our options, spacing, arguments of the peer, arguments of its step
CASES = [
    ("DDIMScheduler", "ddim", "", "leading", {"clip_sample": False}, {}),
    ("DDIMScheduler", "ddim", "", "trailing", {"clip_sample": False}, {}),
    ("DDIMScheduler", "ddim", "eta: 1", "leading", {"clip_sample": False}, {"eta": 1.0}),
    ("DDIMScheduler", "ddim", "eta: 1", "trailing", {"clip_sample": False}, {"eta": 1.0}),
    ("DDIMScheduler", "ddim", "eta: 0.5", "trailing", {"clip_sample": False}, {"eta": 0.5}),
    ("DDPMScheduler", "ddpm", "variance: small", "leading", {"clip_sample": False, "variance_type": "fixed_small"}, {}),
    ("DDPMScheduler", "ddpm", "variance: large", "leading", {"clip_sample": False, "variance_type": "fixed_large"}, {}),
    ("EulerDiscreteScheduler", "euler", "", "leading", {}, {}),
    ("EulerDiscreteScheduler", "euler", "", "trailing", {}, {}),
    ("HeunDiscreteScheduler", "heun", "", "leading", {}, {}),
    ("HeunDiscreteScheduler", "heun", "", "trailing", {}, {}),
    ("DPMSolverMultistepScheduler", "dpmpp_2m", "", "trailing", {}, {}),
    ("DPMSolverMultistepScheduler", "dpmpp_2m", "", "linspace", {}, {}),
    ("DPMSolverMultistepScheduler", "dpmpp_2m", "solver_type: heun", "trailing", {"solver_type": "heun"}, {}),
]


class InDouble:
    """A module that calls its float32 float64."""

    def __init__(self, module):
        self._module = module

    def __getattr__(self, name):
        return getattr(self._module, "float64" if name == "float32" else name)


def alpha_bar(table):
    start, end = TABLES[table]
    if table == "linear":
        betas = numpy.linspace(start, end, 1000)
    else:
        betas = numpy.linspace(start**0.5, end**0.5, 1000) ** 2
    return numpy.cumprod(1.0 - betas)


def denoise(x, a):
    alpha, variance = a**0.5, 1.0 - a
    parts = []
    for share, mean, own in ((0.3, -1.0, 0.25**2), (0.7, 0.8, 0.4**2)):
        total = a * own + variance
        gap = x - alpha * mean
        weight = share * numpy.exp(-0.5 * gap**2 / total) / total**0.5
        parts.append((weight, mean + alpha * own / total * gap))
    return sum(w * d for w, d in parts) / sum(w for w, _ in parts)


def run(case, table, in_double):
    peer, _, _, spacing, options, step_options = case
    module = importlib.import_module("diffusers.schedulers." + MODULES[peer])
    generator = numpy.random.default_rng(20240614)
    noises = generator.standard_normal((STEPS, COUNT))
    start = generator.standard_normal(COUNT)
    used = []

    def next_noise(shape, **_):
        used.append(noises[len(used)])
        return torch.tensor(used[-1], dtype=torch.float64).reshape(shape)

    own = {name: getattr(module, name) for name in ("torch", "np", "randn_tensor") if hasattr(module, name)}
    module.randn_tensor = next_noise
    if in_double:
        module.torch, module.np = InDouble(torch), InDouble(numpy)
    try:
        beta_start, beta_end = TABLES[table]
        scheduler = getattr(module, peer)(beta_start=beta_start, beta_end=beta_end, beta_schedule=table,
                                          timestep_spacing=spacing, **options)
        scheduler.set_timesteps(STEPS)
        return walk(scheduler, alpha_bar(table), start, step_options, used)
    finally:
        for name, value in own.items():
            setattr(module, name, value)


def walk(scheduler, table, start, step_options, used):
    is_exploding = hasattr(scheduler, "init_noise_sigma") and float(scheduler.init_noise_sigma) != 1.0
    timesteps = [int(t) for t in scheduler.timesteps]
    # Runs start at the first timestep's own noise; exploding peers keep x / alpha.
    x = torch.tensor(start, dtype=torch.float64)[None]  # one channel: DDPM looks at shape[1]
    if is_exploding:
        x = x / table[timesteps[0]] ** 0.5
    states = []
    is_heun = "Heun" in type(scheduler).__name__
    for i, t in enumerate(scheduler.timesteps):
        a = table[int(t)]
        vp = x.double().numpy() * (a**0.5 if is_exploding else 1.0)
        scheduler.scale_model_input(x, t)
        eps = torch.tensor((vp - a**0.5 * denoise(vp, a)) / (1.0 - a) ** 0.5)
        x = scheduler.step(eps, t, x, **step_options).prev_sample
        # Heun calls twice a step: odd calls are Euler guesses, and the last step is one Euler call.
        if is_heun and i % 2 == 0 and i + 1 < len(timesteps):
            continue
        following = timesteps[i + 1] if i + 1 < len(timesteps) else -1
        scale = (table[following] ** 0.5 if following >= 0 else 1.0) if is_exploding else 1.0
        states.append((x.double().numpy() * scale)[0].tolist())
    levels = timesteps if not is_heun else timesteps[::2]
    return {"timesteps": levels, "start": start.tolist(), "noise": [n.tolist() for n in used], "states": states}


def main():
    if diffusers.__version__ != "0.42.1":
        raise SystemExit(f"needs diffusers 0.42.1, found {diffusers.__version__}")
    cases = []
    for table in TABLES:
        for case in CASES:
            peer, sampler, options, spacing, _, _ = case
            golden = run(case, table, in_double=True)
            shipped = run(case, table, in_double=False)
            cases.append({"peer": peer, "sampler": sampler, "options": options, "schedule": table, "spacing": spacing,
                          **golden, "shipped": shipped["states"][-1]})
    out = {"peer": f"diffusers {diffusers.__version__}, torch {torch.__version__}, numpy {numpy.__version__}",
           "script": "tests/peers/golden_samplers.py", "script_sha256": hashlib.sha256(HERE.read_bytes()).hexdigest(),
           "cases": cases}
    path = HERE.parent.parent / "golden" / "samplers_diffusers.json"
    path.write_text(json.dumps(out, separators=(",", ":")).replace('{"peer"', '\n{"peer"') + "\n")
    print(path, path.stat().st_size, "bytes", len(cases), "cases")


if __name__ == "__main__":
    main()
