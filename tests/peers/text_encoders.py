#!/usr/bin/env python3
"""Compares `thaw encode-text` with transformers on random small encoders, or writes tests/golden/text/encoders.

Run:  python tests/peers/text_encoders.py --thaw build/release/thaw --work FOLDER [--minilm FOLDER]
      python tests/peers/text_encoders.py --golden
Needs torch, safetensors and transformers 5.23; CPU, a minute. `--minilm` is what `thaw data minilm` fetched: its real
weights, and sentence vectors by the mean over the mask and division by the length.

Every weight is drawn anew, as in published_networks.py; the difference is the largest absolute one over the largest
absolute output. States of padding are compared too, where the mask leaves them something to attend to.
"""
import argparse
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys

os.environ["HF_HUB_OFFLINE"] = "1"
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import (BertConfig, BertModel, BertTokenizer, CLIPTextConfig, CLIPTextModel,
                          CLIPTextModelWithProjection, T5Config, T5EncoderModel)

HERE = pathlib.Path(__file__).resolve()
GOLDEN = HERE.parents[1] / "golden" / "text" / "encoders"
TOLERANCE = 1e-5  # float32 in another order of summation
CLIP = {"vocab_size": 99, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4,
        "max_position_embeddings": 20, "projection_dim": 24, "bos_token_id": 97, "eos_token_id": 98, "pad_token_id": 98}
T5 = {"vocab_size": 99, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 3, "num_heads": 4}
BERT = {"vocab_size": 99, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4,
        "max_position_embeddings": 40}
# name, class, configuration, tokens of a row, layers to look at
CASES = [
    ("clip_quick_gelu", CLIPTextModel, CLIP, 20, (0, 1, 3)),
    ("clip_gelu", CLIPTextModel, CLIP | {"hidden_act": "gelu", "layer_norm_eps": 1e-3}, 11, (0, 2)),
    ("clip_argmax", CLIPTextModel, CLIP | {"eos_token_id": 2}, 20, (0,)),
    ("clip_projection", CLIPTextModelWithProjection, CLIP, 20, (0, 1)),
    ("clip_projection_argmax", CLIPTextModelWithProjection, CLIP | {"eos_token_id": 2, "hidden_act": "gelu"}, 20, (0,)),
    ("t5_relu", T5EncoderModel, T5, 19, (0, 1)),
    ("t5_gated_gelu", T5EncoderModel, T5 | {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}, 300, (0,)),
    ("t5_buckets", T5EncoderModel, T5 | {"relative_attention_num_buckets": 12, "relative_attention_max_distance": 20,
                                         "d_kv": 5, "layer_norm_epsilon": 1e-3}, 70, (0, 3)),
    ("t5_gated_silu", T5EncoderModel, T5 | {"feed_forward_proj": "gated-silu"}, 9, (0,)),
    ("bert", BertModel, BERT, 40, (0, 1, 3)),
    ("bert_relu", BertModel, BERT | {"hidden_act": "relu", "layer_norm_eps": 1e-5}, 9, (0,)),
    ("bert_gelu_new", BertModel, BERT | {"hidden_act": "gelu_new"}, 17, (0,)),
]
CONFIGS = {CLIPTextModel: CLIPTextConfig, CLIPTextModelWithProjection: CLIPTextConfig, T5EncoderModel: T5Config,
           BertModel: BertConfig}


def draw_weights(network, generator):
    for name, weight in network.named_parameters():
        fan_in = weight[0].numel() if weight.dim() > 1 else 1
        if "embed" in name or "shared" in name or "relative_attention_bias" in name:
            weight.data.normal_(0, 1, generator=generator)
        elif weight.dim() > 1:
            # T5 does not divide its scores by the root of the width
            scale = 0.3 if "SelfAttention.q" in name else 1.0
            weight.data.normal_(0, scale * fan_in**-0.5, generator=generator)
        else:
            weight.data.normal_(0, 0.2, generator=generator)
            if "norm" in name.lower() and name.endswith("weight"):
                weight.data += 1


