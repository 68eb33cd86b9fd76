"""Writes tests/golden/grids_diffusers.json: tables and levels of diffusers' own schedulers, beside our configuration.

Run:  python tests/peers/golden_grids.py     (needs torch, numpy, scipy and diffusers 0.42.1; CPU, a few seconds)

Everything runs in double: the peer's float32 is replaced by float64 inside its module, as golden_samplers.py does. The
levels are those the peer steps through, with a repeated last level dropped (its step changes nothing): sigma / alpha
("ratio"), sigma ("sigma", straight-line paths and those that start without signal), or time ("time"). grid_rules.py
has the rule that turns a scheduler config into a schedule and a grid.
"""
import hashlib
import importlib
import itertools
import json
import math
import pathlib
import sys

import diffusers
import numpy
import scipy
import torch
from diffusers.schedulers import AysSchedules

HERE = pathlib.Path(__file__).resolve()
sys.path.insert(0, str(HERE.parent))
from grid_rules import (ALWAYS_SIGMA_MIN, EDM, FLOW, INTERPOLATING, MULTISTEP, TABLES, flow_text, ours,  # noqa: E402
                        spaced_kind)


class InDouble:
    """A module that calls its float32 float64."""

    def __init__(self, module):
        self._module = module

    def __getattr__(self, name):
        return getattr(self._module, "float64" if name == "float32" else name)


def unrepeated(values):
    return values[:-1] if len(values) > 1 and math.isclose(values[-1], values[-2], rel_tol=1e-12) else values


def levels_of(name, scheduler, config, options):
    """(kind, levels) that the peer steps through."""
    def plain(values):
        return [float(v) for v in values]
    if name == "IPNDMScheduler":
        return "sigma", plain(scheduler.betas)
    if name == "SCMScheduler":
        return "time", plain(scheduler.timesteps)
    if hasattr(scheduler, "sigmas"):
        sigmas = plain(scheduler.sigmas)
        if "Heun" in name or "KDPM2" in name or name == "DPMSolverSDEScheduler":
            sigmas = sigmas[:1] + sigmas[1:-1:2] + sigmas[-1:]
            sigmas = unrepeated(sigmas)
        if config.get("interpolation_type") == "log_linear" and not spaced_kind(config):
            sigmas = sigmas[:-1]  # one more than it has timesteps: never reached
        is_flow = name in FLOW or config.get("use_flow_sigmas")
        return ("sigma" if is_flow else "ratio"), unrepeated(sigmas)
    table = scheduler.alphas_cumprod
    steps = [int(t) for t in scheduler.timesteps]
    if name == "PNDMScheduler":  # the second evaluation of PLMS and those of PRK repeat timesteps
        steps = sorted({int(t) for t in scheduler._timesteps}, reverse=True)
    final = 1.0 if name == "LCMScheduler" else float(getattr(scheduler, "final_alpha_cumprod", 1.0))
    bars = [float(table[t]) for t in steps] + [final]
    return "ratio", unrepeated([math.sqrt((1 - a) / a) if a > 0 else math.inf for a in bars])


def run(name, config, steps, options=None):
    options = dict(options or {})
    peer = getattr(diffusers, name)
    module = importlib.import_module(peer.__module__)
    own = {key: getattr(module, key) for key in ("torch", "np") if hasattr(module, key)}
    for key, value in own.items():
        setattr(module, key, InDouble(value))
    try:
        scheduler = peer(**config)
        full = dict(scheduler.config)
        sigma_ends = None
        if name in MULTISTEP:
            table = [float(v) for v in ((1 - scheduler.alphas_cumprod) / scheduler.alphas_cumprod) ** 0.5]
            sigma_ends = table[-1], table[0]
        arguments = dict(options)
        length = arguments.pop("image_seq_len", None)
        if length is not None:
            slope = (full["max_shift"] - full["base_shift"]) / (4096 - 256)
            arguments["mu"] = length * slope + full["base_shift"] - slope * 256
        if "timesteps" in arguments or "sigmas" in arguments:
            scheduler.set_timesteps(**arguments)
        else:
            if name == "SCMScheduler":
                arguments["intermediate_timesteps"] = None
            scheduler.set_timesteps(steps, **arguments)
        kind, levels = levels_of(name, scheduler, full, options)
        schedule, schedule_options, grid, grid_options = ours(name, full, steps, sigma_ends, options)
    finally:
        for key, value in own.items():
            setattr(module, key, value)
    case = {"peer": name, "config": config, "schedule": schedule, "schedule_options": flow_text(schedule_options),
            "grid": grid, "grid_options": flow_text(grid_options), "kind": kind,
            "levels": [v if math.isfinite(v) else "inf" for v in levels]}
    if name in INTERPOLATING and not {"sigmas", "timesteps"} & set(options) and (
            config.get("interpolation_type") != "log_linear" or spaced_kind(config)):
        times = [float(t) for t in scheduler.timesteps]
        if "Heun" in name:
            times = times[:1] + times[1::2]
        if "KDPM2" not in name and "SDE" not in name:
            case["times"] = times
    return case


