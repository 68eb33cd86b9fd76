"""Compares `thaw forward` with diffusers on random small networks of clips, or writes their golden files.

Run:  python tests/peers/published_clips.py --thaw build/release/thaw --work FOLDER [--only NAME]
      python tests/peers/published_clips.py --golden
Needs torch, numpy, safetensors and diffusers 0.42.1; CPU, a minute.

Weights and tolerance as in published_networks.py.
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

from published_networks import TOLERANCE, draw_weights

HERE = pathlib.Path(__file__).resolve()
GOLDEN_LIMIT = 100_000  # bytes of a file

LATTE = {"num_attention_heads": 2, "attention_head_dim": 12, "in_channels": 4, "out_channels": 8, "num_layers": 2,
         "cross_attention_dim": 24, "sample_size": 8, "patch_size": 2, "activation_fn": "gelu-approximate",
         "norm_type": "ada_norm_single", "norm_elementwise_affine": False, "norm_eps": 1e-6, "caption_channels": 10,
         "video_length": 4, "attention_bias": True}
WAN = {"patch_size": [1, 2, 2], "num_attention_heads": 2, "attention_head_dim": 12, "in_channels": 4, "out_channels": 4,
       "text_dim": 10, "freq_dim": 16, "ffn_dim": 40, "num_layers": 2}
IMAGE = {"image_dim": 9, "added_kv_proj_dim": 24, "in_channels": 9}
# name, class, configuration, frames, height and width of the input, further inputs
CASES = [
    ("latte", "Latte", LATTE, (4, 8, 8), []),
    ("latte_spatial_only", "Latte", LATTE, (4, 8, 8), ["still"]),
    ("latte_temporal_said", "Latte", LATTE, (4, 8, 8), ["moving"]),
    ("latte_one_frame", "Latte", LATTE, (1, 8, 8), []),
    ("latte_other_sides", "Latte", LATTE | {"video_length": 3}, (3, 12, 6), []),
    ("latte_stretched", "Latte", LATTE | {"sample_size": 128}, (4, 8, 12), []),
    ("latte_without_text", "Latte", LATTE | {"cross_attention_dim": None}, (4, 8, 8), []),
    ("latte_defaults", "Latte", LATTE | {"activation_fn": "geglu", "norm_elementwise_affine": True, "norm_eps": 1e-3,
                                         "attention_bias": False, "out_channels": None}, (4, 8, 8), []),
    ("latte_patch_1", "Latte", LATTE | {"patch_size": 1, "activation_fn": "gelu", "num_layers": 3}, (4, 4, 5), []),
    ("latte_published_width", "Latte", LATTE | {"num_attention_heads": 4, "attention_head_dim": 72,
                                                "cross_attention_dim": 288, "sample_size": 64}, (4, 8, 8), []),
    ("wan", "Wan", WAN, (3, 4, 6), []),
    ("wan_published_head", "Wan", WAN | {"num_attention_heads": 1, "attention_head_dim": 128, "freq_dim": 256},
     (5, 8, 12), []),
    ("wan_long", "Wan", WAN | {"num_layers": 1}, (300, 2, 4), []),
    ("wan_time_patch", "Wan", WAN | {"patch_size": [2, 2, 1]}, (4, 8, 3), []),
    ("wan_still", "Wan", WAN | {"out_channels": None}, (1, 8, 8), []),
    ("wan_plain_text", "Wan", WAN | {"cross_attn_norm": False, "eps": 1e-3}, (3, 4, 6), []),
    ("wan_each_timestep", "Wan", WAN | {"num_layers": 3}, (3, 4, 6), ["each"]),
    ("wan_most_places", "Wan", WAN | {"rope_max_seq_len": 5}, (5, 10, 4), []),
    ("wan_narrow_head", "Wan", WAN | {"num_attention_heads": 6, "attention_head_dim": 4}, (3, 4, 6), []),
    ("wan_image", "Wan", WAN | IMAGE, (3, 4, 6), ["image"]),
    ("wan_two_images", "Wan", WAN | IMAGE | {"pos_embed_seq_len": 10}, (3, 4, 6), ["two images"]),
    ("wan_image_among_text", "Wan", WAN | {"image_dim": 9}, (3, 4, 6), ["image", "short text"]),
    ("wan_image_each_timestep", "Wan", WAN | IMAGE, (2, 4, 6), ["image", "each"]),
]
GOLDEN = [
    ("latte", "Latte", LATTE | {"attention_head_dim": 10, "cross_attention_dim": 20}, (4, 8, 4), []),
    ("wan", "Wan", WAN | {"attention_head_dim": 14, "num_layers": 1}, (3, 4, 6), ["each"]),
    ("wan_image", "Wan", WAN | IMAGE | {"num_attention_heads": 1, "attention_head_dim": 12, "added_kv_proj_dim": 12,
                                        "pos_embed_seq_len": 10, "text_dim": 6, "num_layers": 1},
     (2, 4, 4), ["two images"]),
]


def make_network(kind, config, seed):
    generator = torch.Generator().manual_seed(seed)
    network = getattr(diffusers, f"{kind}Transformer3DModel")(**config).eval()
    draw_weights(network, generator)
    return network, generator


def draw_arguments(network, size, extra, generator):
    """Tensors by the names of the peer's arguments, as they go into the file."""
    def normal(*shape):
        return torch.randn(*shape, generator=generator)
    config, batch = network.config, 2
    has_image = any("image" in item for item in extra)
    # Wan takes the last 512 tokens for the text where it attends to images apart.
    tokens = 512 if has_image and "short text" not in extra else 5
    width = config.get("caption_channels") or config.get("text_dim")
    made = {"hidden_states": normal(batch, config.in_channels, *size), "timestep": torch.tensor([3, 871]),
            "encoder_hidden_states": normal(batch, tokens, width)}
    for item in extra:
        if item == "each":
            patches = [side // patch for side, patch in zip(size, config.patch_size)]
            made["timestep"] = torch.randint(0, 1000, (batch, patches[0] * patches[1] * patches[2]), generator=generator)
        elif item == "image":
            made["encoder_hidden_states_image"] = normal(batch, 7, config.image_dim)
        elif item == "two images":
            made["encoder_hidden_states_image"] = normal(2 * batch, config.pos_embed_seq_len // 2, config.image_dim)
        elif item in ("still", "moving"):
            made["enable_temporal_attentions"] = torch.tensor(int(item == "moving"))
    return made


def call(network, arguments):
    given = dict(arguments)
    if "enable_temporal_attentions" in given:
        given["enable_temporal_attentions"] = bool(given["enable_temporal_attentions"])
    with torch.no_grad():
        return network(**given).sample.contiguous()


def check(thaw, work, only):
    worst, failed = {}, []
    for seed, (name, kind, config, size, extra) in enumerate(CASES):
        if only and only != name:
            continue
        folder = work / name
        network, generator = make_network(kind, config, seed)
        arguments = draw_arguments(network, size, extra, generator)
        expected = call(network, arguments)
        network.save_pretrained(folder, max_shard_size="20KB" if seed % 2 else "10GB")
        save_file(arguments, folder / "in.st")
        done = subprocess.run([thaw, "forward", folder, "--in", folder / "in.st", "--out", folder / "out.st"],
                              capture_output=True, text=True)
        if done.returncode != 0:
            print(f"{name:24} exit {done.returncode}: {done.stderr.strip()}")
            failed.append(name)
            continue
        output = load_file(folder / "out.st")["sample"]
        same_shape = output.shape == expected.shape
        value = float((output - expected).abs().max() / expected.abs().max()) if same_shape else float("inf")
        worst.setdefault(kind, []).append(value)
        print(f"{name:24} {sum(p.numel() for p in network.parameters()):8} weights  {value:.2e}")
        if not value <= TOLERANCE:
            failed.append(name)
    for kind, values in worst.items():
        print(f"{kind}Transformer3DModel: {len(values)} networks, worst {max(values):.2e}")
    print(f"allowed {TOLERANCE:.0e}, failed: {', '.join(failed) or 'none'}")
    return 1 if failed else 0


def write_golden():
    for seed, (name, kind, config, size, extra) in enumerate(GOLDEN):
        folder = HERE.parents[1] / "golden" / name
        (folder / "case").mkdir(parents=True, exist_ok=True)
        network, generator = make_network(kind, config, 3000 + seed)
        network.save_pretrained(folder)
        for weight in network.parameters():
            weight.data.copy_(weight.data.half())
        arguments = draw_arguments(network, size, extra, generator)
        # Half precision on disk: exact, since the weights were rounded to it before the pass.
        weights = {key: value.half() for key, value in network.state_dict().items()}
        save_file(weights, folder / "diffusion_pytorch_model.safetensors", metadata={"format": "pt"})
        made = {"diffusers": diffusers.__version__, "torch": torch.__version__.split("+")[0], "script": HERE.name,
                "sha256": hashlib.sha256(HERE.read_bytes()).hexdigest()}
        (folder / "case" / "made.json").write_text(json.dumps(made, indent=1) + "\n")
        save_file(arguments, folder / "case" / "in.safetensors")
        save_file({"sample": call(network, arguments)}, folder / "case" / "expected.safetensors")
        for file in folder.rglob("*.*"):
            file.chmod(0o644)
            if file.stat().st_size > GOLDEN_LIMIT:
                sys.exit(f"{file}: at most {GOLDEN_LIMIT} bytes are committed")
        print(f"{folder.name}: {sum(file.stat().st_size for file in folder.rglob('*.*'))} bytes")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--thaw", default="build/release/thaw")
    parser.add_argument("--work", type=pathlib.Path)
    parser.add_argument("--only")
    parser.add_argument("--golden", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.golden:
        write_golden()
        return 0
    if options.work is None:
        parser.error("--work FOLDER is needed without --golden")
    return check(options.thaw, options.work, options.only)


if __name__ == "__main__":
    sys.exit(main())
