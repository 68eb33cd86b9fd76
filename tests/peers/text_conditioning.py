#!/usr/bin/env python3
"""Compares `thaw encode-text` on pipeline folders with what the pipelines of diffusers condition on.

Run:  python tests/peers/text_conditioning.py --thaw build/release/thaw --work FOLDER
Needs what tokenizers_compare.py and text_encoders.py need, and diffusers 0.42.1; CPU, a minute.

Random small encoders behind real CLIP vocabularies: Stable Diffusion with and without clip skip, its XL (penultimate
states side by side, pooled of the second) and its version 3 (two CLIPs, then T5). Prompts of one pass; the pipelines
read no weights.
"""
import argparse
import pathlib
import subprocess
import sys

import torch
from diffusers import StableDiffusion3Pipeline, StableDiffusionPipeline, StableDiffusionXLPipeline
from safetensors.torch import load_file
from text_encoders import draw_weights, relative
from tokenizers_compare import clip_folder, t5_folder
from transformers import (CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer, T5Config,
                          T5EncoderModel, T5Tokenizer)

TOLERANCE = 1e-5  # float32 in another order of summation
PROMPTS = ["a photo of a cat", "", "An astronaut riding a horse on Mars! oil on canvas, 1890", "caf\u00e9 \U0001f600"]
CLIP = {"vocab_size": 49408, "hidden_size": 16, "intermediate_size": 20, "num_hidden_layers": 4, "num_attention_heads": 2,
        "projection_dim": 12, "eos_token_id": 49407, "bos_token_id": 49406}

# diffusers 0.42.1 looks for the final norm where transformers 4 had it.
CLIPTextModel.text_model = property(lambda self: self)


def clip_encoder(folder, network_class, seed, **changes):
    network = network_class(CLIPTextConfig(**CLIP | changes)).eval()
    draw_weights(network, torch.Generator().manual_seed(seed))
    network.save_pretrained(folder)
    return network


def t5_encoder(folder, vocabulary):
    network = T5EncoderModel(T5Config(vocab_size=vocabulary, d_model=48, d_kv=8, d_ff=40, num_layers=2, num_heads=4,
                                      feed_forward_proj="gated-gelu")).eval()
    draw_weights(network, torch.Generator().manual_seed(7))
    network.save_pretrained(folder)
    return network


def sd1(folder, clip_skip):
    if not folder.exists():
        clip_folder(folder / "tokenizer")
        clip_encoder(folder / "text_encoder", CLIPTextModel, 1)
    pipe = StableDiffusionPipeline(
        vae=None, text_encoder=CLIPTextModel.from_pretrained(folder / "text_encoder").eval(),
        tokenizer=CLIPTokenizer.from_pretrained(folder / "tokenizer"), unet=None, scheduler=None, safety_checker=None,
        feature_extractor=None, requires_safety_checker=False)
    text, _ = pipe.encode_prompt(PROMPTS, "cpu", 1, False, clip_skip=clip_skip)
    return text, None


def two_clips(folder, first_class):
    clip_folder(folder / "tokenizer")
    clip_folder(folder / "tokenizer_2", pad="!")
    return (clip_encoder(folder / "text_encoder", first_class, 2),
            clip_encoder(folder / "text_encoder_2", CLIPTextModelWithProjection, 3, hidden_size=24, hidden_act="gelu"),
            CLIPTokenizer.from_pretrained(folder / "tokenizer"), CLIPTokenizer.from_pretrained(folder / "tokenizer_2"))


def sdxl(folder, clip_skip):
    first, second, tokenizer, tokenizer_2 = two_clips(folder, CLIPTextModel)
    pipe = StableDiffusionXLPipeline(vae=None, text_encoder=first, text_encoder_2=second, tokenizer=tokenizer,
                                     tokenizer_2=tokenizer_2, unet=None, scheduler=None)
    text, _, pooled, _ = pipe.encode_prompt(PROMPTS, device="cpu", do_classifier_free_guidance=False, clip_skip=clip_skip)
    return text, pooled


def sd3(folder, clip_skip):
    first, second, tokenizer, tokenizer_2 = two_clips(folder, CLIPTextModelWithProjection)
    t5_folder(folder / "tokenizer_3")
    tokenizer_3 = T5Tokenizer.from_pretrained(folder / "tokenizer_3")
    pipe = StableDiffusion3Pipeline(
        transformer=None, scheduler=None, vae=None, text_encoder=first, text_encoder_2=second,
        text_encoder_3=t5_encoder(folder / "text_encoder_3", len(tokenizer_3)), tokenizer=tokenizer,
        tokenizer_2=tokenizer_2, tokenizer_3=tokenizer_3)
    text, _, pooled, _ = pipe.encode_prompt(PROMPTS, PROMPTS, PROMPTS, device="cpu", do_classifier_free_guidance=False,
                                            clip_skip=clip_skip)
    return text, pooled


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--thaw", default="build/release/thaw")
    parser.add_argument("--work", type=pathlib.Path, required=True)
    options = parser.parse_args()
    options.work.mkdir(parents=True)
    torch.set_num_threads(1)
    failed = []
    cases = [("sd1", sd1, None), ("sd1_skip_1", sd1, 1), ("sd1_skip_2", sd1, 2), ("sdxl", sdxl, None), ("sdxl_skip_1", sdxl, 1),
             ("sd3", sd3, None), ("sd3_skip_1", sd3, 1)]
    for name, make, clip_skip in cases:
        with torch.no_grad():
            text, pooled = make(options.work / name, clip_skip)
        out = options.work / (name + ".safetensors")
        done = subprocess.run([options.thaw, "encode-text", options.work / name, *PROMPTS, f"out={out}", "weights=off",
                               f"skip={clip_skip or 0}"], capture_output=True, text=True)
        if done.returncode != 0:
            print(f"{name:12} exit {done.returncode}: {done.stderr.strip()}")
            failed.append(name)
            continue
        found = load_file(out)
        difference = relative(found["last_hidden_state"], text)
        if pooled is not None:
            difference = max(difference, relative(found["pooled"], pooled))
        print(f"{name:12} text {list(text.shape)}, {'no pooled' if pooled is None else f'pooled {list(pooled.shape)}'}: "
              f"{difference:.2e}")
        if not difference <= TOLERANCE:
            failed.append(name)
    print(f"{len(cases)} pipelines, allowed {TOLERANCE:.0e}, failed: {', '.join(failed) or 'none'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