def interpolating_cases():
    yield "EulerDiscreteScheduler", {}, 10, None
    kinds = [{}, {"use_karras_sigmas": True}, {"use_exponential_sigmas": True}, {"use_beta_sigmas": True}]
    spacings = [{"timestep_spacing": "linspace"}, {"timestep_spacing": "leading"}, {"timestep_spacing": "trailing"},
                {"timestep_spacing": "leading", "steps_offset": 1}]
    finals = ["zero", "sigma_min"]
    for index, (kind, spacing, final) in enumerate(itertools.product(kinds, spacings, finals)):
        extra = {"final_sigmas_type": final}
        if index % 3 == 1:
            extra["beta_schedule"] = "squaredcos_cap_v2"
        elif index % 3 == 2:
            extra.update(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)
        if index % 5 == 4:
            extra["rescale_betas_zero_snr"] = True
        yield "EulerDiscreteScheduler", {**kind, **spacing, **extra}, (7, 9, 10)[index % 3], None
    for kind in kinds:
        log_linear = {"interpolation_type": "log_linear", "timestep_spacing": "leading"}
        yield "EulerDiscreteScheduler", {**kind, **log_linear}, 6, None
    peers = sorted(INTERPOLATING - {"EulerDiscreteScheduler"})
    for index, peer in enumerate(peers):
        for spacing in spacings[index % 2::2]:
            kind = kinds[index % 4] if "Ancestral" not in peer or "KDPM2" in peer else {}
            yield peer, {**kind, **spacing}, 8, None
    yield "HeunDiscreteScheduler", {"beta_schedule": "exp"}, 8, None
    yield "EulerAncestralDiscreteScheduler", {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}, 8, None
    for key in ("StableDiffusionSigmas", "StableDiffusionXLSigmas"):
        yield "EulerDiscreteScheduler", {}, 10, {"sigmas": list(AysSchedules[key])}
    yield "EulerDiscreteScheduler", {}, 10, {"timesteps": list(AysSchedules["StableDiffusionTimesteps"])}


def multistep_cases():
    kinds = [{}, {"use_karras_sigmas": True}, {"use_exponential_sigmas": True}, {"use_beta_sigmas": True},
             {"use_lu_lambdas": True}]
    spacings = [{"timestep_spacing": "linspace"}, {"timestep_spacing": "leading"}, {"timestep_spacing": "trailing"},
                {"timestep_spacing": "leading", "steps_offset": 1}]
    dpm = "DPMSolverMultistepScheduler"
    for index, (kind, final) in enumerate(itertools.product(kinds, ["zero", "sigma_min"])):
        spacing = spacings[index % 4]
        extra = {"beta_schedule": ("linear", "scaled_linear", "squaredcos_cap_v2")[index % 3]}
        yield dpm, {**kind, **spacing, **extra, "final_sigmas_type": final}, 7 + index % 3, None
    for spacing, final in itertools.product(spacings, ["zero", "sigma_min"]):
        yield dpm, {**spacing, "final_sigmas_type": final, "rescale_betas_zero_snr": True}, 9, None
    for spacing in spacings:
        yield dpm, {**spacing, "beta_schedule": "squaredcos_cap_v2", "lambda_min_clipped": -3.0}, 9, None
    yield dpm, {"trained_betas": [0.01 + 0.002 * i for i in range(40)], "num_train_timesteps": 40}, 8, None
    for final in ("zero", "sigma_min"):
        flow = {"use_flow_sigmas": True, "final_sigmas_type": final}
        yield dpm, {**flow, "flow_shift": 3.0}, 8, None
        yield "DPMSolverSinglestepScheduler", {"final_sigmas_type": final}, 8, None
        yield "DPMSolverSinglestepScheduler", {**flow, "flow_shift": 2.0}, 6, None
        yield "UniPCMultistepScheduler", {**flow, "flow_shift": 5.0}, 6, None
        yield "UniPCMultistepScheduler", {"use_flow_sigmas": True, "use_karras_sigmas": True,
                                          "final_sigmas_type": final}, 6, None
        yield "UniPCMultistepScheduler", {"use_karras_sigmas": True, "final_sigmas_type": final}, 6, None
        yield "UniPCMultistepScheduler", {"timestep_spacing": "trailing", "final_sigmas_type": final,
                                          "rescale_betas_zero_snr": True}, 7, None
    yield "UniPCMultistepScheduler", {"use_flow_sigmas": True, "flow_shift": 5.0, "shift_terminal": 0.1}, 6, None
    dynamic = {"use_flow_sigmas": True, "use_dynamic_shifting": True, "time_shift_type": "exponential"}
    yield "UniPCMultistepScheduler", dynamic, 6, {"mu": 0.8}
    with_flow = kinds[:4] + [{"use_flow_sigmas": True, "flow_shift": 3.0}]
    for peer, kind in itertools.product(sorted(ALWAYS_SIGMA_MIN), with_flow):
        yield peer, dict(kind), 7, None
    for peer, spacing in itertools.product(sorted(ALWAYS_SIGMA_MIN), spacings[1:]):
        yield peer, dict(spacing), 6, None


