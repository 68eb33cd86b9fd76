"""Compares `thaw forward` with diffusers on random small networks of sounds, or writes their golden files.

Run:  python tests/peers/published_sounds.py --thaw build/release/thaw --work FOLDER [--only NAME]
      python tests/peers/published_sounds.py --thaw build/release/thaw --work FOLDER --exported OUT_OF_THAW_EXPORT
      python tests/peers/published_sounds.py --golden
Needs torch, numpy, safetensors and diffusers 0.42.1; CPU, two minutes.

Weights and tolerance as in published_networks.py. Behind the named cases, as many of each class are drawn at random
that there are at least 20 of it.
"""
import argparse
import hashlib
import json
import math
import pathlib
import random
import subprocess
import sys

import diffusers
import torch
from diffusers.models.embeddings import get_1d_rotary_pos_embed
from safetensors.torch import load_file, save_file

from published_networks import TOLERANCE, draw_weights

HERE = pathlib.Path(__file__).resolve()
GOLDEN_LIMIT = 350_000  # bytes of a file; the peer cannot make a U-Net narrower than 32 in the middle
LEAST = 20  # networks of a class

DANCE = {"in_channels": 2, "out_channels": 2, "extra_in_channels": 16, "time_embedding_dim": 16,
         "down_block_types": ["DownBlock1DNoSkip", "DownBlock1D", "AttnDownBlock1D"],
         "up_block_types": ["AttnUpBlock1D", "UpBlock1D", "UpBlock1DNoSkip"], "block_out_channels": [32, 32, 64]}
PLAIN = DANCE | {"extra_in_channels": 0, "down_block_types": ["DownBlock1D"] * 2,
                 "up_block_types": ["UpBlock1D"] * 2, "block_out_channels": [8, 32]}
STABLE = {"in_channels": 6, "out_channels": 6, "num_layers": 2, "attention_head_dim": 8, "num_attention_heads": 4,
          "num_key_value_attention_heads": 2, "cross_attention_dim": 20, "time_proj_dim": 16,
          "global_states_input_dim": 14, "cross_attention_input_dim": 10}
OOBLECK = {"encoder_hidden_size": 8, "decoder_channels": 6, "decoder_input_channels": 4, "audio_channels": 2,
           "downsampling_ratios": [2, 4], "channel_multiples": [1, 2]}
