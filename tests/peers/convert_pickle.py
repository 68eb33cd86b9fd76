"""Writes the weights of pickles (.bin, .ckpt, .pt, .pth) as safetensors beside them.

Run:  python tests/peers/convert_pickle.py FOLDER|FILE ...
Needs torch and safetensors. A pickle is a program: torch reads these with weights_only=True, which runs none of it and
refuses what needs more. Tensors alone are kept; numbers and settings of a training are left out by name.
"""
import json
import pathlib
import sys

import torch
from safetensors.torch import save_file

SUFFIXES = (".bin", ".ckpt", ".pt", ".pth")


def converted(name):
    stem = name[:-len(pathlib.Path(name).suffix)] + ".safetensors"
    return stem.replace("pytorch_model", "model", 1) if stem.startswith("pytorch_model") else stem


def convert_index(path):
    index = json.loads(path.read_text())
    index["weight_map"] = {name: converted(file) for name, file in index["weight_map"].items()}
    target = path.with_name(converted(path.name.removesuffix(".index.json")) + ".index.json")
    target.write_text(json.dumps(index, indent=2))
    print(target)


def convert(path):
    held = torch.load(path, map_location="cpu", weights_only=True)
    while isinstance(held, dict) and isinstance(held.get("state_dict"), dict):
        held = held["state_dict"]
    if not isinstance(held, dict):
        raise SystemExit(f"{path}: holds a {type(held).__name__}, expected tensors by name.")
    # Tied weights share memory, which the format does not know: each gets its own.
    tensors = {name: value.contiguous().clone() for name, value in held.items() if isinstance(value, torch.Tensor)}
    left = sorted(name for name in held if name not in tensors)
    target = path.with_name(converted(path.name))
    save_file(tensors, target, {"format": "pt"})
    print(f"{target}: {len(tensors)} tensors" + (f", left out: {', '.join(left)}" if left else ""))


def main():
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    for argument in map(pathlib.Path, sys.argv[1:]):
        paths = sorted(p for p in argument.rglob("*") if p.suffix in SUFFIXES) if argument.is_dir() else [argument]
        for path in sorted(argument.rglob("*.bin.index.json")) if argument.is_dir() else []:
            convert_index(path)
        for path in paths:
            convert(path)


if __name__ == "__main__":
    main()