def other_cases():
    for kind in ({}, {"use_karras_sigmas": True}, {"use_exponential_sigmas": True}, {"use_beta_sigmas": True}):
        yield "FlowMatchEulerDiscreteScheduler", {**kind, "shift": 3.0}, 7, None
    yield "FlowMatchEulerDiscreteScheduler", {"shift": 3.0, "shift_terminal": 0.1}, 7, None
    for shift in ("exponential", "linear"):
        yield "FlowMatchEulerDiscreteScheduler", {"use_dynamic_shifting": True, "time_shift_type": shift}, 7, {
            "image_seq_len": 1024}
    yield "FlowMatchEulerDiscreteScheduler", {"use_dynamic_shifting": True, "shift_terminal": 0.02}, 7, {
        "image_seq_len": 4000}
    yield "FlowMatchHeunDiscreteScheduler", {"shift": 3.0}, 7, None
    for peer, kind, final in itertools.product(sorted(EDM), ["karras", "exponential"], ["zero", "sigma_min"]):
        if (kind, final) != ("exponential", "sigma_min") or peer == "EDMEulerScheduler":
            yield peer, {"sigma_schedule": kind, "final_sigmas_type": final}, 8, None
    for peer in ("DDIMScheduler", "PNDMScheduler"):
        for spacing, to_one in itertools.product(["leading", "trailing", "linspace"], [True, False]):
            yield peer, {"timestep_spacing": spacing, "set_alpha_to_one": to_one}, 10, None
        yield peer, {"timestep_spacing": "leading", "steps_offset": 1, "set_alpha_to_one": False}, 12, None
    yield "DDIMScheduler", {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}, 10, None
    for table in ("sigmoid", "laplace"):
        yield "DDPMScheduler", {"beta_schedule": table}, 9, None
    yield "CogVideoXDDIMScheduler", {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}, 10, None
    yield "LCMScheduler", {}, 4, None
    yield "LCMScheduler", {"original_inference_steps": 40}, 7, None
    yield "TCDScheduler", {}, 6, None
    yield "TCDScheduler", {"set_alpha_to_one": False}, 3, None
    yield "IPNDMScheduler", {}, 8, None
    yield "SCMScheduler", {}, 5, {"max_timesteps": 1.57}


def tables():
    """alpha_bar of every table at a few timesteps."""
    module = importlib.import_module("diffusers.schedulers.scheduling_ddpm")
    heun = importlib.import_module("diffusers.schedulers.scheduling_heun_discrete")
    for peer in (module, heun):
        peer.torch, peer.np = InDouble(torch), InDouble(numpy)
    for name, ours_name in TABLES.items():
        for train, rescales in ((1000, False), (1000, True), (64, False)):
            if name == "exp" and rescales:
                continue
            ours_options = {"timesteps": train, **({"zero_terminal_snr": True} if rescales else {})}
            if name in ("linear", "scaled_linear", "sigmoid"):
                ours_options.update(beta_start=0.0001, beta_end=0.02)
            if name == "exp":
                peer = heun.HeunDiscreteScheduler(train, beta_schedule=name)
            else:
                peer = module.DDPMScheduler(train, beta_schedule=name, rescale_betas_zero_snr=rescales)
            bars = [float(a) for a in peer.alphas_cumprod]
            places = [0, 1, 2, train // 4, train // 2, 3 * train // 4, train - 3, train - 2, train - 1]
            yield {"schedule": ours_name, "schedule_options": flow_text(ours_options), "timesteps": places,
                   "alpha_bar": [bars[i] for i in places]}
    for peer in (module, heun):
        peer.torch, peer.np = torch, numpy


def main():
    if diffusers.__version__ != "0.42.1":
        raise SystemExit(f"needs diffusers 0.42.1, found {diffusers.__version__}")
    torch.set_default_dtype(torch.float64)
    torch.Tensor.float = torch.Tensor.double  # SCMScheduler casts by method
    cases = [run(*case) for case in itertools.chain(interpolating_cases(), multistep_cases(), other_cases())]
    scripts = HERE.read_bytes() + (HERE.parent / "grid_rules.py").read_bytes()
    out = {"peer": f"diffusers {diffusers.__version__}, torch {torch.__version__}, numpy {numpy.__version__}, "
                   f"scipy {scipy.__version__}",
           "script": "tests/peers/golden_grids.py", "script_sha256": hashlib.sha256(scripts).hexdigest(),
           "tables": list(tables()), "cases": cases}
    path = HERE.parent.parent / "golden" / "grids_diffusers.json"
    text = json.dumps(out, separators=(",", ":"))
    for start in ('{"peer"', '{"schedule"'):
        text = text.replace(start, "\n" + start)
    path.write_text(text + "\n")
    print(path, path.stat().st_size, "bytes", len(cases), "cases")


if __name__ == "__main__":
    main()
