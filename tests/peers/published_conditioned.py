"""Compares `thaw forward` with diffusers on random small conditioned networks, autoencoders and ControlNets, or writes
their golden files.

Run:  python tests/peers/published_conditioned.py --thaw build/release/thaw --work FOLDER [--only NAME]
      python tests/peers/published_conditioned.py --golden
Needs torch, numpy, safetensors and diffusers 0.42.1; CPU, two minutes.

Weights and tolerance as in published_networks.py. A case is compared in every tensor of the answer.
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
GOLDEN_LIMIT = 120_000  # bytes of a weight file

SD = {"sample_size": 8, "in_channels": 4, "out_channels": 4, "block_out_channels": [16, 32], "norm_num_groups": 4,
      "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"], "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
      "layers_per_block": 1, "attention_head_dim": 4, "cross_attention_dim": 12}
SDXL = SD | {"down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
             "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
             "block_out_channels": [16, 32, 32], "attention_head_dim": [2, 4, 8], "use_linear_projection": True,
             "transformer_layers_per_block": [1, 2, 3], "addition_embed_type": "text_time",
             "addition_time_embed_dim": 8, "projection_class_embeddings_input_dim": 10 + 6 * 8, "layers_per_block": 2}
CONTROL = {key: SD[key] for key in SD if key not in ("sample_size", "out_channels", "up_block_types")}
CONTROL |= {"conditioning_embedding_out_channels": [4, 8, 12]}
CONTROLXL = {key: SDXL[key] for key in SDXL if key not in ("sample_size", "out_channels", "up_block_types")}
KL = {"in_channels": 3, "out_channels": 3, "block_out_channels": [8, 16], "norm_num_groups": 4, "layers_per_block": 1,
      "down_block_types": ["DownEncoderBlock2D"] * 2, "up_block_types": ["UpDecoderBlock2D"] * 2, "latent_channels": 4,
      "sample_size": 16}
TINY = {"encoder_block_out_channels": [8] * 3, "decoder_block_out_channels": [8] * 3, "num_encoder_blocks": [1, 2, 1],
        "num_decoder_blocks": [1, 2, 1]}
PIXART = {"num_attention_heads": 3, "attention_head_dim": 8, "in_channels": 4, "out_channels": 8, "num_layers": 2,
          "cross_attention_dim": 24, "sample_size": 16, "caption_channels": 10}
SD3 = {"sample_size": 16, "patch_size": 2, "in_channels": 4, "out_channels": 4, "num_layers": 3,
       "attention_head_dim": 8, "num_attention_heads": 3, "joint_attention_dim": 12, "caption_projection_dim": 24,
       "pooled_projection_dim": 10, "pos_embed_max_size": 12}
FLUX = {"in_channels": 16, "num_layers": 2, "num_single_layers": 2, "attention_head_dim": 16, "num_attention_heads": 2,
        "joint_attention_dim": 12, "pooled_projection_dim": 10, "axes_dims_rope": [4, 6, 6]}
UNET, CONTROLNET = "UNet2DConditionModel", "ControlNetModel"
AUTO, AUTOTINY = "AutoencoderKL", "AutoencoderTiny"
# name, class, configuration, height and width of the input, further inputs
CASES = [
    ("sd1", UNET, SD, (8, 8), ["text"]),
    ("sd1_mask", UNET, SD, (8, 8), ["text", "mask"]),
    ("sd1_odd_sides", UNET, SD | {"block_out_channels": [16, 16, 32],
                                  "down_block_types": ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
                                  "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"]},
     (9, 14), ["text"]),
    ("sd1_no_cross_down", UNET, SD | {"mid_block_type": None, "downsample_padding": 0, "center_input_sample": True},
     (8, 8), ["text"]),
    ("sd1_plain_middle", UNET, SD | {"mid_block_type": "UNetMidBlock2D", "mid_block_scale_factor": 1.4}, (8, 8),
     ["text"]),
    ("sd1_residuals", UNET, SD, (8, 8), ["text", "residuals"]),
    ("sd1_pooled_residuals", UNET, SD, (8, 8), ["text", "pooled residuals"]),
    ("sd2", UNET, SD | {"attention_head_dim": [2, 4], "use_linear_projection": True, "upcast_attention": True}, (8, 12),
     ["text"]),
    ("sd_text_only_attention", UNET, SD | {"only_cross_attention": [True, False]}, (8, 8), ["text"]),
    ("sd_text_projection", UNET, SD | {"encoder_hid_dim": 7, "encoder_hid_dim_type": "text_proj"}, (8, 8), ["text"]),
    ("sd_scale_shift", UNET, SD | {"resnet_time_scale_shift": "scale_shift", "act_fn": "gelu", "freq_shift": 1,
                                   "flip_sin_to_cos": False}, (8, 8), ["text"]),
    ("sd_classes", UNET, SD | {"num_class_embeds": 7}, (8, 8), ["text", "labels"]),
    ("sd_class_timestep", UNET, SD | {"class_embed_type": "timestep"}, (8, 8), ["text", "numbers"]),
    ("sd_class_identity", UNET, SD | {"class_embed_type": "identity"}, (8, 8), ["text", ("class_labels", 64)]),
    ("sd_class_projection", UNET, SD | {"class_embed_type": "projection", "projection_class_embeddings_input_dim": 9},
     (8, 8), ["text", ("class_labels", 9)]),
    ("sd_class_simple", UNET, SD | {"class_embed_type": "simple_projection",
                                    "projection_class_embeddings_input_dim": 9}, (8, 8), ["text", ("class_labels", 9)]),
    ("sd_lcm", UNET, SD | {"time_cond_proj_dim": 10}, (8, 8), ["text", ("timestep_cond", 10)]),
    ("sd_activations", UNET, SD | {"timestep_post_act": "silu", "time_embedding_act_fn": "mish", "time_embedding_dim": 40,
                                   "conv_in_kernel": 5, "conv_out_kernel": 1}, (8, 8), ["text"]),
    ("sd_widths_of_text", UNET, SD | {"layers_per_block": [1, 2]}, (8, 8), ["text"]),
    ("sdxl", UNET, SDXL, (16, 8), ["text", ("text_embeds", 10), "time_ids"]),
    ("sdxl_depths", UNET, SDXL | {"transformer_layers_per_block": [[1, 1], [2, 1], [1, 3]],
                                  "reverse_transformer_layers_per_block": [[3, 1, 1], [1, 2, 1], [1, 1, 1]]}, (8, 8),
     ["text", ("text_embeds", 10), "time_ids"]),
    ("control", CONTROLNET, CONTROL, (8, 8), ["text", "control"]),
    ("control_scaled", CONTROLNET, CONTROL | {"controlnet_conditioning_channel_order": "bgr"}, (8, 8),
     ["text", "control", "scale"]),
    ("control_pooled", CONTROLNET, CONTROL | {"global_pool_conditions": True, "mid_block_type": "UNetMidBlock2D"},
     (8, 8), ["text", "control"]),
    ("control_xl", CONTROLNET, CONTROLXL | {"conditioning_embedding_out_channels": [4, 8]}, (8, 8),
     ["text", "control", ("text_embeds", 10), "time_ids"]),
    ("kl", AUTO, KL, (16, 24), []),
    ("kl_sd3", AUTO, KL | {"use_quant_conv": False, "use_post_quant_conv": False, "latent_channels": 16,
                           "block_out_channels": [8, 16, 16], "down_block_types": ["DownEncoderBlock2D"] * 3,
                           "up_block_types": ["UpDecoderBlock2D"] * 3, "layers_per_block": 2,
                           "scaling_factor": 1.5305, "shift_factor": 0.0609}, (16, 16), []),
    ("kl_no_attention", AUTO, KL | {"mid_block_add_attention": False}, (8, 8), []),
    ("kl_latents", AUTO, KL, (8, 12), ["z"]),
    ("tiny", AUTOTINY, TINY, (16, 24), []),
    ("tiny_latents", AUTOTINY, TINY | {"act_fn": "silu", "latent_channels": 16}, (4, 6), ["z"]),
    ("pixart", "PixArtTransformer2DModel", PIXART, (16, 16), ["text", "mask"]),
    ("pixart_wide", "PixArtTransformer2DModel", PIXART | {"sample_size": 128}, (8, 20),
     ["text", "resolution"]),
    ("pixart_plain", "PixArtTransformer2DModel", PIXART | {"caption_channels": None, "out_channels": None,
                                                           "activation_fn": "geglu", "attention_bias": False,
                                                           "interpolation_scale": 2,
                                                           "norm_elementwise_affine": True}, (16, 16), ["text"]),
    ("sd3", "SD3Transformer2DModel", SD3, (16, 16), ["text", ("pooled_projections", 10)]),
    ("sd35", "SD3Transformer2DModel", SD3 | {"qk_norm": "rms_norm", "dual_attention_layers": [0, 1]}, (10, 18),
     ["text", ("pooled_projections", 10)]),
    ("flux", "FluxTransformer2DModel", FLUX, (8, 12), ["text", ("pooled_projections", 10), "unpacked"]),
    ("flux_guided", "FluxTransformer2DModel", FLUX | {"guidance_embeds": True}, (8, 8),
     ["text", ("pooled_projections", 10), "unpacked", "guidance"]),
    ("flux_tokens", "FluxTransformer2DModel", FLUX | {"out_channels": 8}, (6, 10), ["text", ("pooled_projections", 10)]),
]
GOLDEN = [
    ("unet2d_condition", UNET, SDXL | {"block_out_channels": [8, 8], "attention_head_dim": [2, 4], "layers_per_block": 1,
                                       "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
                                       "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
                                       "transformer_layers_per_block": [1, 2]},
     (8, 8), ["text", "mask", ("text_embeds", 10), "time_ids", "residuals"]),
    ("controlnet", CONTROLNET, CONTROL | {"block_out_channels": [8, 8], "conditioning_embedding_out_channels": [4, 6]},
     (8, 8), ["text", "control", "scale"]),
    ("autoencoder_kl", AUTO, KL | {"block_out_channels": [8, 8], "sample_size": 8}, (12, 20), []),
    ("autoencoder_tiny", AUTOTINY, TINY, (16, 16), []),
    ("pixart", "PixArtTransformer2DModel", PIXART | {"num_layers": 1}, (16, 8), ["text", "mask"]),
    ("sd3", "SD3Transformer2DModel", SD3 | {"num_layers": 2, "qk_norm": "rms_norm", "dual_attention_layers": [0],
                                         "num_attention_heads": 2, "caption_projection_dim": 16},
     (8, 12), ["text", ("pooled_projections", 10)]),
    ("flux", "FluxTransformer2DModel", FLUX | {"num_layers": 1, "num_single_layers": 1, "guidance_embeds": True,
                                        "attention_head_dim": 8, "axes_dims_rope": [2, 2, 4]}, (8, 4),
     ["text", ("pooled_projections", 10), "unpacked", "guidance"]),
]


def pack(x):
    n, c, h, w = x.shape
    return x.view(n, c, h // 2, 2, w // 2, 2).permute(0, 2, 4, 1, 3, 5).reshape(n, h // 2 * (w // 2), 4 * c)


def unpack(x, size):
    n, _, c = x.shape
    rows, columns = size[0] // 2, size[1] // 2
    return x.view(n, rows, columns, c // 4, 2, 2).permute(0, 3, 1, 4, 2, 5).reshape(n, c // 4, 2 * rows, 2 * columns)


def make_network(class_name, config, seed):
    generator = torch.Generator().manual_seed(seed)
    network = getattr(diffusers, class_name)(**config).eval()
    draw_weights(network, generator)
    return network, generator


def text_features(network):
    for key in ("encoder_hid_dim", "caption_channels", "joint_attention_dim", "cross_attention_dim"):
        if network.config.get(key) is not None:
            return network.config[key]
    raise KeyError("no width of text")


def draw_arguments(class_name, network, size, extra, generator, batch):
    """Tensors by the names of the peer's arguments, as they go into the file."""
    def normal(*shape):
        return torch.randn(*shape, generator=generator)
    config = network.config
    if class_name in (AUTO, AUTOTINY):
        if "z" in extra:
            return {"z": normal(batch, config.latent_channels, *size)}
        return {"sample": normal(batch, config.in_channels, *size)}
    is_unet = class_name in (UNET, CONTROLNET)
    channels = config.in_channels // (4 if class_name.startswith("Flux") else 1)
    made = {"sample" if is_unet else "hidden_states": normal(batch, channels, *size),
            "timestep": torch.tensor([3, 437, 999][:batch])}
    if class_name.startswith("Flux"):
        made["timestep"] = torch.tensor([0.011, 0.437, 0.999][:batch])
    for item in extra:
        if isinstance(item, tuple):
            made[item[0]] = normal(batch, item[1])
        elif item == "text":
            made["encoder_hidden_states"] = normal(batch, 5, text_features(network))
        elif item == "mask":
            made["encoder_attention_mask"] = torch.tensor([[1, 1, 1, 0, 0], [1, 0, 1, 0, 1], [1] * 5][:batch]).float()
        elif item == "labels":
            made["class_labels"] = torch.tensor([0, 6, 2][:batch])
        elif item == "numbers":
            made["class_labels"] = torch.tensor([0.0, 500.0, 2.5][:batch])
        elif item == "time_ids":
            made["time_ids"] = torch.tensor([[1024.0, 1024, 0, 0, 1024, 1024], [512, 768, 10, 3, 1024, 960],
                                             [64, 64, 0, 0, 8, 8]][:batch])
        elif item == "control":
            factor = 2 ** (len(config.conditioning_embedding_out_channels) - 1)
            made["controlnet_cond"] = normal(batch, 3, size[0] * factor, size[1] * factor)
        elif item == "scale":
            made["conditioning_scale"] = torch.tensor(0.7)
        elif item == "resolution":
            made["resolution"] = torch.tensor([[512.0, 512], [1024, 768], [256, 256]][:batch])
            made["aspect_ratio"] = torch.tensor([[1.0], [1.3333], [0.5]][:batch])
        elif item == "guidance":
            made["guidance"] = torch.tensor([3.5, 1.0, 7.25][:batch])
        elif item in ("residuals", "pooled residuals"):
            made |= draw_residuals(network, made, generator, item.startswith("pooled"))
    if class_name.startswith("Flux"):
        if "unpacked" not in extra:
            rows, columns = size[0] // 2, size[1] // 2
            made["hidden_states"] = pack(made["hidden_states"])
            ids = torch.zeros(rows, columns, 3)
            ids[..., 1] = torch.arange(rows)[:, None] * 2.0
            ids[..., 2] = torch.arange(columns)[None] + 1.0
            made["img_ids"] = ids.reshape(rows * columns, 3)
            made["txt_ids"] = torch.arange(15.0).reshape(5, 3)
    return made


