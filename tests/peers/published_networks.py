"""Compares `thaw forward` with diffusers on random small networks, or writes the golden files of tests/golden.

Run:  python tests/peers/published_networks.py --thaw build/release/thaw --work FOLDER
      python tests/peers/published_networks.py --golden
Needs torch, numpy, safetensors and diffusers 0.42.1; CPU, a minute.

Every weight is drawn anew (a normal of a spread that keeps activations near 1): layers that start at zero or one would
hide a mistake. The difference is the largest absolute one over the largest absolute output.
"""
import argparse
import hashlib
import json
import pathlib
import subprocess
import sys

import diffusers
import torch
from safetensors.torch import load_file, save_file

HERE = pathlib.Path(__file__).resolve()
TOLERANCE = 1e-5  # float32 in another order of summation
GOLDEN_LIMIT = 100_000  # bytes of a weight file

TINY = {"sample_size": 8, "in_channels": 3, "out_channels": 3, "block_out_channels": [8, 12], "norm_num_groups": 4,
        "down_block_types": ["DownBlock2D", "AttnDownBlock2D"], "up_block_types": ["AttnUpBlock2D", "UpBlock2D"],
        "layers_per_block": 1, "attention_head_dim": 4}
DEEP = TINY | {"sample_size": 16, "block_out_channels": [32, 32, 64], "layers_per_block": 2, "norm_num_groups": 8,
               "down_block_types": ["DownBlock2D", "AttnDownBlock2D", "DownBlock2D"],
               "up_block_types": ["UpBlock2D", "AttnUpBlock2D", "UpBlock2D"], "attention_head_dim": 8}
ATTENDING = {"down_block_types": ["AttnDownBlock2D"] * 3, "up_block_types": ["AttnUpBlock2D"] * 3}
DIT = {"num_attention_heads": 2, "attention_head_dim": 8, "in_channels": 4, "num_layers": 2, "sample_size": 8,
       "num_embeds_ada_norm": 10}
UNET = "UNet2DModel"
TRANSFORMER = "DiTTransformer2DModel"
# name, class, configuration, height and width of the input
CASES = [
    ("unet_tiny", UNET, TINY, (8, 8)),
    ("unet_deep", UNET, DEEP, (16, 16)),
    ("unet_wide_picture", UNET, DEEP, (8, 20)),
    ("unet_attending", UNET, DEEP | ATTENDING, (16, 16)),
    ("unet_resnet_resampling", UNET, DEEP | ATTENDING | {"downsample_type": "resnet", "upsample_type": "resnet"},
     (16, 16)),
    ("unet_resnet_mixed", UNET, DEEP | {"downsample_type": "resnet", "upsample_type": "resnet"}, (16, 16)),
    ("unet_scale_shift", UNET, DEEP | {"resnet_time_scale_shift": "scale_shift"}, (16, 16)),
    ("unet_scale_shift_norm", UNET, DEEP | {"resnet_time_scale_shift": "scale_shift", "attn_norm_num_groups": 16},
     (16, 16)),
    ("unet_classes", UNET, DEEP | {"num_class_embeds": 11}, (16, 16)),
    ("unet_classes_scale_shift", UNET, DEEP | ATTENDING | {"num_class_embeds": 5, "mid_block_scale_factor": 1.4142135,
                                                           "resnet_time_scale_shift": "scale_shift"}, (16, 16)),
    # what google/ddpm-cifar10-32 and its kin set
    ("unet_ddpm", UNET, DEEP | {"downsample_padding": 0, "flip_sin_to_cos": False, "freq_shift": 1, "norm_eps": 1e-6,
                                "attention_head_dim": None, "dropout": 0.1}, (16, 16)),
    ("unet_no_middle_attention", UNET, DEEP | {"add_attention": False, "center_input_sample": True}, (16, 16)),
    ("unet_no_middle", UNET, DEEP | {"mid_block_type": None, "time_embedding_dim": 96}, (16, 16)),
    ("unet_mish", UNET, DEEP | {"act_fn": "mish", "in_channels": 1, "out_channels": 2}, (16, 16)),
    ("unet_gelu", UNET, DEEP | {"act_fn": "gelu"}, (16, 16)),
    ("unet_relu", UNET, DEEP | {"act_fn": "relu"}, (16, 16)),
    ("unet_heads_not_dividing", UNET, DEEP | {"attention_head_dim": 24}, (16, 16)),
    ("unet_one_level", UNET, TINY | {"block_out_channels": [36], "down_block_types": ["AttnDownBlock2D"],
                                     "up_block_types": ["AttnUpBlock2D"]}, (7, 5)),
    ("dit_tiny", TRANSFORMER, DIT, (8, 8)),
    ("dit_two_outputs", TRANSFORMER, DIT | {"out_channels": 8, "num_layers": 4, "num_attention_heads": 4,
                                            "attention_head_dim": 16, "sample_size": 16}, (16, 16)),
    ("dit_larger_picture", TRANSFORMER, DIT | {"sample_size": 8}, (12, 12)),
    ("dit_smaller_picture", TRANSFORMER, DIT | {"sample_size": 16}, (8, 8)),
    ("dit_patch_4", TRANSFORMER, DIT | {"patch_size": 4, "in_channels": 3, "sample_size": 16}, (16, 16)),
    ("dit_patch_1", TRANSFORMER, DIT | {"patch_size": 1, "activation_fn": "gelu", "attention_bias": False}, (8, 8)),
    ("dit_norm_weights", TRANSFORMER, DIT | {"norm_elementwise_affine": True, "norm_eps": 1e-3,
                                             "upcast_attention": True}, (8, 8)),
]
GOLDEN = [
    ("unet2d", UNET, TINY | {"block_out_channels": [8, 8], "num_class_embeds": 5, "downsample_padding": 0,
                             "flip_sin_to_cos": False, "freq_shift": 1,
                             "resnet_time_scale_shift": "scale_shift", "attn_norm_num_groups": 4}, (8, 8)),
    ("dit", TRANSFORMER, DIT | {"attention_head_dim": 6, "out_channels": 8, "num_layers": 2}, (8, 8)),
]


