"""Folders that `thaw export` and `thaw import FILE` write, and counts of `thaw estimate`, against diffusers 0.42.1.

Run:  python tests/peers/pipelines.py --work FOLDER
      python tests/peers/pipeline_files.py --work FOLDER [--thaw build/release/thaw]
      python tests/peers/pipeline_files.py --work FOLDER --golden
Needs what pipelines.py needs. A single file is made of FOLDER/sd and FOLDER/sdxl by the names of the original code, and
what diffusers makes of those names is checked first: it is the oracle of the mapping.
"""
import argparse
import json
import pathlib
import re
import shutil
import subprocess
import sys

import diffusers
import torch
from diffusers.loaders import single_file_utils
from safetensors.torch import load_file, save_file
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

HERE = pathlib.Path(__file__).resolve()
RESNET = {"norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0",
          "conv2": "out_layers.3", "conv_shortcut": "skip_connection"}
VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def replaced(rest, table):
    for before, now in table.items():
        if rest.startswith(before + "."):
            return now + rest[len(before):]
    return rest


def unet_to_ldm(name, config):
    layers, levels = config["layers_per_block"], len(config["block_out_channels"])
    for ours, theirs in (("conv_in", "input_blocks.0.0"), ("conv_norm_out", "out.0"), ("conv_out", "out.2"),
                         ("time_embedding.linear_1", "time_embed.0"), ("time_embedding.linear_2", "time_embed.2"),
                         ("add_embedding.linear_1", "label_emb.0.0"), ("add_embedding.linear_2", "label_emb.0.2")):
        if name.startswith(ours + "."):
            return theirs + name[len(ours):]
    if match := re.fullmatch(r"mid_block\.(resnets|attentions)\.(\d)\.(.*)", name):
        if match[1] == "attentions":
            return f"middle_block.1.{match[3]}"
        return f"middle_block.{2 * int(match[2])}.{replaced(match[3], RESNET)}"
    kind, level, inner, layer, rest = re.fullmatch(r"(down|up)_blocks\.(\d)\.(\w+)\.(\d)\.(.*)", name).groups()
    level, layer = int(level), int(layer)
    if kind == "down":
        number = 1 + level * (layers + 1) + (layers if inner == "downsamplers" else layer)
        if inner == "downsamplers":
            return f"input_blocks.{number}.0.op.{rest.removeprefix('conv.')}"
        return f"input_blocks.{number}.{'1' if inner == 'attentions' else '0'}." + \
            (rest if inner == "attentions" else replaced(rest, RESNET))
    number = level * (layers + 1) + (layers if inner == "upsamplers" else layer)
    if inner == "upsamplers":
        has_attention = "CrossAttn" in config["up_block_types"][level]
        return f"output_blocks.{number}.{2 if has_attention else 1}.{rest}"
    del levels
    return f"output_blocks.{number}.{'1' if inner == 'attentions' else '0'}." + \
        (rest if inner == "attentions" else replaced(rest, RESNET))


def vae_to_ldm(name, levels):
    if match := re.fullmatch(r"(encoder|decoder)\.mid_block\.(resnets|attentions)\.(\d)\.(.*)", name):
        if match[2] == "attentions":
            return f"{match[1]}.mid.attn_1.{replaced(match[4], VAE_ATTENTION)}"
        return f"{match[1]}.mid.block_{int(match[3]) + 1}.{match[4].replace('conv_shortcut', 'nin_shortcut')}"
    if match := re.fullmatch(r"(encoder|decoder)\.(down|up)_blocks\.(\d)\.(\w+)\.(\d)\.(.*)", name):
        level = int(match[3]) if match[2] == "down" else levels - 1 - int(match[3])
        rest = match[6].replace("conv_shortcut", "nin_shortcut")
        inner = {"downsamplers": "downsample", "upsamplers": "upsample"}.get(match[4], f"block.{match[5]}")
        return f"{match[1]}.{match[2]}.{level}.{inner}.{rest}"
    return name.replace("conv_norm_out", "norm_out")