def draw_residuals(network, made, generator, pooled):
    shapes = []
    hooks = [network.conv_in.register_forward_hook(lambda *a: shapes.append(a[2].shape))]
    for block in network.down_blocks:
        layers = list(block.attentions) if hasattr(block, "attentions") else list(block.resnets)
        for layer in layers + list(block.downsamplers or []):
            hooks.append(layer.register_forward_hook(
                lambda *a: shapes.append((a[2][0] if isinstance(a[2], tuple) else a[2]).shape)))
    with torch.no_grad():
        call("UNet2DConditionModel", network, made)
    for hook in hooks:
        hook.remove()
    shapes = [shape[:2] + (1, 1) if pooled else shape for shape in shapes]
    out = {f"down_block_additional_residuals.{i}": torch.randn(*shape, generator=generator)
           for i, shape in enumerate(shapes)}
    out["mid_block_additional_residual"] = torch.randn(*shapes[-1], generator=generator)
    return out


def call(class_name, network, arguments):
    """The peer's answer, by the names that `thaw forward` writes."""
    given = dict(arguments)
    if class_name == AUTO:
        if "z" in given:
            return {"sample": network.decode(given["z"]).sample}
        posterior = network.encode(given["sample"]).latent_dist
        return {"sample": network(given["sample"]).sample, "latents": posterior.mean, "log_variance": posterior.logvar}
    if class_name == AUTOTINY:
        if "z" in given:
            return {"sample": network.decode(given["z"]).sample}
        latents = network.encode(given["sample"]).latents
        return {"sample": network.decode(latents).sample, "latents": latents}
    keys = ("text_embeds", "time_ids") if class_name in (UNET, CONTROLNET) else ("resolution", "aspect_ratio")
    added = {key: given.pop(key) for key in keys if key in given}
    if added:
        given["added_cond_kwargs"] = added
    residuals = [given.pop(key) for key in sorted((k for k in given if k.startswith("down_block_")),
                                                  key=lambda k: int(k.rsplit(".")[-1]))]
    if residuals:
        given["down_block_additional_residuals"] = tuple(residuals)
    if class_name == CONTROLNET:
        if "conditioning_scale" in given:
            given["conditioning_scale"] = float(given["conditioning_scale"])
        out = network(**given)
        named = {f"down_block_res_samples.{i}": one for i, one in enumerate(out.down_block_res_samples)}
        return named | {"mid_block_res_sample": out.mid_block_res_sample}
    if class_name.startswith("Flux") and given["hidden_states"].dim() == 4:
        size = given["hidden_states"].shape[2:]
        rows, columns = size[0] // 2, size[1] // 2
        given["hidden_states"] = pack(given["hidden_states"])
        ids = torch.zeros(rows, columns, 3)
        ids[..., 1] = torch.arange(rows)[:, None]
        ids[..., 2] = torch.arange(columns)[None]
        given |= {"img_ids": ids.reshape(-1, 3), "txt_ids": torch.zeros(5, 3)}
        return {"sample": unpack(network(**given).sample, size)}
    return {"sample": network(**given).sample}