UNET, DIT, AUTOENCODER = "UNet1DModel", "StableAudioDiTModel", "AutoencoderOobleck"
# name, class, configuration, length of the sound, further inputs
CASES = [
    ("unet", UNET, DANCE, 96, []),
    # what harmonai/maestro-150k and its kin set, but for the widths
    ("unet_dance", UNET, DANCE | {"block_out_channels": [32, 32, 64, 64], "down_block_types":
                                  ["DownBlock1DNoSkip", "DownBlock1D", "AttnDownBlock1D", "AttnDownBlock1D"],
                                  "up_block_types": ["AttnUpBlock1D", "AttnUpBlock1D", "UpBlock1D", "UpBlock1DNoSkip"],
                                  "act_fn": None, "norm_num_groups": 8, "sample_rate": 16000}, 160, []),
    ("unet_positional", UNET, DANCE | {"time_embedding_type": "positional", "extra_in_channels": 32,
                                       "time_embedding_dim": None}, 96, ["steps"]),
    ("unet_positional_shifted", UNET, DANCE | {"time_embedding_type": "positional", "extra_in_channels": 32,
                                               "freq_shift": 1.0, "flip_sin_to_cos": False}, 96, ["steps"]),
    ("unet_sine_first", UNET, DANCE | {"flip_sin_to_cos": False}, 96, ["steps"]),
    ("unet_default_time", UNET, DANCE | {"time_embedding_dim": None, "extra_in_channels": 64}, 96, []),
    ("unet_more_input", UNET, DANCE | {"extra_in_channels": 19}, 96, []),
    ("unet_untold", UNET, PLAIN, 64, []),
    ("unet_untold_more", UNET, PLAIN | {"extra_in_channels": 3}, 64, []),
    ("unet_shortest", UNET, DANCE, 24, []),
    ("stable", DIT, STABLE, 24, []),
    ("stable_all_heads", DIT, STABLE | {"num_key_value_attention_heads": 4}, 24, []),
    ("stable_one_head", DIT, STABLE | {"num_key_value_attention_heads": 1}, 24, []),
    ("stable_masked", DIT, STABLE, 24, ["mask"]),
    ("stable_masked_text", DIT, STABLE, 24, ["text mask"]),
    ("stable_masked_both", DIT, STABLE, 24, ["mask", "text mask"]),
    ("stable_long", DIT, STABLE | {"num_layers": 1}, 1024, []),
    ("stable_published_head", DIT, STABLE | {"attention_head_dim": 64, "time_proj_dim": 256}, 24, []),
    ("stable_steps", DIT, STABLE, 24, ["steps"]),
    ("oobleck", AUTOENCODER, OOBLECK, 64, []),
    ("oobleck_published_strides", AUTOENCODER, OOBLECK | {"downsampling_ratios": [2, 4, 4, 8, 8],
                                                          "channel_multiples": [1, 2, 2, 3, 4]}, 4096, []),
    ("oobleck_one_level", AUTOENCODER, OOBLECK | {"downsampling_ratios": [16], "channel_multiples": [3]}, 64, []),
    ("oobleck_mono", AUTOENCODER, OOBLECK | {"audio_channels": 1}, 64, []),
    ("oobleck_latents", AUTOENCODER, OOBLECK, 9, ["latents"]),
    ("oobleck_shortest", AUTOENCODER, OOBLECK, 8, []),
]
GOLDEN = [
    ("unet1d", UNET, PLAIN | {"sample_size": 32, "extra_in_channels": 6, "time_embedding_dim": 6, "block_out_channels": [6, 32],
                              "down_block_types": ["DownBlock1DNoSkip", "DownBlock1D"],
                              "up_block_types": ["UpBlock1D", "UpBlock1DNoSkip"]}, 32, []),
    ("stable_audio", DIT, STABLE | {"num_layers": 1}, 12, ["mask", "text mask"]),
    ("oobleck", AUTOENCODER, OOBLECK, 48, []),
]


def random_case(kind, number, draw):
    """Any network of the class that the peer itself can run."""
    if kind == UNET:
        levels = draw.randint(1, 4)
        tells = draw.random() < 0.7
        attends = [draw.random() < 0.4 for _ in range(levels)]
        widths = [draw.choice([32, 40, 64, 96]) for _ in range(levels)]
        down = ["AttnDownBlock1D" if one else "DownBlock1D" for one in attends]
        up = ["AttnUpBlock1D" if one and index > 0 else "UpBlock1D" for index, one in enumerate(attends)][::-1]
        if tells:
            down[0], up[-1] = "DownBlock1DNoSkip", "UpBlock1DNoSkip"
        is_fourier = draw.random() < 0.6
        time = draw.choice([4, 10, 16]) if is_fourier else widths[0]
        config = {"in_channels": draw.randint(1, 3), "out_channels": draw.randint(1, 3), "block_out_channels": widths,
                  "extra_in_channels": time if tells else 0, "down_block_types": down, "up_block_types": up,
                  "time_embedding_type": "fourier" if is_fourier else "positional",
                  "time_embedding_dim": time if is_fourier else None, "flip_sin_to_cos": draw.random() < 0.5,
                  "freq_shift": draw.choice([0.0, 0.5, 1.0])}
        return config, 2 ** (levels + 1) * draw.randint(3, 6), draw.choice([[], ["steps"]])
    if kind == DIT:
        heads = draw.choice([1, 2, 4, 6])
        config = {"in_channels": draw.randint(1, 8), "out_channels": draw.randint(1, 8),
                  "num_layers": draw.randint(1, 3), "attention_head_dim": draw.choice([4, 8, 12, 32]),
                  "num_attention_heads": heads, "cross_attention_dim": draw.randint(3, 40),
                  "num_key_value_attention_heads": draw.choice([n for n in range(1, heads + 1) if heads % n == 0]),
                  "time_proj_dim": draw.choice([2, 8, 64]), "global_states_input_dim": draw.randint(1, 20),
                  "cross_attention_input_dim": draw.randint(1, 20)}
        extra = [item for item in ("mask", "text mask", "steps") if draw.random() < 0.4]
        return config, draw.randint(1, 80), extra
    levels = draw.randint(1, 4)
    latents = draw.randint(1, 6)
    config = {"encoder_hidden_size": 2 * latents, "decoder_channels": draw.randint(1, 8),
              "decoder_input_channels": latents, "audio_channels": draw.randint(1, 3),
              "downsampling_ratios": [draw.choice([2, 4, 6, 8]) for _ in range(levels)],
              "channel_multiples": [draw.randint(1, 4) for _ in range(levels)]}
    length = math.prod(config["downsampling_ratios"]) * draw.randint(1, 5)
    return config, length, draw.choice([[], ["latents"]])


