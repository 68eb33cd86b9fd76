"""Whole pipelines of diffusers on random small networks: makes their folders and what 20 steps of them give.

Run:  python tests/peers/pipelines.py --work FOLDER [--thaw build/release/thaw] [--only NAME]
      python tests/peers/pipelines.py --work FOLDER --golden
Needs torch, numpy, safetensors, transformers 5.23 and diffusers 0.42.1; CPU, two minutes.

Weights are a formula of a tensor's name (`formula`), so that a golden holds configurations, names and shapes alone;
the test writes the same weights. A case is one call of a pipeline: its arguments in a JSON file, the start, the latents
after the last step and the picture in a safetensors file. With --thaw the same calls go through `thaw sample` and are
compared.
"""
import argparse
import json
import math
import pathlib
import shutil
import subprocess
import sys

import diffusers
import numpy as np
import torch
import transformers
from safetensors import safe_open
from safetensors.numpy import load_file as load_numpy
from safetensors.numpy import save_file as save_numpy
from safetensors.torch import load_file, save_file

import pipeline_edits
from pipeline_edits import call_editing, noise_like

HERE = pathlib.Path(__file__).resolve()
GOLDEN = HERE.parents[1] / "golden" / "pipelines"
TOKENS = HERE.parents[1] / "golden" / "text" / "tokens"
TOLERANCE = 1e-4
STEPS = 20
PROMPT, NEGATIVE = "a photo of a cat", "low quality, two of them"


def formula(name, shape):
    """float32 of `shape`: splitmix64 of FNV-1a of the name, uniform, about 1 / sqrt(fan in); norms about 1."""
    state = np.uint64(0xCBF29CE484222325)
    with np.errstate(over="ignore"):
        for byte in name.encode():
            state = (state ^ np.uint64(byte)) * np.uint64(0x100000001B3)
        z = state + np.arange(1, math.prod(shape) + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    uniform = (z >> np.uint64(40)).astype(np.float64) * 2.0 ** -23 - 1.0
    if len(shape) < 2:
        values = uniform * 0.125 + (1.0 if "norm" in name and name.endswith("weight") else 0.0)
    else:
        values = uniform * 1.5 * 2.0 ** -((math.prod(shape[1:]).bit_length() - 1) // 2)
    return values.astype(np.float32).reshape(shape)


def fill(folder):
    for path in folder.rglob("*.safetensors"):
        with safe_open(path, "np") as file:
            shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}
        save_numpy({name: formula(name, shape) for name, shape in shapes.items()}, path, {"format": "pt"})


UNET = {"sample_size": 8, "in_channels": 4, "out_channels": 4, "block_out_channels": [8, 16], "norm_num_groups": 4,
        "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"], "layers_per_block": 1, "attention_head_dim": 4,
        "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"], "cross_attention_dim": 16}
UNET_XL = UNET | {"down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"], "attention_head_dim": [2, 4],
                  "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"], "use_linear_projection": True,
                  "transformer_layers_per_block": [1, 2], "addition_embed_type": "text_time",
                  "addition_time_embed_dim": 8, "cross_attention_dim": 16 + 24,
                  "projection_class_embeddings_input_dim": 24 + 6 * 8}
KL = {"in_channels": 3, "out_channels": 3, "block_out_channels": [8, 16], "norm_num_groups": 4, "layers_per_block": 1,
      "down_block_types": ["DownEncoderBlock2D"] * 2, "up_block_types": ["UpDecoderBlock2D"] * 2, "latent_channels": 4,
      "sample_size": 16}
KL_SHIFTED = KL | {"use_quant_conv": False, "use_post_quant_conv": False, "scaling_factor": 1.5305,
                   "shift_factor": 0.0609}
SD3 = {"sample_size": 8, "patch_size": 2, "in_channels": 4, "out_channels": 4, "num_layers": 2,
       "attention_head_dim": 8, "num_attention_heads": 2, "joint_attention_dim": 48, "caption_projection_dim": 16,
       "pooled_projection_dim": 32, "pos_embed_max_size": 12}
PIXART = {"num_attention_heads": 2, "attention_head_dim": 8, "in_channels": 4, "out_channels": 8, "num_layers": 2,
          "cross_attention_dim": 16, "sample_size": 16, "caption_channels": 48, "num_embeds_ada_norm": 1000,
          "norm_type": "ada_norm_single", "norm_elementwise_affine": False, "norm_eps": 1e-6}