def open_clip(tensors):
    """Names of the second encoder of XL: fused projections, and the last one transposed."""
    out = {}
    plain = {"text_model.embeddings.token_embedding.weight": "token_embedding.weight",
             "text_model.embeddings.position_embedding.weight": "positional_embedding"}
    inner = {"layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj",
             "self_attn.out_proj": "attn.out_proj"}
    for name, value in tensors.items():
        if name in plain:
            out[plain[name]] = value
        elif name == "text_projection.weight":
            out["text_projection"] = value.t().contiguous()
        elif name.startswith("text_model.final_layer_norm"):
            out[name.replace("text_model.final_layer_norm", "ln_final")] = value
        else:
            layer, rest = re.fullmatch(r"text_model\.encoder\.layers\.(\d+)\.(.*)", name).groups()
            if rest.startswith("self_attn.q_proj"):
                three = [tensors[name.replace("q_proj", f"{one}_proj")] for one in "qkv"]
                out[f"transformer.resblocks.{layer}.attn.in_proj_{rest.split('.')[-1]}"] = torch.cat(three)
            elif not re.match(r"self_attn\.[kv]_proj", rest):
                out[f"transformer.resblocks.{layer}.{replaced(rest, inner)}"] = value
    return out


def single_file(folder):
    """The file's tensors, and (its name, part, our name) of those that map one to one."""
    config = {part: json.loads((folder / part / "config.json").read_text()) for part in ("unet", "vae")}
    weights = {path.parent.name: load_file(path) for path in folder.glob("*/*.safetensors")}
    out, pairs = {}, []
    for name, value in weights["unet"].items():
        out["model.diffusion_model." + unet_to_ldm(name, config["unet"])] = value
        pairs.append(["model.diffusion_model." + unet_to_ldm(name, config["unet"]), "unet", name])
    levels = len(config["vae"]["block_out_channels"])
    for name, value in weights["vae"].items():
        theirs = "first_stage_model." + vae_to_ldm(name, levels)
        is_kernel = ".mid.attn_1." in theirs and value.dim() == 2
        out[theirs] = value[:, :, None, None] if is_kernel else value
        pairs.append([theirs, "vae", name])
    is_xl = "text_encoder_2" in weights
    prefix = "conditioner.embedders.0.transformer." if is_xl else "cond_stage_model.transformer."
    for name, value in weights["text_encoder"].items():
        out[prefix + ("" if name.startswith("text_model.") else "text_model.") + name] = value
    if is_xl:
        second = {(name if name.startswith("text_") else "text_model." + name): value
                  for name, value in weights["text_encoder_2"].items()}
        out |= {"conditioner.embedders.1.model." + name: value for name, value in open_clip(second).items()}
    out["model_ema.decay"] = torch.tensor(0.5)
    out["alphas_cumprod"] = torch.ones(4)
    check_oracle(out, weights, config)
    return {name: value.contiguous() for name, value in out.items()}, pairs


def check_oracle(tensors, weights, config):
    unet = single_file_utils.convert_ldm_unet_checkpoint(dict(tensors), dict(config["unet"]))
    vae = single_file_utils.convert_ldm_vae_checkpoint(dict(tensors), dict(config["vae"]))
    for made, part in ((unet, "unet"), (vae, "vae")):
        assert set(made) == set(weights[part]), set(made) ^ set(weights[part])
        for name, value in weights[part].items():
            assert torch.equal(made[name].reshape(value.shape), value), name


def same_folders(a, b, change=lambda value: value):
    count = 0
    for path in sorted(a.glob("*/*.safetensors")):
        if path.parent.name == "controlnet":
            continue
        first, second = load_file(path), load_file(b / path.parent.name / path.name)
        assert set(first) == set(second), path
        for name, value in first.items():
            assert torch.equal(change(value), second[name]), (path, name)
            count += 1
    return count