def all_cases():
    cases = list(CASES)
    draw = random.Random(20)
    for kind in (UNET, DIT, AUTOENCODER):
        for number in range(LEAST - sum(one[1] == kind for one in CASES) + 4):
            cases.append((f"{kind.lower()}_{number}", kind, *random_case(kind, number, draw)))
    return cases


def make_network(kind, config, seed):
    generator = torch.Generator().manual_seed(seed)
    network = getattr(diffusers, kind)(**config).eval()
    draw_weights(network, generator)
    for name, weight in network.named_parameters():
        if name.endswith("weight_g"):
            # Small residuals and maps that neither grow nor shrink: squared sines of large numbers are chaotic, and
            # then the peer in float32 is as far from itself in float64.
            scale = 0.2 if "res_unit" in name else 0.7
            weight.data.copy_((weight.data.abs() * 0.2 + 0.8) * scale)
        if name == "time_proj.weight":
            weight.data.normal_(0, 1, generator=generator)
    return network, generator


def draw_arguments(kind, network, length, extra, generator, batch=2):
    """Tensors by the names of the peer's arguments, as they go into the file."""
    def normal(*shape):
        return torch.randn(*shape, generator=generator)
    config = network.config
    if kind == AUTOENCODER:
        if "latents" in extra:
            return {"z": normal(batch, config.decoder_input_channels, length)}
        return {"sample": normal(batch, config.audio_channels, length)}
    timestep = torch.tensor([3, 871]) if "steps" in extra else torch.tensor([0.03, 0.87])
    if kind == UNET:
        tells = config.down_block_types[0] == "DownBlock1DNoSkip"
        is_fourier = config.time_embedding_type == "fourier"
        time = (config.time_embedding_dim or 2 * config.block_out_channels[0]) if is_fourier \
            else config.block_out_channels[0]
        channels = config.in_channels + config.extra_in_channels - (time if tells else 0)
        return {"sample": normal(batch, channels, length), "timestep": timestep}
    made = {"hidden_states": normal(batch, config.in_channels, length), "timestep": timestep,
            "encoder_hidden_states": normal(batch, 5, config.cross_attention_input_dim),
            "global_hidden_states": normal(batch, 1, config.global_states_input_dim)}
    if "mask" in extra:
        made["attention_mask"] = torch.rand(batch, length, generator=generator) < 0.7
    if "text mask" in extra:
        made["encoder_attention_mask"] = torch.tensor([[1, 1, 0, 1, 1], [1, 1, 1, 0, 0]], dtype=torch.bool)
    return made


def call(kind, network, arguments):
    with torch.no_grad():
        if kind == AUTOENCODER:
            if "z" in arguments:
                return {"sample": network.decode(arguments["z"]).sample.contiguous()}
            posterior = network.encode(arguments["sample"]).latent_dist
            return {"sample": network.decode(posterior.mode()).sample.contiguous(),
                    "latents": posterior.mode().contiguous(), "log_variance": posterior.logvar.contiguous()}
        given = dict(arguments)
        if kind == DIT:
            # as the pipeline of Stable Audio makes it
            given["rotary_embedding"] = get_1d_rotary_pos_embed(
                network.config.attention_head_dim // 2, given["hidden_states"].shape[2] + 1, use_real=True,
                repeat_interleave_real=False)
        return {"sample": network(**given).sample.contiguous()}


def gap(output, expected):
    worst = 0.0
    for key, wanted in expected.items():
        if key not in output or output[key].shape != wanted.shape:
            return float("inf")
        worst = max(worst, float((output[key] - wanted).abs().max() / wanted.abs().max()))
    return worst