def difference(output, expected):
    if output.keys() != expected.keys() or any(output[k].shape != expected[k].shape for k in expected):
        return float("inf")
    return max(float((output[k] - expected[k]).abs().max() / expected[k].abs().max()) for k in expected)


def save(tensors, path):
    save_file({key: value.contiguous() for key, value in tensors.items()}, path)


def check(thaw, work, only):
    worst, failed = {}, []
    for seed, (name, class_name, config, size, extra) in enumerate(CASES):
        if only and only != name:
            continue
        folder = work / name
        network, generator = make_network(class_name, config, seed)
        arguments = draw_arguments(class_name, network, size, extra, generator, 3)
        with torch.no_grad():
            expected = call(class_name, network, arguments)
        # Shards of 20 kB, so that both layouts are read.
        network.save_pretrained(folder, max_shard_size="20KB" if seed % 2 else "10GB")
        save(arguments, folder / "in.st")
        done = subprocess.run([thaw, "forward", folder, "--in", folder / "in.st", "--out", folder / "out.st"],
                              capture_output=True, text=True)
        if done.returncode != 0:
            print(f"{name:24} exit {done.returncode}: {done.stderr.strip()}")
            failed.append(name)
            continue
        value = difference(load_file(folder / "out.st"), expected)
        worst[class_name] = max(worst.get(class_name, 0.0), value)
        print(f"{name:24} {sum(p.numel() for p in network.parameters()):8} weights  {value:.2e}")
        if not value <= TOLERANCE:
            failed.append(name)
    for class_name, value in worst.items():
        print(f"{class_name:26} worst {value:.2e}")
    print(f"allowed {TOLERANCE:.0e}, failed: {', '.join(failed) or 'none'}")
    return 1 if failed else 0


