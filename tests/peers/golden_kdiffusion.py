"""Writes tests/golden/kdiffusion.json: k-diffusion's published formulas, restated in double with an exact denoiser.

Run:  python tests/peers/golden_kdiffusion.py     (needs torch and numpy; CPU, a second)

Written from the algorithms of k-diffusion 4601bf08, sampling.py, for what diffusers has no counterpart of or orders
otherwise. sigma falls on the rho = 7 grid of Karras et al. from 80 to 0.002 and then to 0; alpha is 1. Denoiser, start
and noise are those of golden_schedulers.py: draw k of step i is stream 1 + 2 i + k.
"""
import hashlib
import json
import math
import pathlib

import numpy
import torch

import golden_schedulers as peers

HERE = pathlib.Path(__file__).resolve()
SEED = 20240614


def karras(steps):
    ramp = numpy.linspace(0.0, 1.0, steps)
    low, high = 0.002 ** (1 / 7), 80.0 ** (1 / 7)
    return list((high + ramp * (low - high)) ** 7) + [0.0]


def model(x, sigma):
    return peers.denoise(x, 1.0, sigma)


def noise(step, k=0):
    return peers.draw(SEED, 1 + 2 * step + k)


def ancestral(start, end, eta):
    up = min(end, eta * math.sqrt(end**2 * (start**2 - end**2) / start**2))
    return math.sqrt(end**2 - up**2), up


def euler_to(x, d, sigma, end):
    return x + (x - d) / sigma * (end - sigma)


def dpmpp_2s_ancestral(x, sigmas, eta=1.0):
    for i, (s, t) in enumerate(zip(sigmas, sigmas[1:])):
        d = model(x, s)
        down, up = ancestral(s, t, eta)
        if down == 0.0:
            x = euler_to(x, d, s, down)
        else:
            h = math.log(s / down)
            middle = s * math.exp(-0.5 * h)
            half = middle / s * x - math.expm1(-0.5 * h) * d
            x = down / s * x - math.expm1(-h) * model(half, middle)
        if t > 0.0:
            x = x + noise(i) * up
    return x


def dpmpp_sde(x, sigmas, eta=1.0, r=0.5):
    for i, (s, t) in enumerate(zip(sigmas, sigmas[1:])):
        d = model(x, s)
        if t == 0.0:
            return euler_to(x, d, s, t)
        middle = s * math.exp(-r * math.log(s / t))
        down, up = ancestral(s, middle, eta)
        half = down / s * x - math.expm1(-math.log(s / down)) * d + noise(i, 0) * up
        factor = 1.0 / (2.0 * r)
        both = (1.0 - factor) * d + factor * model(half, middle)
        down, up = ancestral(s, t, eta)
        share = (s - middle) / (s - t)  # of one Brownian motion over sigma
        whole = math.sqrt(share) * noise(i, 0) + math.sqrt(1.0 - share) * noise(i, 1)
        x = down / s * x - math.expm1(-math.log(s / down)) * both + whole * up
    return x


def dpmpp_2m_sde(x, sigmas, kind, eta=1.0):
    old, h_last = None, None
    for i, (s, t) in enumerate(zip(sigmas, sigmas[1:])):
        d = model(x, s)
        if t == 0.0:
            return d
        h = math.log(s / t)
        whole = -math.expm1(-(1.0 + eta) * h)
        x = t / s * math.exp(-eta * h) * x + whole * d
        if old is not None:
            slope = 0.5 * whole if kind == "midpoint" else whole / (-(1.0 + eta) * h) + 1.0
            x = x + slope * (h / h_last) * (d - old)
        if eta:
            x = x + noise(i) * t * math.sqrt(-math.expm1(-2.0 * eta * h))
        old, h_last = d, h
    return x


def dpmpp_3m_sde(x, sigmas, eta=1.0):
    history = []  # (denoised, h) newest first
    for i, (s, t) in enumerate(zip(sigmas, sigmas[1:])):
        d = model(x, s)
        if t == 0.0:
            return d
        h = math.log(s / t)
        h_eta = (1.0 + eta) * h
        x = math.exp(-h_eta) * x - math.expm1(-h_eta) * d
        phi_2 = math.expm1(-h_eta) / h_eta + 1.0
        phi_3 = phi_2 / h_eta - 0.5
        if len(history) == 2:
            (d_1, h_1), (d_2, h_2) = history
            r0, r1 = h_1 / h, h_2 / h
            a, b = (d - d_1) / r0, (d_1 - d_2) / r1
            x = x + phi_2 * (a + (a - b) * r0 / (r0 + r1)) - phi_3 * (a - b) / (r0 + r1)
        elif history:
            d_1, h_1 = history[0]
            x = x + phi_2 * (d - d_1) / (h_1 / h)
        if eta:
            x = x + noise(i) * t * math.sqrt(-math.expm1(-2.0 * eta * h))
        history = [(d, h)] + history[:1]
    return x


