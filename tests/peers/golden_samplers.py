"""Writes tests/golden/schedulers_*.json: where diffusers' own schedulers end, over random settings, from an exact
denoiser (see golden_schedulers.py).

Run:  python tests/peers/golden_samplers.py     (needs torch, numpy, scipy and diffusers 0.42.1; CPU, a minute)

A case has the scheduler's config (only what differs from its defaults), steps, seed and arguments of its calls, the
state in the middle and at the end with the peer in double, and the end of the peer as shipped, all in the peer's own
scaling of the state. Cases the peer itself refuses or ends with NaN are drawn again; how many is written down.
"""
import hashlib
import json
import pathlib
import random

import diffusers
import numpy
import torch

import golden_schedulers as peers
from golden_settings import FILES, draw_case

HERE = pathlib.Path(__file__).resolve()


def finish(case):
    """The case with its ends, or nothing where the peer refuses it or leaves the numbers."""
    try:
        double, shipped = peers.run_case(case, True), peers.run_case(case, False)
    except Exception as error:  # the peer's own refusals have every type there is
        return None, f"{type(error).__name__}: {error}"
    ends = [double.states[len(double.states) // 2 - 1], double.states[-1], shipped.states[-1]]
    if not all(numpy.isfinite(end).all() for end in ends):
        return None, "not finite"
    case["middle"] = [float(f"{v:.9g}") for v in ends[0]]
    case["double"] = [float(v) for v in ends[1]]
    case["shipped"] = [float(f"{v:.8g}") for v in ends[2]]
    case["calls"] = len(double.levels)
    gap = numpy.abs(ends[1] - ends[2]).max() / numpy.abs(ends[1]).max()
    if gap > 1e-5:  # the peer's own single precision
        case["shipped_gap"] = float(f"{gap:.2g}")
    return case, ""


def main():
    if diffusers.__version__ != "0.42.1":
        raise SystemExit(f"needs diffusers 0.42.1, found {diffusers.__version__}")
    names = ("samplers", "schedulers", "settings")
    sources = b"".join((HERE.parent / f"golden_{name}.py").read_bytes() for name in names)
    for file, families in FILES.items():
        cases, refused = [], {}
        for name, fill, count in families:
            rng = random.Random(name)
            while sum(c["config"]["_class_name"] == name for c in cases) < count:
                case, why = finish(draw_case(rng, name, fill))
                if case:
                    cases.append(case)
                else:
                    refused.setdefault(name, []).append(why)
        out = {"peer": f"diffusers {diffusers.__version__}, torch {torch.__version__}, numpy {numpy.__version__}",
               "script": "tests/peers/golden_samplers.py", "script_sha256": hashlib.sha256(sources).hexdigest(),
               "refused": {name: len(why) for name, why in refused.items()}, "cases": cases}
        path = HERE.parent.parent / "golden" / f"schedulers_{file}.json"
        path.write_text(json.dumps(out, separators=(",", ":")).replace('{"config"', '\n{"config"') + "\n")
        gaps = [c["shipped_gap"] for c in cases if "shipped_gap" in c]
        print(path.name, path.stat().st_size, "bytes", len(cases), "cases,", len(gaps), "of them with the peer's own "
              "single and double precision further apart than 1e-5, at most", max(gaps, default=0.0))
        for name, why in refused.items():
            print("  ", name, len(why), sorted(set(w[:150] for w in why))[:6])


if __name__ == "__main__":
    main()