def write_golden():
    for seed, (name, class_name, config, size, extra) in enumerate(GOLDEN):
        folder = HERE.parents[1] / "golden" / name
        folder.mkdir(parents=True, exist_ok=True)
        network, generator = make_network(class_name, config, 2000 + seed)
        network.save_pretrained(folder)
        with torch.no_grad():
            for weight in network.parameters():
                weight.copy_(weight.half())
            for buffer in network.buffers():
                buffer.copy_(buffer.half())
            arguments = draw_arguments(class_name, network, size, extra, generator, 2)
            expected = call(class_name, network, arguments)
            if class_name == AUTO:
                network.enable_tiling()
                expected["tiled_latents"] = network.encode(arguments["sample"]).latent_dist.mean
                expected["tiled_sample"] = network.decode(expected["latents"]).sample
        # Half precision on disk: exact, since the weights were rounded to it before the pass.
        weights = {key: value.half() for key, value in network.state_dict().items()}
        path = folder / "diffusion_pytorch_model.safetensors"
        save_file(weights, path, metadata={"format": "pt"})
        made = {"diffusers": diffusers.__version__, "torch": torch.__version__.split("+")[0], "script": HERE.name,
                "sha256": hashlib.sha256(HERE.read_bytes()).hexdigest()}
        (folder / "case").mkdir(exist_ok=True)
        (folder / "case" / "made.json").write_text(json.dumps(made, indent=1) + "\n")
        save(arguments, folder / "case" / "in.safetensors")
        save(expected, folder / "case" / "expected.safetensors")
        for file in folder.rglob("*.*"):
            file.chmod(0o644)
        total = sum(file.stat().st_size for file in folder.rglob("*.*"))
        print(f"{folder.name}: {path.stat().st_size} bytes of weights, {total} in all")
        if path.stat().st_size > GOLDEN_LIMIT:
            sys.exit(f"{path}: at most {GOLDEN_LIMIT} bytes are committed")


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