def make_case(network_class, config, length, seed, batch=4):
    generator = torch.Generator().manual_seed(seed)
    network = network_class(CONFIGS[network_class](**config)).eval()
    draw_weights(network, generator)
    ids = torch.randint(3, 97, (batch, length), generator=generator)
    mask = torch.ones_like(ids)
    for row in range(1, batch):  # rows end earlier and earlier; the last is nearly all padding
        end = max(1, length - row * length // batch)
        ids[row, end:] = 98
        mask[row, end:] = 0
        ids[row, end - 1] = 98
    ids[0, -1] = 98
    return network, ids, mask


def outputs(network, ids, mask):
    with torch.no_grad():
        result = network(input_ids=ids, attention_mask=mask, output_hidden_states=True)
    pooled = getattr(result, "text_embeds", None)
    if pooled is None:
        pooled = getattr(result, "pooler_output", None)
    return result.last_hidden_state, pooled, result.hidden_states


def relative(found, expected):
    if found.shape != expected.shape or not bool(torch.isfinite(found).all() & torch.isfinite(expected).all()):
        return float("inf")
    return float((found - expected).abs().max() / expected.abs().max())


def run_thaw(thaw, folder, arguments, work, *settings):
    save_file({name: tensor.contiguous() for name, tensor in arguments.items()}, work / "in.safetensors")
    done = subprocess.run([thaw, "encode-text", folder, "--in", work / "in.safetensors",
                           f"out={work / 'out.safetensors'}", *settings], capture_output=True, text=True)
    if done.returncode != 0:
        print(f"{folder.name:24} exit {done.returncode}: {done.stderr.strip()}")
        return None
    return load_file(work / "out.safetensors")


def check_case(thaw, work, name, network_class, config, length, layers, seed):
    network, ids, mask = make_case(network_class, config, length, seed)
    worst = 0.0
    for shards in (None, "20KB"):  # one file, and several with an index
        folder = work / (name + ("_shards" if shards else ""))
        network.save_pretrained(folder, **({"max_shard_size": shards} if shards else {}))
        assert bool(list(folder.glob("*.index.json"))) == bool(shards)
        for has_mask in (True, False):
            arguments = {"input_ids": ids} | ({"attention_mask": mask} if has_mask else {})
            last, pooled, hidden = outputs(network, ids, mask if has_mask else None)
            for layer in layers:
                found = run_thaw(thaw, folder, arguments, work, f"layer={layer}")
                if found is None:
                    return float("inf")
                expected = last if layer == 0 else hidden[-1 - layer]
                worst = max(worst, relative(found["last_hidden_state"], expected))
                if pooled is not None:
                    worst = max(worst, relative(found["pooled"], pooled))
    return worst


def check_minilm(thaw, work, minilm):
    texts = ["A photo of a cat.", "", "An astronaut riding a horse on Mars, oil on canvas, 1890", "caf\u00e9 \u4f60\u597d \U0001f600",
             "word " * 100]
    (work / "texts.jsonl").write_text("".join(json.dumps(t) + "\n" for t in texts))
    tokenizer, network = BertTokenizer.from_pretrained(minilm), BertModel.from_pretrained(minilm).eval()
    batch = tokenizer(texts, padding="max_length", max_length=256, truncation=True, return_tensors="pt")
    with torch.no_grad():
        states = network(input_ids=batch.input_ids, attention_mask=batch.attention_mask).last_hidden_state
    weight = batch.attention_mask.unsqueeze(-1).float()
    vectors = torch.nn.functional.normalize((states * weight).sum(1) / weight.sum(1).clamp(min=1e-9), dim=1)
    subprocess.run([thaw, "encode-text", minilm, "--in", work / "texts.jsonl", f"out={work / 'minilm.safetensors'}",
                    "weights=off"], check=True, stdout=subprocess.DEVNULL)
    found = load_file(work / "minilm.safetensors")
    assert torch.equal(found["mask"], batch.attention_mask)
    return max(relative(found["last_hidden_state"], states), relative(found["pooled"], vectors))


def check(thaw, work, minilm):
    failed, worst = [], 0.0
    for seed, (name, network_class, config, length, layers) in enumerate(CASES):
        difference = check_case(thaw, work, name, network_class, config, length, layers, seed)
        print(f"{name:24} {difference:.2e}")
        worst = max(worst, difference)
        if not difference <= TOLERANCE:
            failed.append(name)
    if minilm:
        difference = check_minilm(thaw, work, minilm)
        print(f"{'all-MiniLM-L6-v2':24} {difference:.2e}  (states and sentence vectors of 5 texts)")
        worst = max(worst, difference)
        if not difference <= TOLERANCE:
            failed.append("minilm")
    print(f"transformers {transformers.__version__}: {len(CASES)} encoders, worst {worst:.2e}, allowed {TOLERANCE:.0e}, "
          f"failed: {', '.join(failed) or 'none'}")
    return 1 if failed else 0


def write_golden():
    shutil.rmtree(GOLDEN, ignore_errors=True)
    small = {"hidden_size": 16, "intermediate_size": 20, "num_hidden_layers": 2, "num_attention_heads": 2}
    cases = [("clip", CLIPTextModelWithProjection, CLIP | small | {"projection_dim": 12}, 12),
             ("clip_argmax", CLIPTextModel, CLIP | small | {"eos_token_id": 2, "hidden_act": "gelu"}, 12),
             ("t5", T5EncoderModel, T5 | {"d_model": 16, "d_ff": 20, "num_layers": 2, "num_heads": 2,
                                          "feed_forward_proj": "gated-gelu", "relative_attention_num_buckets": 8,
                                          "relative_attention_max_distance": 9}, 14),
             ("bert", BertModel, BERT | small | {"max_position_embeddings": 16}, 12)]
    for seed, (name, network_class, config, length) in enumerate(cases):
        folder = GOLDEN / name
        network, ids, mask = make_case(network_class, config, length, 1000 + seed, batch=3)
        with torch.no_grad():
            for weight in network.parameters():
                weight.copy_(weight.half())
        last, pooled, hidden = outputs(network, ids, mask)
        # Half precision on disk: exact, since the weights were rounded to it before the pass.
        network.half().save_pretrained(folder, **({"max_shard_size": "5KB"} if name == "bert" else {}))
        expected = {"last_hidden_state": last, "layer_1": hidden[-2]} | ({} if pooled is None else {"pooled": pooled})
        (folder / "case").mkdir()
        save_file({"input_ids": ids, "attention_mask": mask}, folder / "case" / "in.safetensors")
        save_file({k: v.contiguous() for k, v in expected.items()}, folder / "case" / "expected.safetensors")
        made = {"transformers": transformers.__version__, "torch": torch.__version__.split("+")[0], "script": HERE.name,
                "sha256": hashlib.sha256(HERE.read_bytes()).hexdigest()}
        (folder / "case" / "made.json").write_text(json.dumps(made, indent=1) + "\n")
    for file in GOLDEN.rglob("*.*"):
        file.chmod(0o644 if file.is_file() else 0o755)
    print(sum(f.stat().st_size for f in GOLDEN.rglob("*") if f.is_file()), "bytes")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--thaw", default="build/release/thaw")
    parser.add_argument("--work", type=pathlib.Path)
    parser.add_argument("--minilm", type=pathlib.Path)
    parser.add_argument("--golden", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.golden:
        write_golden()
        return 0
    if options.work is None:
        parser.error("--work FOLDER is needed without --golden")
    options.work.mkdir(parents=True)
    return check(options.thaw, options.work, options.minilm)


if __name__ == "__main__":
    sys.exit(main())
