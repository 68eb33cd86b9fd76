#!/usr/bin/env python3
"""Processor seconds a solver's step costs beside the network, ours and diffusers', turn by turn on one thread.

usage: solver_overhead.py PATH_TO_bench_solver_overhead [--rounds 15] [--steps 20] [--json FILE] [--markdown FILE]

State 64 x 3 x 32 x 32 float32, 1000 linear betas, noise prediction, a network whose answer is a constant tensor. The
peer's time is that of scheduler.step. Ours is a whole run divided by its network evaluations, twice: "solver" from the
x0 estimate to the next state, and "with x0", where telling x0 from the noise (the model's part here, the scheduler's
there) is added. Targets for the solver: at most 1/6 deterministic, 1/2 stochastic with independent noise. Prints
Markdown; --json writes the same as JSON.
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

    def seconds(self, sampler, steps, repeats, answer, path, options):
        self.process.stdin.write(f"{sampler} {steps} {repeats} {answer} {path} {options}\n")
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
        begin = time.thread_time()
        for t in scheduler.timesteps:
            x = scheduler.step(output, t, x).prev_sample
        best = min(best, (time.thread_time() - begin) / len(scheduler.timesteps))
    return best


def median_interval(values):
    """The median and the order statistics that hold it with 95 % (binomial)."""
    ordered, n = sorted(values), len(values)
    rank = max(0, int((n - 1.96 * n**0.5) / 2))
    return statistics.median(ordered), ordered[rank], ordered[n - 1 - rank]


def measure(ours, case, arguments, path):
    sampler, options, peer, peer_options, is_stochastic = case
    rows = []
    repeats = 1 if path == "brownian" else 3
    for _ in range(arguments.rounds):
        alone = ours.seconds(sampler, arguments.steps, repeats, "data", path, options)
        whole = ours.seconds(sampler, arguments.steps, repeats, "network", path, options)
        rows.append((alone, whole, peer_seconds(peer, peer_options, arguments.steps, 3)))
    ratio, low, high = median_interval([row[0] / row[2] for row in rows])
    whole, whole_low, whole_high = median_interval([row[1] / row[2] for row in rows])
    micro = [1e6 * statistics.median(column) for column in zip(*rows)]
    return {
        "sampler": sampler,
        "peer": peer,
        "noise": path if is_stochastic else "",
        "solver_microseconds": micro[0],
        "with_x0_microseconds": micro[1],
        "peer_microseconds": micro[2],
        "solver_ratio": [ratio, low, high],
        "with_x0_ratio": [whole, whole_low, whole_high],
        "target": TARGET[is_stochastic] if path != "brownian" else None,
    }


def processor():
    with open("/proc/cpuinfo") as lines:
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]}, {len(names)} threads" if names else platform.machine()


def commit():
    return subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True).stdout.strip()


def page(facts, rows):
    lines = [
        "# The cost of a solver's step beside the network",
        "",
        "Written by `python benchmarks/solver_overhead.py build/release/benchmarks/bench_solver_overhead --markdown "
        "docs/solver-overhead.md`; not edited by hand.",
        "",
        f"Processor time of one network evaluation's share of a run of {facts['steps']} steps, 64 x 3 x 32 x 32 float32, "
        f"one thread; median of {facts['rounds']} turns, ours and the peer's one after the other, 95 % interval. "
        "\"solver\" goes from the x0 estimate to the next state; \"with x0\" adds telling x0 from the network's noise, "
        "which the peer's scheduler.step does itself.",
        "",
        f"{facts['versions']}; {facts['processor']}; commit {facts['commit']}; no seed: states are constant.",
        "",
        "| sampler | noise | solver, us | with x0, us | diffusers, us | solver ratio | ratio with x0 | target |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        target = "-" if row["target"] is None else f"{row['target']:.3f}"
        ratios = " | ".join(f"{middle:.3f} ({low:.3f} - {high:.3f})"
                            for middle, low, high in (row["solver_ratio"], row["with_x0_ratio"]))
        lines.append(f"| {row['sampler']} | {row['noise']} | {row['solver_microseconds']:.0f} "
                     f"| {row['with_x0_microseconds']:.0f} | {row['peer_microseconds']:.0f} | {ratios} | {target} |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--json")
    parser.add_argument("--markdown")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    ours = Ours(arguments.program)
    rows = []
    for case in CASES:
        for path in ("independent", "brownian") if case[4] else ("independent",):
            rows.append(measure(ours, case, arguments, path))
    facts = {"versions": f"diffusers {diffusers.__version__}, torch {torch.__version__}", "processor": processor(),
             "commit": commit(), "rounds": arguments.rounds, "steps": arguments.steps}
    print(page(facts, rows))
    if arguments.markdown:
        with open(arguments.markdown, "w") as file:
            file.write(page(facts, rows))
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump({**facts, "rows": rows}, file, indent=1)


main()
