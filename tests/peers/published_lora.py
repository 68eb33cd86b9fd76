"""Compares `thaw forward ... lora=FILE` with diffusers and peft on random adapters in each layout that is read, or
writes the golden files.

Run:  python tests/peers/published_lora.py --thaw build/release/thaw --work FOLDER
      python tests/peers/published_lora.py --golden
Needs torch, safetensors, peft 0.21.2 and diffusers 0.42.1; CPU, half a minute.

The peer's answer comes from its own adapter layers, not from merged weights; layouts other than peft's are the same
tensors under the names that kohya's scripts and older versions of diffusers write, read back by diffusers where it can.
"""
import argparse
import json
import pathlib
import re
import subprocess
import sys

import torch
from diffusers import UNet2DConditionModel
from diffusers.loaders.lora_conversion_utils import (_convert_non_diffusers_lora_to_diffusers,
                                                     _maybe_map_sgm_blocks_to_diffusers)
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file, save_file

from published_conditioned import SDXL, difference, draw_arguments, make_network, save
from published_networks import TOLERANCE

HERE = pathlib.Path(__file__).resolve()
TARGETS = ["to_q", "to_k", "to_v", "to_out.0", "proj_in", "proj_out", "ff.net.0.proj", "ff.net.2", "conv1", "conv2",
           "conv_shortcut", "time_emb_proj", "downsamplers.0.conv", "upsamplers.0.conv", "conv_in"]
EXTRA = ["text", ("text_embeds", 10), "time_ids"]
RANK, ALPHA = 2, 3.0
CONFIG = SDXL | {"block_out_channels": [8, 16, 16]}


def adapted(rslora=False, targets=TARGETS):
    network, generator = make_network("UNet2DConditionModel", CONFIG, 77)
    arguments = draw_arguments("UNet2DConditionModel", network, (8, 8), EXTRA, generator, 2)
    config = LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=targets, init_lora_weights=False, use_rslora=rslora)
    plain = UNet2DConditionModel(**CONFIG)
    plain.load_state_dict(network.state_dict())
    network.add_adapter(config)
    for name, weight in network.named_parameters():
        if "lora_" in name:
            # Larger ones make a network whose float32 pass is itself 1.7e-5 from its float64 pass.
            weight.data.normal_(0, 0.1, generator=generator)
    return plain, network.eval(), arguments


def answer(network, arguments):
    given = dict(arguments)
    given["added_cond_kwargs"] = {"text_embeds": given.pop("text_embeds"), "time_ids": given.pop("time_ids")}
    with torch.no_grad():
        return {"sample": network(**given).sample}


def kohya_names(layers, alpha=True):
    out = {}
    for key, value in layers.items():
        stem, side = re.match(r"(.*)\.lora_([AB])\.weight$", key).groups()
        name = "lora_unet_" + stem.replace(".", "_")
        out[f"{name}.lora_{'down' if side == 'A' else 'up'}.weight"] = value
        if alpha:
            out[f"{name}.alpha"] = torch.tensor(ALPHA)
    return out


def original_names(layers, layers_per_block=2):
    """The inverse of diffusers' map from the names of the original Stable Diffusion code."""
    parts = {"conv1": "in_layers_2", "conv2": "out_layers_3", "time_emb_proj": "emb_layers_1",
             "conv_shortcut": "skip_connection"}
    out = {}
    for key, value in kohya_names(layers).items():
        stem, ending = key.split(".", 1)
        stem = stem[len("lora_unet_"):]
        found = re.match(r"(down|up)_blocks_(\d+)_(resnets|attentions|downsamplers|upsamplers)_(\d+)_(.*)", stem)
        middle = re.match(r"mid_block_(resnets|attentions)_(\d+)_(.*)", stem)
        if found:
            way, level, kind, index, rest = found.groups()
            level, index, step = int(level), int(index), layers_per_block + 1
            if kind == "downsamplers":
                stem = f"input_blocks_{(level + 1) * step}_0_op"
            elif kind == "upsamplers":
                inner = 2 if any(k.startswith(f"up_blocks.{level}.attentions") for k in layers) else 1
                stem = f"output_blocks_{level * step + layers_per_block}_{inner}_conv"
            else:
                number = level * step + index + (1 if way == "down" else 0)
                rest = parts.get(rest, rest) if kind == "resnets" else rest
                stem = f"{'input' if way == 'down' else 'output'}_blocks_{number}_{int(kind != 'resnets')}_{rest}"
        elif middle:
            kind, index, rest = middle.groups()
            number = 1 if kind == "attentions" else 2 * int(index)
            stem = f"middle_block_{number}_{parts.get(rest, rest) if kind == 'resnets' else rest}"
        elif stem == "conv_in":
            stem = "input_blocks_0_0"
        out[f"lora_unet_{stem}.{ending}"] = value
    return out