def check(thaw, work, only):
    worst, failed = {}, []
    for seed, (name, kind, config, length, extra) in enumerate(all_cases()):
        if only and only != name:
            continue
        folder = work / name
        network, generator = make_network(kind, config, seed)
        arguments = draw_arguments(kind, network, length, extra, generator)
        expected = call(kind, network, arguments)
        network.save_pretrained(folder, max_shard_size="20KB" if seed % 2 else "10GB")
        save_file(arguments, folder / "in.st")
        done = subprocess.run([thaw, "forward", folder, "--in", folder / "in.st", "--out", folder / "out.st"],
                              capture_output=True, text=True)
        if done.returncode != 0:
            print(f"{name:28} exit {done.returncode}: {done.stderr.strip()}")
            failed.append(name)
            continue
        value = gap(load_file(folder / "out.st"), expected)
        worst.setdefault(kind, []).append(value)
        print(f"{name:28} {sum(p.numel() for p in network.parameters()):8} weights  {value:.2e}")
        if not value <= TOLERANCE:
            failed.append(name)
    for kind, values in worst.items():
        print(f"{kind}: {len(values)} networks, worst {max(values):.2e}")
    print(f"allowed {TOLERANCE:.0e}, failed: {', '.join(failed) or 'none'}")
    return 1 if failed else 0


def check_exported(thaw, folder, work):
    """A network that `thaw export` wrote: the peer loads it whole and gives what Thaw gives."""
    network, loading = diffusers.AutoencoderOobleck.from_pretrained(folder, output_loading_info=True)
    left = {key: value for key, value in loading.items() if value}
    length = 8 * network.hop_length
    arguments = {"sample": torch.randn(2, network.config.audio_channels, length,
                                       generator=torch.Generator().manual_seed(1))}
    work.mkdir(parents=True, exist_ok=True)
    save_file(arguments, work / "in.st")
    subprocess.run([thaw, "forward", folder, "--in", work / "in.st", "--out", work / "out.st"], check=True,
                   capture_output=True)
    value = gap(load_file(work / "out.st"), call(AUTOENCODER, network.eval(), arguments))
    print(f"{folder}: {sum(p.numel() for p in network.parameters())} weights, {value:.2e}, left over: {left or 'none'}")
    return 1 if left or not value <= TOLERANCE else 0


def write_golden():
    for seed, (name, kind, config, length, extra) in enumerate(GOLDEN):
        folder = HERE.parents[1] / "golden" / name
        (folder / "case").mkdir(parents=True, exist_ok=True)
        network, generator = make_network(kind, config, 4000 + seed)
        network.save_pretrained(folder)
        for tensor in network.state_dict().values():
            tensor.copy_(tensor.half())
        arguments = draw_arguments(kind, network, length, extra, generator)
        # Half precision on disk: exact, since the weights were rounded to it before the pass.
        weights = {key: value.half() for key, value in network.state_dict().items()}
        save_file(weights, folder / "diffusion_pytorch_model.safetensors", metadata={"format": "pt"})
        made = {"diffusers": diffusers.__version__, "torch": torch.__version__.split("+")[0], "script": HERE.name,
                "sha256": hashlib.sha256(HERE.read_bytes()).hexdigest()}
        (folder / "case" / "made.json").write_text(json.dumps(made, indent=1) + "\n")
        save_file(arguments, folder / "case" / "in.safetensors")
        save_file(call(kind, network, arguments), folder / "case" / "expected.safetensors")
        for file in folder.rglob("*.*"):
            file.chmod(0o644)
            if file.stat().st_size > GOLDEN_LIMIT:
                sys.exit(f"{file}: {file.stat().st_size} bytes, at most {GOLDEN_LIMIT} are committed")
        print(f"{folder.name}: {sum(file.stat().st_size for file in folder.rglob('*.*'))} bytes")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--thaw", default="build/release/thaw")
    parser.add_argument("--work", type=pathlib.Path)
    parser.add_argument("--only")
    parser.add_argument("--exported", type=pathlib.Path)
    parser.add_argument("--golden", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.golden:
        write_golden()
        return 0
    if options.work is None:
        parser.error("--work FOLDER is needed without --golden")
    if options.exported:
        return check_exported(options.thaw, options.exported, options.work)
    return check(options.thaw, options.work, options.only)


if __name__ == "__main__":
    sys.exit(main())