def draw_weights(network, generator):
    for name, weight in network.named_parameters():
        fan_in = weight[0].numel() if weight.dim() > 1 else 1
        if "embedding_table" in name or "class_embedding" in name:
            weight.data.normal_(0, 1, generator=generator)
        elif weight.dim() > 1:
            weight.data.normal_(0, fan_in**-0.5, generator=generator)
        else:
            weight.data.normal_(0, 0.2, generator=generator)
            if "norm" in name and name.endswith("weight"):
                weight.data += 1


def make_case(class_name, config, size, seed, batch=3):
    generator = torch.Generator().manual_seed(seed)
    network = getattr(diffusers, class_name)(**config).eval()
    draw_weights(network, generator)
    first = "sample" if class_name == UNET else "hidden_states"
    arguments = {first: torch.randn(batch, network.config.in_channels, *size, generator=generator),
                 "timestep": torch.tensor([0, 437, 999][:batch])}
    if class_name == UNET:
        num_labels = config.get("num_class_embeds", 0)
    else:
        num_labels = config["num_embeds_ada_norm"] + 1  # the last is the null label
    if num_labels:
        arguments["class_labels"] = torch.tensor([0, num_labels - 1, 2][:batch])
    with torch.no_grad():
        output = network(**arguments).sample.contiguous()
    return network, arguments, output


def check(thaw, work):
    worst, failed = 0.0, []
    for seed, (name, class_name, config, size) in enumerate(CASES):
        folder = work / name
        network, arguments, expected = make_case(class_name, config, size, seed)
        network.save_pretrained(folder)
        save_file(arguments, folder / "in.st")
        save_file({"sample": expected}, folder / "expected.st")
        done = subprocess.run([thaw, "forward", folder, "--in", folder / "in.st", "--out", folder / "out.st"],
                              capture_output=True, text=True)
        if done.returncode != 0:
            print(f"{name:28} exit {done.returncode}: {done.stderr.strip()}")
            failed.append(name)
            continue
        output = load_file(folder / "out.st")["sample"]
        same_shape = output.shape == expected.shape
        difference = float((output - expected).abs().max() / expected.abs().max()) if same_shape else float("inf")
        worst = max(worst, difference)
        print(f"{name:28} {sum(p.numel() for p in network.parameters()):8} weights  {difference:.2e}")
        if not difference <= TOLERANCE:
            failed.append(name)
    print(f"{len(CASES)} networks, worst {worst:.2e}, allowed {TOLERANCE:.0e}, failed: {', '.join(failed) or 'none'}")
    return 1 if failed else 0


def write_golden():
    for seed, (name, class_name, config, size) in enumerate(GOLDEN):
        folder = HERE.parents[1] / "golden" / name
        folder.mkdir(parents=True, exist_ok=True)
        network, arguments, expected = make_case(class_name, config, size, 1000 + seed, batch=2)
        network.save_pretrained(folder)
        with torch.no_grad():
            for weight in network.parameters():  # not network.half(): that rounds the position table too
                weight.copy_(weight.half())
            expected = network(**arguments).sample.contiguous()
        # Half precision on disk: exact, since the weights were rounded to it before the pass.
        weights = {key: value.half() for key, value in network.state_dict().items()}
        path = folder / "diffusion_pytorch_model.safetensors"
        save_file(weights, path, metadata={"format": "pt"})
        made = {"diffusers": diffusers.__version__, "torch": torch.__version__.split("+")[0], "script": HERE.name,
                "sha256": hashlib.sha256(HERE.read_bytes()).hexdigest()}
        (folder / "case").mkdir(exist_ok=True)
        (folder / "case" / "made.json").write_text(json.dumps(made, indent=1) + "\n")
        save_file(arguments, folder / "case" / "in.safetensors")
        save_file({"sample": expected}, folder / "case" / "expected.safetensors")
        for file in folder.rglob("*.*"):
            file.chmod(0o644)
        size = path.stat().st_size
        print(f"{folder.name}: {size} bytes of weights, output {tuple(expected.shape)}")
        if size > GOLDEN_LIMIT:
            sys.exit(f"{path}: {size} bytes, at most {GOLDEN_LIMIT} are committed")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--thaw", default="build/release/thaw")
    parser.add_argument("--work", type=pathlib.Path)
    parser.add_argument("--golden", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.golden:
        write_golden()
        return 0
    if options.work is None:
        parser.error("--work FOLDER is needed without --golden")
    return check(options.thaw, options.work)


if __name__ == "__main__":
    sys.exit(main())