FLUX = {"in_channels": 16, "num_layers": 1, "num_single_layers": 2, "attention_head_dim": 16, "num_attention_heads": 2,
        "joint_attention_dim": 48, "pooled_projection_dim": 16, "axes_dims_rope": [4, 6, 6], "guidance_embeds": True}
DIT = {"num_attention_heads": 2, "attention_head_dim": 8, "in_channels": 4, "out_channels": 8, "num_layers": 2,
       "sample_size": 8, "num_embeds_ada_norm": 1000, "patch_size": 2}  # its pipeline has 1000 for no class
BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
CONTROL = {key: UNET[key] for key in UNET if key not in ("sample_size", "out_channels", "up_block_types")}
CONTROL |= {"conditioning_embedding_out_channels": [4, 8]}
CONTROL_XL = {key: UNET_XL[key] for key in UNET_XL if key not in ("sample_size", "out_channels", "up_block_types")}
CONTROL_XL |= {"conditioning_embedding_out_channels": [4, 8]}


def clip(folder, seed, class_name="CLIPTextModel", **changes):
    shutil.copytree(TOKENS / "clip", folder / f"tokenizer{seed}")
    vocabulary = len(json.loads((TOKENS / "clip" / "vocab.json").read_text()))
    tokenizer = transformers.CLIPTokenizer.from_pretrained(folder / f"tokenizer{seed}")
    config = transformers.CLIPTextConfig(
        **({"vocab_size": vocabulary, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2,
            "num_attention_heads": 2, "projection_dim": changes.get("hidden_size", 16),
            "bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id} | changes))
    return tokenizer, getattr(transformers, class_name)(config).eval()


def t5(folder, seed):
    shutil.copytree(TOKENS / "t5", folder / f"tokenizer{seed}")
    tokenizer = transformers.T5Tokenizer.from_pretrained(folder / f"tokenizer{seed}")
    config = transformers.T5Config(vocab_size=len(tokenizer), d_model=48, d_kv=12, d_ff=32, num_layers=1, num_heads=4,
                                   feed_forward_proj="gated-gelu")
    return tokenizer, transformers.T5EncoderModel(config).eval()


def make_sd(folder, unet):
    tokenizer, encoder = clip(folder, "")
    return diffusers.StableDiffusionPipeline(
        unet=diffusers.UNet2DConditionModel(**unet), vae=diffusers.AutoencoderKL(**KL), text_encoder=encoder,
        tokenizer=tokenizer, scheduler=diffusers.PNDMScheduler(skip_prk_steps=True, steps_offset=1, **BETAS),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False)


def make_sdxl(folder):
    tokenizer, encoder = clip(folder, "")
    tokenizer_2, encoder_2 = clip(folder, "_2", "CLIPTextModelWithProjection", hidden_size=24, hidden_act="gelu")
    return diffusers.StableDiffusionXLPipeline(
        unet=diffusers.UNet2DConditionModel(**UNET_XL), vae=diffusers.AutoencoderKL(**KL), text_encoder=encoder,
        text_encoder_2=encoder_2, tokenizer=tokenizer, tokenizer_2=tokenizer_2,
        scheduler=diffusers.EulerDiscreteScheduler(steps_offset=1, timestep_spacing="leading", **BETAS),
        add_watermarker=False)


def make_sd3(folder):
    tokenizer, encoder = clip(folder, "", "CLIPTextModelWithProjection", projection_dim=8)
    tokenizer_2, encoder_2 = clip(folder, "_2", "CLIPTextModelWithProjection", hidden_size=24, hidden_act="gelu")
    tokenizer_3, encoder_3 = t5(folder, "_3")
    return diffusers.StableDiffusion3Pipeline(
        transformer=diffusers.SD3Transformer2DModel(**SD3), vae=diffusers.AutoencoderKL(**KL_SHIFTED),
        text_encoder=encoder, text_encoder_2=encoder_2, text_encoder_3=encoder_3, tokenizer=tokenizer,
        tokenizer_2=tokenizer_2, tokenizer_3=tokenizer_3,
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0))


def make_pixart(folder, class_name):
    tokenizer, encoder = t5(folder, "")
    return getattr(diffusers, class_name)(
        transformer=diffusers.PixArtTransformer2DModel(**PIXART), vae=diffusers.AutoencoderKL(**KL),
        text_encoder=encoder, tokenizer=tokenizer,
        scheduler=diffusers.DPMSolverMultistepScheduler(beta_start=0.0001, beta_end=0.02, solver_order=2))


def make_flux(folder):
    tokenizer, encoder = clip(folder, "")
    tokenizer_2, encoder_2 = t5(folder, "_2")
    return diffusers.FluxPipeline(
        transformer=diffusers.FluxTransformer2DModel(**FLUX), vae=diffusers.AutoencoderKL(**KL_SHIFTED),
        text_encoder=encoder, text_encoder_2=encoder_2, tokenizer=tokenizer, tokenizer_2=tokenizer_2,
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True))


def make_dit(folder):
    return diffusers.DiTPipeline(transformer=diffusers.DiTTransformer2DModel(**DIT), vae=diffusers.AutoencoderKL(**KL),
                                 scheduler=diffusers.DDIMScheduler(beta_end=0.02, steps_offset=1, clip_sample=False))


PIPELINES = {
    "sd": lambda folder: make_sd(folder, UNET),
    "sd_inpaint": lambda folder: make_sd(folder, UNET | {"in_channels": 9}),
    "sd_lcm": lambda folder: make_sd(folder, UNET | {"time_cond_proj_dim": 12}),
    "sdxl": make_sdxl,
    "sd3": make_sd3,
    "pixart_alpha": lambda folder: make_pixart(folder, "PixArtAlphaPipeline"),
    "pixart_sigma": lambda folder: make_pixart(folder, "PixArtSigmaPipeline"),
    "flux": make_flux,
    "dit": make_dit,
}
DDIM = {"_class_name": "DDIMScheduler", "clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1, **BETAS}
EULER = {"_class_name": "EulerDiscreteScheduler", "steps_offset": 1, "timestep_spacing": "leading", **BETAS}
LCM = {"_class_name": "DDIMScheduler", "clip_sample": False, "set_alpha_to_one": False, **BETAS}
# folder, case, what is asked; "scheduler" replaces the folder's
CASES = [
    ("sd", "text", {"prompt": PROMPT, "negative": NEGATIVE, "guidance": 7.5, "n": 2}),
    ("sd", "no_guidance", {"prompt": PROMPT, "guidance": 1.0, "scheduler": DDIM}),
    ("sd", "euler", {"prompt": PROMPT, "guidance": 7.5, "scheduler": EULER, "size": [24, 16]}),
    ("sd", "image", {"prompt": PROMPT, "guidance": 5.0, "scheduler": DDIM, "image": True, "strength": 0.6}),
    ("sd", "image_euler", {"prompt": PROMPT, "guidance": 5.0, "scheduler": EULER, "image": True, "strength": 0.43}),
    ("sd", "mask", {"prompt": PROMPT, "guidance": 5.0, "scheduler": DDIM, "image": True, "mask": True}),
    ("sd", "mask_strength", {"prompt": PROMPT, "guidance": 5.0, "scheduler": EULER, "image": True, "mask": True,
                             "strength": 0.7}),
    ("sd", "control", {"prompt": PROMPT, "guidance": 5.0, "scheduler": DDIM, "control": 0.8}),
    ("sd_inpaint", "mask", {"prompt": PROMPT, "guidance": 5.0, "scheduler": DDIM, "image": True, "mask": True}),
    ("sd_lcm", "text", {"prompt": PROMPT, "guidance": 6.0, "scheduler": LCM}),
    ("sdxl", "text", {"prompt": PROMPT, "guidance": 5.0}),
    ("sdxl", "negative", {"prompt": PROMPT, "negative": NEGATIVE, "guidance": 5.0, "size": [24, 16]}),
    ("sdxl", "image", {"prompt": PROMPT, "guidance": 5.0, "image": True, "strength": 0.63}),
    ("sdxl", "mask", {"prompt": PROMPT, "guidance": 5.0, "scheduler": DDIM, "image": True, "mask": True}),
    ("sdxl", "mask_strength", {"prompt": PROMPT, "guidance": 5.0, "image": True, "mask": True, "strength": 0.7}),
    ("sdxl", "control", {"prompt": PROMPT, "guidance": 5.0, "control": 0.8}),
    ("sd3", "image", {"prompt": PROMPT, "guidance": 7.0, "image": True, "strength": 0.43}),
    ("sd3", "text", {"prompt": PROMPT, "negative": NEGATIVE, "guidance": 7.0}),
    ("pixart_alpha", "text", {"prompt": PROMPT, "guidance": 4.5}),
    ("pixart_sigma", "text", {"prompt": PROMPT, "negative": NEGATIVE, "guidance": 4.5}),
    ("flux", "text", {"prompt": PROMPT, "guidance": 3.5}),
    ("flux", "image", {"prompt": PROMPT, "guidance": 3.5, "image": True, "strength": 0.43}),
    ("dit", "label", {"label": 3, "guidance": 4.0}),
]


def decode(pipe, latents):
    vae = pipe.vae
    return vae.decode(latents / vae.config.scaling_factor + (vae.config.shift_factor or 0.0), return_dict=False)[0]


def call(pipe, ask, folder):
    width, height = ask.get("size", [16, 16])
    if "scheduler" in ask:
        pipe.scheduler = getattr(diffusers, ask["scheduler"]["_class_name"]).from_config(ask["scheduler"])
    common = {"num_inference_steps": STEPS, "guidance_scale": ask["guidance"], "output_type": "latent"}
    if isinstance(pipe, diffusers.DiTPipeline):
        start = noise_like((1, 4, 8, 8), 21)
        latents = dit(pipe, ask, start)
        return {"latents": start, "result": latents, "picture": decode(pipe, latents)}
    if "prompt" in ask:
        common["prompt"] = ask["prompt"]
    if "negative" in ask:
        common["negative_prompt"] = ask["negative"]
    if ask.get("image"):
        latents, given = call_editing(pipe, ask, common, width, height)
        return given | {"result": latents, "picture": decode(pipe, latents)}
    start = noise_like((ask.get("n", 1), 4, height // 2, width // 2), 21)
    given = {"latents": start}
    common |= {"width": width, "height": height, "num_images_per_prompt": len(start), "latents": start.clone()}
    if isinstance(pipe, (diffusers.PixArtAlphaPipeline, diffusers.PixArtSigmaPipeline)):
        common |= {"clean_caption": False, "use_resolution_binning": False}
    if isinstance(pipe, diffusers.FluxPipeline):
        common["latents"] = diffusers.FluxPipeline._pack_latents(start, len(start), 4, height // 2, width // 2)
    if "control" in ask:
        network = diffusers.ControlNetModel.from_pretrained(folder / "controlnet")
        pipe = pipeline_edits.as_class(pipe, pipeline_edits.CONTROL, controlnet=network)
        given["control"] = noise_like((1, 3, height, width), 33).clamp(-2, 2) / 4 + 0.5
        common |= {"image": given["control"], "controlnet_conditioning_scale": ask["control"]}
    latents = pipe(**common).images
    if isinstance(pipe, diffusers.FluxPipeline):
        latents = diffusers.FluxPipeline._unpack_latents(latents, height, width, pipe.vae_scale_factor)
    return given | {"result": latents, "picture": decode(pipe, latents)}


def dit(pipe, ask, start):
    """DiTPipeline draws its start itself and returns pictures alone: its start is put in, its latents are taken out."""
    import diffusers.pipelines.dit.pipeline_dit as module
    kept = []
    original_noise, original_decode = module.randn_tensor, diffusers.AutoencoderKL.decode

    def decode_kept(self, z, *rest, **named):
        kept.append(z * self.config.scaling_factor)
        return original_decode(self, z, *rest, **named)

    module.randn_tensor = lambda *_, **__: start.clone()
    diffusers.AutoencoderKL.decode = decode_kept
    try:
        pipe(class_labels=[ask["label"]], guidance_scale=ask["guidance"], num_inference_steps=STEPS)
    finally:
        module.randn_tensor, diffusers.AutoencoderKL.decode = original_noise, original_decode
    return kept[0]


def make_folder(name, work):
    folder = work / name
    tokenizers = work / (name + "_tokenizers")
    tokenizers.mkdir(parents=True)
    pipe = PIPELINES[name](tokenizers)
    pipe.save_pretrained(folder)
    for path in tokenizers.iterdir():
        shutil.rmtree(folder / path.name, ignore_errors=True)
        shutil.copytree(path, folder / path.name)
    shutil.rmtree(tokenizers)
    if name in ("sd", "sdxl"):
        diffusers.ControlNetModel(**(CONTROL if name == "sd" else CONTROL_XL)).save_pretrained(folder / "controlnet")
    fill(folder)
    return folder


def shapes_of(folder):
    parts = {}
    for path in sorted(folder.rglob("*.safetensors")):
        with safe_open(path, "np") as file:
            parts[str(path.relative_to(folder))] = {name: file.get_slice(name).get_shape() for name in file.keys()}
    return parts


def nested(shapes):
    """{"a.b": s} as {"a": {"b": s}}: names repeat their beginnings."""
    out = {}
    for name, shape in shapes.items():
        *places, last = name.split(".")
        inner = out
        for place in places:
            inner = inner.setdefault(place, {})
        inner[last] = shape
    return out


def write_golden(folder, name):
    """Configurations as they are, names and shapes in place of weights, the name of the vocabulary in place of it."""
    target = GOLDEN / name
    shutil.rmtree(target, ignore_errors=True)
    for path in sorted(folder.rglob("*.json")):
        if not path.parent.name.startswith("tokenizer"):
            (target / path.relative_to(folder)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target / path.relative_to(folder))
    tokenizers = {path.name: "t5" if (path / "spiece.model").exists() else "clip"
                  for path in sorted(folder.glob("tokenizer*"))}
    shapes, base = shapes_of(folder), name.split("_")[0]
    made = {"tokenizers": tokenizers, "tensors": shapes}
    if base != name and (GOLDEN / base / "made.json").exists():
        # Only what differs from the pipeline it is a variant of.
        known = shapes_of(folder.parent / base)
        made["base"] = base
        made["tensors"] = {part: {key: shape for key, shape in shapes[part].items()
                                  if shape != known.get(part, {}).get(key)} for part in shapes}
    made["tensors"] = {part: nested(names) for part, names in made["tensors"].items()}
    (target / "made.json").write_text(json.dumps(made, separators=(",", ":")).replace(',"', ',\n"') + "\n")


def relative(found, expected):
    return float((found - expected).abs().max() / expected.abs().max())


def run_thaw(options, folder, ask, tensors, work):
    files = {name: work / f"{name}.safetensors" for name in ("latents", "image", "mask", "control", "out")}
    save_file({"latents": tensors["latents"].contiguous()}, files["latents"])
    command = [options.thaw, "sample", folder, f"latents={files['latents']}", f"steps={STEPS}",
               f"guidance={ask['guidance']}", f"out={files['out']}", "precision=float32",
               "size=" + "x".join(map(str, ask.get("size", [16, 16])))]
    command += [f"{key}={ask[key]}" for key in ("prompt", "negative", "label", "strength") if key in ask]
    if "scheduler" in ask:
        (work / "scheduler.json").write_text(json.dumps(ask["scheduler"]))
        command.append(f"scheduler={work / 'scheduler.json'}")
    for key, stored in (("image", "image_pixels"), ("image", "latents_of_image"), ("mask", "mask"),
                        ("control", "control")):
        if stored in tensors:
            save_file({"latents" if stored == "latents_of_image" else key: tensors[stored].contiguous()}, files[key])
            command.append(f"{key}={files[key]}")
    if "control" in tensors:
        command += [f"controlnet={folder / 'controlnet'}", f"control_scale={ask['control']}"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        return None, done.stderr.strip()
    found = load_file(files["out"])
    return (relative(found["latents"], tensors["result"]), relative(found["sample"], tensors["picture"])), ""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--thaw")
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--only", default="")
    parser.add_argument("--golden", action="store_true")
    options = parser.parse_args()
    work = options.work
    torch.set_num_threads(1)
    torch.manual_seed(0)
    failed, loaded = [], {}
    if options.thaw:
        print("| pipeline | case | latents | picture |\n|---|---|---|---|")
    for name, case, ask in CASES:
        if options.only and options.only not in f"{name}/{case}":
            continue
        folder = work / name
        if not folder.exists():
            make_folder(name, work)
        if name not in loaded:
            loaded[name] = True
            if options.golden:
                write_golden(folder, name)
        pipe = diffusers.DiffusionPipeline.from_pretrained(folder, safety_checker=None, feature_extractor=None) \
            if name.startswith("sd_") or name == "sd" else diffusers.DiffusionPipeline.from_pretrained(folder)
        pipe.set_progress_bar_config(disable=True)
        with torch.no_grad():
            tensors = call(pipe, ask, folder)
        tensors = {key: value.float().contiguous() for key, value in tensors.items()}
        line = f"| {name} | {case} |"
        if options.golden:
            target = GOLDEN / name / "cases"
            target.mkdir(exist_ok=True)
            (target / f"{case}.json").write_text(json.dumps(ask | {"steps": STEPS, "diffusers": diffusers.__version__}))
            save_file(tensors, target / f"{case}.safetensors")
        if options.thaw:
            differences, message = run_thaw(options, folder, ask, tensors, work)
            line += f" {differences[0]:.1e} | {differences[1]:.1e} |" if differences else f" {message} | |"
            if not differences or not max(differences) <= TOLERANCE:
                failed.append(f"{name}/{case}")
        print(line, flush=True)
    if options.thaw:
        print(f"allowed {TOLERANCE:.0e}, failed: {', '.join(failed) or 'none'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
