#!/usr/bin/env python3
"""Seconds a solver's step costs beside the network, ours and diffusers', turn by turn on one thread.

usage: solver_overhead.py PATH_TO_bench_solver_overhead [--rounds 15] [--steps 20] [--json FILE]

State 64 x 3 x 32 x 32 float32, 1000 linear betas, noise prediction, a network whose answer is a constant tensor. The
peer's time is that of scheduler.step alone; ours is the whole run from the network's answer to the next state, divided
by the number of network evaluations: telling x0 from the noise is included on both sides. Targets: at most 1/6 for
deterministic and 1/2 for stochastic solvers with independent noise. Prints Markdown; --json writes the same as JSON.
"""
import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time

os.environ["OMP_NUM_THREADS"] = "1"
import torch  # noqa: E402
import diffusers  # noqa: E402

CASES = [  # ours, its options, the peer's class and options, stochastic
    ("ddim", "{}", "DDIMScheduler", dict(clip_sample=False), False),
    ("euler", "{}", "EulerDiscreteScheduler", {}, False),
    ("heun", "{}", "HeunDiscreteScheduler", {}, False),
    ("dpmpp_2m", "{}", "DPMSolverMultistepScheduler", {}, False),
    ("deis", "{order: 2}", "DEISMultistepScheduler", {}, False),
    ("unipc", "{order: 2}", "UniPCMultistepScheduler", {}, False),
    ("ddpm", "{}", "DDPMScheduler", dict(clip_sample=False), True),
    ("euler_ancestral", "{}", "EulerAncestralDiscreteScheduler", {}, True),
    ("dpmpp_2m_sde", "{}", "DPMSolverMultistepScheduler", dict(algorithm_type="sde-dpmsolver++"), True),
]
TARGET = {False: 1 / 6, True: 1 / 2}


class Ours:
    def __init__(self, program):
        environment = dict(os.environ, OMP_NUM_THREADS="1", OMP_WAIT_POLICY="passive")
        self.process = subprocess.Popen(
            [program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def seconds(self, sampler, steps, repeats, path, options):
        self.process.stdin.write(f"{sampler} {steps} {repeats} network {path} {options}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().strip()
        if not answer or answer.startswith("error"):
            sys.exit(f"{sampler}: {answer or 'the program ended'}")
        return float(answer)


def peer_seconds(name, options, steps, repeats):
    scheduler = getattr(diffusers, name)(**options)
    output = torch.full((64, 3, 32, 32), 0.1)
    best = float("inf")
    for _ in range(repeats):
        scheduler.set_timesteps(steps)
        scheduler.is_scale_input_called = True  # the scaling of the network's input is timed on neither side
        x = torch.randn(64, 3, 32, 32) * scheduler.init_noise_sigma
        begin = time.perf_counter()
        for t in scheduler.timesteps:
            x = scheduler.step(output, t, x).prev_sample
        best = min(best, (time.perf_counter() - begin) / len(scheduler.timesteps))
    return best


def median_interval(values):
    """The median and the order statistics that hold it with 95 % (binomial)."""
    ordered, n = sorted(values), len(values)
    rank = max(0, int((n - 1.96 * n**0.5) / 2))
    return statistics.median(ordered), ordered[rank], ordered[n - 1 - rank]


def measure(ours, case, arguments, path):
    sampler, options, peer, peer_options, is_stochastic = case
    rows = []
    for _ in range(arguments.rounds):
        mine = ours.seconds(sampler, arguments.steps, 3, path, options)
        rows.append((mine, peer_seconds(peer, peer_options, arguments.steps, 3)))
    ratio, low, high = median_interval([mine / theirs for mine, theirs in rows])
    return {
        "sampler": sampler,
        "peer": peer,
        "noise": path if is_stochastic else "",
        "microseconds": 1e6 * statistics.median(mine for mine, _ in rows),
        "peer_microseconds": 1e6 * statistics.median(theirs for _, theirs in rows),
        "ratio": ratio,
        "low": low,
        "high": high,
        "target": TARGET[is_stochastic] if path != "brownian" else None,
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    ours = Ours(arguments.program)
    rows = []
    for case in CASES:
        for path in ("independent", "brownian") if case[4] else ("independent",):
            rows.append(measure(ours, case, arguments, path))
    versions = f"diffusers {diffusers.__version__}, torch {torch.__version__}, {platform.processor() or platform.machine()}"
    print(f"One network evaluation's share of a run of {arguments.steps} steps, 64x3x32x32 float32, one thread; median "
          f"of {arguments.rounds} turns, 95 % interval; {versions}.\n")
    print("| sampler | noise | ours, us | diffusers, us | ratio | interval | target |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        target = "-" if row["target"] is None else f"{row['target']:.3f}"
        print(f"| {row['sampler']} | {row['noise']} | {row['microseconds']:.0f} | {row['peer_microseconds']:.0f} "
              f"| {row['ratio']:.3f} | {row['low']:.3f} - {row['high']:.3f} | {target} |")
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump({"versions": versions, "rounds": arguments.rounds, "steps": arguments.steps, "rows": rows}, file,
                      indent=1)


main()
