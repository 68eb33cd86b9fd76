"""Writes tests/golden/timesteps.json: what diffusers' schedulers tell their network at the levels of their grid.

Run:  python tests/peers/golden_timesteps.py     (needs torch, numpy, scipy and diffusers 0.42.1; CPU, seconds)

The configs are the first three of each class in tests/golden/schedulers_*.json. Of schedulers with two calls a step the
first is taken; a timestep that comes twice (PNDM) is written once. Noisiest first.
"""
import hashlib
import json
import pathlib

import diffusers
import torch

import golden_schedulers as peers

HERE = pathlib.Path(__file__).resolve()
GOLDEN = HERE.parent.parent / "golden"
FILES = ("tables", "sigmas", "multistep", "predictors", "flow")
PER_CLASS = 3


def told(case):
    walk = peers.Walk(case, True)  # single precision moves timesteps found from sigmas by 1e-4 of themselves
    with peers.Patched(True, walk.next_noise):
        scheduler = walk.make()
        walk.set_steps(scheduler)
    times = [float(t) for t in scheduler.timesteps]
    if walk.name == "SCMScheduler":
        times = times[:-1]  # its last one is never asked about
    if walk.name in peers.TWO_CALLS:
        times = times[::2]
    return sorted(set(times), reverse=True)


def main():
    if diffusers.__version__ != "0.42.1":
        raise SystemExit(f"needs diffusers 0.42.1, found {diffusers.__version__}")
    cases, count = [], {}
    for file in FILES:
        for case in json.loads((GOLDEN / f"schedulers_{file}.json").read_text())["cases"]:
            name = case["config"]["_class_name"]
            count[name] = count.get(name, 0) + 1
            if count[name] > PER_CLASS:
                continue
            kept = {key: case[key] for key in ("config", "steps", "seed", "set", "step") if key in case}
            cases.append({**kept, "times": [float(f"{t:.9g}") for t in told(case)]})
    out = {"peer": f"diffusers {diffusers.__version__}, torch {torch.__version__}",
           "script": "tests/peers/golden_timesteps.py", "script_sha256": hashlib.sha256(HERE.read_bytes()).hexdigest(),
           "cases": cases}
    text = json.dumps(out, separators=(",", ":")).replace('{"config"', '\n{"config"') + "\n"
    (GOLDEN / "timesteps.json").write_text(text)
    print(len(cases), "cases of", len(count), "classes,", len(text), "bytes")


if __name__ == "__main__":
    main()
