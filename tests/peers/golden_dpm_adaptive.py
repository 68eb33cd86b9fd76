#!/usr/bin/env python3
"""Prints the rows of tests/samplers_plans/test_adaptive.cpp for DPM-Solver-12 and -23 with chosen steps.

usage: golden_dpm_adaptive.py K_DIFFUSION_CHECKOUT     (commit 4601bf085320592473f681a62808ed873d17fad5, torch 2.11.0)

Runs k-diffusion's own sample_dpm_adaptive in double on the exact denoiser of 0.3 N(-1, 0.25^2) + 0.7 N(0.8, 0.4^2).
Its unused imports are replaced by empty modules.
"""
import sys
import types

import torch

torch.set_default_dtype(torch.float64)
SHARE, MEAN, VARIANCE = torch.tensor([0.3, 0.7]), torch.tensor([-1.0, 0.8]), torch.tensor([0.0625, 0.16])


def denoise(x, sigma, **_):
    total = VARIANCE + sigma.view(-1, 1, 1) ** 2
    gap = x[..., None] - MEAN
    log_weight = SHARE.log() - 0.5 * gap**2 / total - 0.5 * total.log()
    parts = MEAN + VARIANCE / total * gap
    return (log_weight.softmax(-1) * parts).sum(-1)


def load(checkout):
    for name in ("torchdiffeq", "torchsde"):
        sys.modules[name] = types.ModuleType(name)
    sys.modules["torchdiffeq"].odeint = None
    package = types.ModuleType("k_diffusion")
    package.__path__ = [checkout + "/k_diffusion"]
    sys.modules["k_diffusion"] = package
    sys.modules["k_diffusion.utils"] = types.ModuleType("k_diffusion.utils")
    import k_diffusion.sampling

    return k_diffusion.sampling


def main():
    sampling = load(sys.argv[1])
    x = 80 * torch.tensor([[-1.5, -0.6, -0.5, 0.3, 1.2]])
    for options in (
        dict(order=3),
        dict(order=2),
        dict(order=3, rtol=1e-3, atol=1e-4),
        dict(order=2, rtol=1e-2, atol=1e-3, pcoeff=0.2, icoeff=0.6, dcoeff=0.1, accept_safety=0.9, h_init=0.3),
    ):
        end, info = sampling.sample_dpm_adaptive(denoise, x, 0.002, 80.0, disable=True, return_info=True, **options)
        print(options, info, [float(f"{v:.15g}") for v in end[0].tolist()])


main()