def lms(x, sigmas, order=4):
    slopes = []
    for i, (s, t) in enumerate(zip(sigmas, sigmas[1:])):
        slopes = [(x - model(x, s)) / s] + slopes[: order - 1]
        nodes = [sigmas[i - k] for k in range(len(slopes))]
        for j, slope in enumerate(slopes):
            others = [node for k, node in enumerate(nodes) if k != j]
            polynomial = numpy.poly1d(others, r=True) if others else numpy.poly1d([1.0])
            integral = (polynomial / polynomial(nodes[j])).integ()
            x = x + float(integral(t) - integral(s)) * slope
    return x


def dpm_fast(x, low, high, calls):
    """Ends at sigma `low`; steps even in -log sigma."""
    count = calls // 3 + 1
    t = numpy.linspace(-math.log(high), -math.log(low), count + 1)
    orders = [3] * (count - 2) + [2, 1] if calls % 3 == 0 else [3] * (count - 1) + [calls % 3]
    for order, start, end in zip(orders, t, t[1:]):
        x = dpm_step(x, start, end, order)
    return x


def dpm_step(x, start, end, order):
    h = end - start

    def eps(state, time):
        return (state - model(state, math.exp(-time))) / math.exp(-time)

    e = eps(x, start)
    whole = x - math.exp(-end) * math.expm1(h) * e
    if order == 1:
        return whole
    r1 = 0.5 if order == 2 else 1.0 / 3.0
    s1 = start + r1 * h
    e1 = eps(x - math.exp(-s1) * math.expm1(r1 * h) * e, s1)
    if order == 2:
        return whole - math.exp(-end) / (2.0 * r1) * math.expm1(h) * (e1 - e)
    r2 = 2.0 / 3.0
    s2 = start + r2 * h
    state = x - math.exp(-s2) * math.expm1(r2 * h) * e
    state = state - math.exp(-s2) * (r2 / r1) * (math.expm1(r2 * h) / (r2 * h) - 1.0) * (e1 - e)
    return whole - math.exp(-end) / r2 * (math.expm1(h) / h - 1.0) * (eps(state, s2) - e)


def cases():
    for steps in (9, 12, 25):
        sigmas = karras(steps)
        x = peers.draw(SEED, 0) * 80.0
        yield "dpmpp_2s_ancestral", "", steps, dpmpp_2s_ancestral(x, sigmas)
        yield "dpmpp_2s_ancestral", "eta: 0.5", steps, dpmpp_2s_ancestral(x, sigmas, 0.5)
        yield "dpmpp_sde", "clock: rho", steps, dpmpp_sde(x, sigmas)
        yield "dpmpp_sde", "eta: 0.5, r: 0.4, clock: rho", steps, dpmpp_sde(x, sigmas, 0.5, 0.4)
        yield "dpmpp_2m_sde", "solver_type: midpoint", steps, dpmpp_2m_sde(x, sigmas, "midpoint")
        yield "dpmpp_2m_sde", "solver_type: heun, tau2: 0.5", steps, dpmpp_2m_sde(x, sigmas, "heun", 0.5)
        yield "dpmpp_3m_sde_compat", "", steps, dpmpp_3m_sde(x, sigmas)
        yield "dpmpp_3m_sde_compat", "tau2: 0", steps, dpmpp_3m_sde(x, sigmas, 0.0)
        yield "lms", "final_order: full", steps, lms(x, sigmas)
        yield "lms", "order: 2, final_order: full", steps, lms(x, sigmas, 2)
        yield "dpm_fast", "", steps, dpm_fast(x, 0.002, 80.0, steps)


def main():
    rows = [{"sampler": name, "options": options, "steps": steps, "end": [float(v) for v in x.reshape(-1)]}
            for name, options, steps, x in cases()]
    out = {"peer": f"k-diffusion 4601bf08, restated; torch {torch.__version__}, numpy {numpy.__version__}",
           "script": "tests/peers/golden_kdiffusion.py", "script_sha256": hashlib.sha256(HERE.read_bytes()).hexdigest(),
           "seed": SEED, "cases": rows}
    path = HERE.parent.parent / "golden" / "kdiffusion.json"
    path.write_text(json.dumps(out, separators=(",", ":")).replace('{"sampler"', '\n{"sampler"') + "\n")
    print(path.name, path.stat().st_size, "bytes", len(rows), "cases")


if __name__ == "__main__":
    main()