def thaw(options, *arguments):
    done = subprocess.run([options.thaw, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"thaw {' '.join(map(str, arguments))}: {done.stderr.strip()}")
    return done.stdout


def lora_file(folder, path):
    generator = torch.Generator().manual_seed(3)
    tensors = {}
    for name, value in load_file(folder / "unet" / "diffusion_pytorch_model.safetensors").items():
        if re.search(r"attn\d\.to_(q|k|v|out\.0)\.weight$", name):
            stem = "unet." + name.removesuffix(".weight")
            tensors[stem + ".lora_A.weight"] = torch.randn((2, value.shape[1]), generator=generator) * 0.3
            tensors[stem + ".lora_B.weight"] = torch.randn((value.shape[0], 2), generator=generator) * 0.3
    save_file(tensors, path)


def text_lora(folder, path, is_kohya):
    """Layers for the denoiser and for every text encoder, by the names of peft or of kohya's scripts."""
    generator = torch.Generator().manual_seed(5)
    tensors, encoders = {}, sorted(folder.glob("text_encoder*"))
    prefixes = ["lora_te"] if len(encoders) == 1 else ["lora_te1", "lora_te2"]
    for encoder, prefix in [(folder / "unet", "lora_unet"), *zip(encoders, prefixes)]:
        for name, value in load_file(next(encoder.glob("*.safetensors"))).items():
            # With transformers 5.23 this diffusers reports kohya's layers of text encoders' attention as unexpected and
            # leaves them out; tests/pipelines compares those with weights that are changed by hand.
            wanted = r"(attn2\.to_q|mlp\.fc[12])" if is_kohya else r"(attn2\.to_q|self_attn\.[qv]_proj|mlp\.fc1)"
            if not re.search(wanted + r"\.weight$", name):
                continue
            stem = name.removesuffix(".weight")
            if encoder.name != "unet" and not stem.startswith("text_model."):
                stem = "text_model." + stem
            down = torch.randn((2, value.shape[1]), generator=generator) * 0.3
            up = torch.randn((value.shape[0], 2), generator=generator) * 0.3
            if is_kohya:
                stem = f"{prefix}_{stem.replace('.', '_')}"
                tensors |= {stem + ".lora_down.weight": down, stem + ".lora_up.weight": up,
                            stem + ".alpha": torch.tensor(1.5)}
            else:
                tensors |= {f"{encoder.name}.{stem}.lora_A.weight": down, f"{encoder.name}.{stem}.lora_B.weight": up}
    save_file(tensors, path)


def check_text_lora(options, work):
    for name in ("sd", "sdxl"):
        for is_kohya in (False, True):
            path = work / "text_lora.safetensors"
            text_lora(work / name, path, is_kohya)
            more = {"safety_checker": None} if name == "sd" else {}
            pipe = diffusers.DiffusionPipeline.from_pretrained(work / name, **more)
            pipe.set_progress_bar_config(disable=True)
            pipe.load_lora_weights(path)
            parts = [part for part in ("unet", "text_encoder", "text_encoder_2") if hasattr(pipe, part)]
            pipe.fuse_lora(components=parts, lora_scale=0.7)
            start = torch.randn((1, 4, 8, 8), generator=torch.Generator().manual_seed(7))
            save_file({"latents": start}, work / "latents.safetensors")
            wanted = pipe(prompt="a photo of a cat", latents=start, num_inference_steps=5, guidance_scale=5.0,
                          output_type="latent", width=16, height=16).images
            out = work / "out.safetensors"
            thaw(options, "sample", work / name, "prompt=a photo of a cat", "steps=5", "guidance=5", f"out={out}",
                 f"latents={work / 'latents.safetensors'}", f"lora={path}", "lora_scale=0.7", "precision=float32")
            worst = float((load_file(out)["latents"] - wanted).abs().max() / wanted.abs().max())
            print(f"LoRA of {name} with text encoders, {'kohya' if is_kohya else 'peft'} names: {worst:.1e}")
            assert worst < 1e-4, (name, is_kohya)


def second_version(work):
    """The file of work/sd with its text encoder as Stable Diffusion 2 keeps it: one layer more, a projection."""
    tensors, _ = single_file(work / "sd")
    text = {name.removeprefix("cond_stage_model.transformer."): tensors.pop(name) for name in list(tensors)
            if name.startswith("cond_stage_model.")}
    layers = 1 + max(int(name.split(".")[3]) for name in text if ".layers." in name)
    text |= {name.replace(f".layers.{layers - 1}.", f".layers.{layers}."): value.clone()
             for name, value in text.items() if f".layers.{layers - 1}." in name}
    text["text_projection.weight"] = torch.ones(16, 16)
    named = {"cond_stage_model.model." + name: value for name, value in open_clip(text).items()}
    return tensors | named | {"cond_stage_model.model.logit_scale": torch.tensor(1.0)}, layers


def check_second_version(options, work):
    tensors, layers = second_version(work)
    path, out = work / "sd2_single.safetensors", work / "imported"
    save_file({name: value.contiguous() for name, value in tensors.items()}, path)
    prefix = "cond_stage_model.model."
    pipe = diffusers.DiffusionPipeline.from_pretrained(work / "sd", safety_checker=None)
    known = {name: value for name, value in tensors.items()
             if name.startswith(prefix) and f"resblocks.{layers}." not in name and not name.endswith("text_projection")}
    made = single_file_utils.convert_open_clip_checkpoint(pipe.text_encoder, known | {
        prefix + "text_projection": torch.ones(16, 16)}, prefix=prefix)
    state = pipe.text_encoder.state_dict()
    strip = lambda name: name.removeprefix("text_model.")  # noqa: E731
    made = {strip(name): value for name, value in made.items()}
    assert all(torch.equal(made[strip(name)], value) for name, value in state.items()), "the oracle differs"
    shutil.rmtree(out, ignore_errors=True)
    thaw(options, "import", path, f"like={work / 'sd'}", f"out={out}")
    print(f"import {path.name}: {same_folders(work / 'sd', out)} tensors equal, {len(tensors)} in the file")
    shutil.rmtree(out)


def check_export(options, work):
    out = work / "exported"
    for name in ("sd", "sdxl", "sd3", "flux", "dit"):
        shutil.rmtree(out, ignore_errors=True)
        thaw(options, "export", work / name, f"out={out}", "weights=float16")
        diffusers.DiffusionPipeline.from_pretrained(out, torch_dtype=torch.float16)
        print(f"export {name} as float16: {same_folders(work / name, out, lambda value: value.half())} tensors equal, "
              "loaded by diffusers")
    shutil.rmtree(out)
    lora_file(work / "sd", work / "lora.safetensors")
    thaw(options, "export", work / "sd", f"out={out}", f"lora={work / 'lora.safetensors'}", "lora_scale=0.7")
    pipe = diffusers.DiffusionPipeline.from_pretrained(work / "sd", safety_checker=None)
    pipe.load_lora_weights(work / "lora.safetensors")
    pipe.fuse_lora(lora_scale=0.7)
    pipe.unload_lora_weights()
    made, worst = load_file(out / "unet" / "diffusion_pytorch_model.safetensors"), 0.0
    for name, value in pipe.unet.state_dict().items():
        worst = max(worst, float((made[name] - value).abs().max() / value.abs().max()))
    print(f"export sd with a LoRA file: {worst:.1e} from fuse_lora")
    assert worst < 1e-6
    shutil.rmtree(out)


def check_single_file(options, work):
    for name in ("sd", "sdxl"):
        tensors, _ = single_file(work / name)
        path, out = work / f"{name}_single.safetensors", work / "imported"
        save_file(tensors, path)
        shutil.rmtree(out, ignore_errors=True)
        thaw(options, "import", path, f"like={work / name}", f"out={out}")
        print(f"import {path.name}: {same_folders(work / name, out)} tensors equal, "
              f"{len(tensors)} in the file")
        shutil.rmtree(out)


def counted(work, name):
    """Multiply-adds of one pass of the denoiser and of a decoding, as torch counts them."""
    pipe = diffusers.DiffusionPipeline.from_pretrained(work / name)
    x = torch.zeros(1, 4, 8, 8)
    # The counter does not know the CPU's fused attention.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as network:
        if name == "dit":
            pipe.transformer(x, timestep=torch.ones(1), class_labels=torch.ones(1, dtype=torch.long))
        elif name == "sd3":
            pipe.transformer(x, encoder_hidden_states=torch.zeros(1, 333, 48), pooled_projections=torch.zeros(1, 32),
                             timestep=torch.ones(1))
        else:
            added = {"text_embeds": torch.zeros(1, 24), "time_ids": torch.zeros(1, 6)} if name == "sdxl" else None
            width = pipe.unet.config.cross_attention_dim
            pipe.unet(x, 1, torch.zeros(1, 77, width), added_cond_kwargs=added)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as decoding:
        pipe.vae.decode(x)
    return network.get_total_flops() / 2, decoding.get_total_flops() / 2


def check_estimate(options, work):
    for name in ("sd", "sdxl", "sd3", "dit"):
        text = thaw(options, "estimate", work / name)
        parts = dict(re.findall(r"^(\w+) .*, (\S+) G multiply-adds a pass$", text, re.M))
        found = [float(parts["transformer" if "transformer" in parts else "unet"]) * 1e9, float(parts["vae"]) * 1e9]
        wanted = counted(work, name)
        print(f"estimate {name}: {found[0]:.3g} and {found[1]:.3g} multiply-adds, torch counts {wanted[0]:.3g} and "
              f"{wanted[1]:.3g}")
        assert all(abs(a / b - 1) < 0.005 for a, b in zip(found, wanted)), name


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--thaw", default="build/release/thaw")
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--golden", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.golden:
        pairs = [pair for name in ("sd", "sdxl") for pair in single_file(options.work / name)[1]]
        unique = sorted({tuple(pair) for pair in pairs if pair[2].endswith("weight")})  # biases go with them
        target = HERE.parents[1] / "golden" / "pipelines_single_file.json"
        target.write_text(json.dumps(unique, separators=(",", ":")).replace("],", "],\n") + "\n")
        return 0
    check_text_lora(options, options.work)
    check_second_version(options, options.work)
    check_single_file(options, options.work)
    check_export(options, options.work)
    check_estimate(options, options.work)
    return 0


if __name__ == "__main__":
    sys.exit(main())