def old_names(layers):
    out = {}
    for key, value in layers.items():
        stem, side = re.match(r"(.*)\.lora_([AB])\.weight$", key).groups()
        way = "down" if side == "A" else "up"
        found = re.match(r"(.*attn\d)\.(to_[qkv]|to_out)(?:\.0)?$", stem)
        if found:
            out[f"unet.{found[1]}.processor.{found[2]}_lora.{way}.weight"] = value
        else:
            out[f"unet.{stem}.lora.{way}.weight"] = value
    return out


def layouts():
    """name, network, arguments, expected, tensors, metadata"""
    plain, network, arguments = adapted()
    expected = answer(network, arguments)
    layers = {k: v.detach().contiguous() for k, v in get_peft_model_state_dict(network).items()}
    meta = {"lora_adapter_metadata": json.dumps({"lora_alpha": ALPHA, "r": RANK, "alpha_pattern": {}})}
    pipe = {"lora_adapter_metadata": json.dumps({"unet.lora_alpha": ALPHA, "unet.r": RANK})}
    unet = {f"unet.{k}": v for k, v in layers.items()}
    other = {f"text_encoder.{k}": v.clone() for k, v in list(layers.items())[:4]}
    yield "peft", plain, arguments, expected, layers, meta
    yield "peft_pipeline", plain, arguments, expected, unet | other, pipe
    yield "peft_model", plain, arguments, expected, {f"base_model.model.{k}": v for k, v in layers.items()}, meta
    yield "kohya", plain, arguments, expected, kohya_names(layers), {}
    original = original_names(layers)
    yield "kohya_original", plain, arguments, expected, original, {}
    mapped = _maybe_map_sgm_blocks_to_diffusers(dict(original), plain.config)
    converted, alphas = _convert_non_diffusers_lora_to_diffusers(mapped)
    assert len(converted) == len(layers) and len(alphas) == len(layers) // 2
    # Names without a place for alpha mean alpha = r.
    scaled = {k: v * (ALPHA / RANK if "lora_B" in k else 1) for k, v in layers.items()}
    yield "old_diffusers", plain, arguments, expected, old_names(scaled), {}
    plain, network, arguments = adapted(rslora=True)
    layers = {k: v.detach().contiguous() for k, v in get_peft_model_state_dict(network).items()}
    meta = {"lora_adapter_metadata": json.dumps({"lora_alpha": ALPHA, "r": RANK, "use_rslora": True})}
    yield "rslora", plain, arguments, answer(network, arguments), layers, meta


def check(thaw, work):
    worst, failed = 0.0, []
    for name, network, arguments, expected, tensors, metadata in layouts():
        folder = work / name
        network.save_pretrained(folder / "model")
        save(arguments, folder / "in.st")
        save_file(tensors, folder / "lora.safetensors", metadata={"format": "pt"} | metadata)
        done = subprocess.run([thaw, "forward", folder / "model", "--in", folder / "in.st", "--out", folder / "out.st",
                               f"lora={folder / 'lora.safetensors'}"], capture_output=True, text=True)
        if done.returncode != 0:
            print(f"{name:16} exit {done.returncode}: {done.stderr.strip()}")
            failed.append(name)
            continue
        value = difference(load_file(folder / "out.st"), expected)
        apart = difference(answer(network, arguments), expected)
        worst = max(worst, value)
        print(f"{name:16} {len(tensors):4} tensors  {value:.2e}  (without: {apart:.2f})")
        if not value <= TOLERANCE or apart < 0.1:
            failed.append(name)
    print(f"worst {worst:.2e}, allowed {TOLERANCE:.0e}, failed: {', '.join(failed) or 'none'}")
    return 1 if failed else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--thaw", default="build/release/thaw")
    parser.add_argument("--work", type=pathlib.Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    return check(options.thaw, options.work)


if __name__ == "__main__":
    sys.exit(main())
