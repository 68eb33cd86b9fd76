"""Runs random scheduler configs through diffusers and through the program, and compares where they end.

Run:  python tests/peers/scheduler_fuzz.py [--thaw ./thaw] [--count 200] [--seed 1]
      (needs torch, numpy, scipy, safetensors and diffusers 0.42.1)

Deterministic schedulers only: the program's noise is its own. The denoiser is the mixture of configs/mixture.yaml; a
case fails above 1e-12 against the peer in double, with what rounding at the first level's sigma / alpha leaves (4e-15
of it), or above 1e-5 against the peer as shipped where the peer's own two runs agree to that.
"""
import argparse
import json
import pathlib
import random
import subprocess
import sys
import tempfile

import numpy
import torch
from safetensors.torch import load_file, save_file

import golden_schedulers as peers
from golden_settings import FILES, draw_case

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
NOISY = {"DDPMScheduler", "DDPMParallelScheduler", "EulerAncestralDiscreteScheduler", "LCMScheduler", "TCDScheduler",
         "KDPM2AncestralDiscreteScheduler", "DPMSolverSDEScheduler", "CosineDPMSolverMultistepScheduler",
         "CMStochasticIterativeScheduler", "SCMScheduler", "SASolverScheduler", "FlowMatchLCMScheduler",
         "LTXEulerAncestralRFScheduler", "RePaintScheduler", "CogVideoXDPMScheduler"}


def is_deterministic(case):
    config = case["config"]
    if config["_class_name"] in NOISY or config.get("stochastic_sampling") or config.get("thresholding"):
        return False
    return not config.get("algorithm_type", "").startswith("sde") and not case.get("set")


def run_program(thaw, case, folder):
    config, noise, out = folder / "scheduler_config.json", folder / "noise.safetensors", folder / "trace.safetensors"
    config.write_text(json.dumps(case["config"]))
    start = peers.draw(case["seed"], 0).reshape(1, peers.COUNT, 1, 1)
    save_file({"noise": start}, str(noise))
    out.unlink(missing_ok=True)
    command = [thaw, "sample", str(ROOT / "configs/mixture.yaml"), f"scheduler={config}", f"steps={case['steps']}",
               f"noise={noise}", f"trace={out}", f"out={folder / 'samples'}", "precision=float64", "n=1",
               f"backbone.shape=[{peers.COUNT}, 1, 1]"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        return None, done.stderr.strip().splitlines()[-1:] or [f"exit {done.returncode}"]
    trace = load_file(str(out))
    return trace, []


def compare(case, trace):
    double, shipped = peers.run_case(case, True), peers.run_case(case, False)
    mine = trace["x"][-1].double().numpy().reshape(-1)
    scale = max(numpy.abs(double.states[-1]).max(), 1e-300)  # iPNDM ends at 0 after one step
    gap = numpy.abs(mine - double.states[-1]).max() / scale
    own = numpy.abs(double.states[-1] - shipped.states[-1]).max() / scale
    away = numpy.abs(mine - shipped.states[-1]).max() / scale
    alpha, sigma = double.levels[0]
    bound = 1e-12 + (4e-15 * sigma / alpha if alpha > 0.0 else 0.0)
    # What the peer loses to rounding in single precision it loses 2^-29 of in double: DEIS-3's logarithms.
    bound = max(bound, 4.0 * own * 2.0**-29)
    return gap, bound, away, max(1e-5, 1.1 * own)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--thaw", default=str(ROOT / "thaw"))
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    families = [(name, fill) for file in FILES.values() for name, fill, _ in file]
    compared, failed, refused = 0, 0, {}
    with tempfile.TemporaryDirectory() as name:
        while compared < options.count:
            case = draw_case(rng, *rng.choice(families))
            case.pop("step", None)
            if not is_deterministic(case):
                continue
            try:
                if not numpy.isfinite(peers.run_case(case, True).states[-1]).all():
                    continue
            except Exception:  # the peer's refusals have every type there is
                continue
            trace, why = run_program(options.thaw, case, pathlib.Path(name))
            if trace is None:
                refused.setdefault(case["config"]["_class_name"], []).append(why[0])
                if sum(map(len, refused.values())) > options.count:
                    break
                continue
            gap, bound, away, allowed = compare(case, trace)
            compared += 1
            if not (gap <= bound and away <= allowed):
                failed += 1
                print("FAILED", f"{gap:.1e} of {bound:.1e}, shipped {away:.1e} of {allowed:.1e}", json.dumps(case))
    print(compared, "compared,", failed, "failed,", sum(map(len, refused.values())), "refused by the program")
    for scheduler, reasons in refused.items():
        print("  ", scheduler, len(reasons), sorted(set(reasons))[:3])
    sys.exit(1 if failed or compared < options.count else 0)


if __name__ == "__main__":
    main()
