#!/usr/bin/env python3
"""Compares `thaw tokenize` with transformers on 10,000 strings a tokenizer, or writes tests/golden/text/tokens.

Run:  python tests/peers/tokenizers_compare.py --thaw build/release/thaw --work FOLDER [--minilm FOLDER]
      python tests/peers/tokenizers_compare.py --golden
Needs transformers 5.23, tokenizers, sentencepiece, protobuf and clip-anytorch (whose package holds CLIP's merges);
`--minilm` is a folder with the BERT vocabulary of all-MiniLM-L6-v2 (`thaw data minilm`).

No string differs, or the script fails and shows the first ones.
"""
import argparse
import gzip
import hashlib
import importlib.util
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import unicodedata

os.environ["HF_HUB_OFFLINE"] = "1"
import sentencepiece
import tokenizers
import transformers
from transformers import BertTokenizer, CLIPTokenizer, T5Tokenizer

HERE = pathlib.Path(__file__).resolve()
ROOT = HERE.parents[2]
GOLDEN = ROOT / "tests" / "golden" / "text" / "tokens"
SPECIALS = ["<|startoftext|>", "<|endoftext|>", "<|STARTOFTEXT|>", "<|endoftext", "[CLS]", "[SEP]", "[MASK]", "[mask]",
            "[UNK]", "[PAD]", "</s>", "<pad>", "<unk>", "<extra_id_0>", "<extra_id_99>", "<extra_id_100>", "!", "</w>",
            "\u2581", "##ing"]
EMOJI = ["\U0001f600", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\U0001f1e9\U0001f1ea", "\u2764\ufe0f",
         "\U0001f44d\U0001f3fd", "1\ufe0f\u20e3", "\U0001fae8"]
MIXED = ["\ufb01ne", "e\u0301te\u0301", "\u0130stanbul", "\u00c5ngstr\u00f6m", "\u212b", "\u1e9e", "\u03a3\u03af\u03c3\u03c5\u03c6\u03bf\u03c2",
         "\u4f60\u597d\u4e16\u754c", "\u3053\u3093\u306b\u3061\u306f", "\ud55c\uad6d\uc5b4", "\u0e20\u0e32\u0e29\u0e32",
         "\u0928\u092e\u0938\u094d\u0924\u0947", "\u0645\u0631\u062d\u0628\u0627", "\u05e9\u05dc\u05d5\u05dd",
         "\u2460\u00bd\u00b2\u2167", "\uff21\uff22\uff11", "\u00a0", "\u3000", "\u2028", "\u200b", "\ufeff", "\u00ad",
         "\ufffd", "don't we'll I'D you're 'S'm", "3.14159e-10", "A1111", "snake_case", "\u0e4d\u0e32", "\u0f77",
         "\u1100\u1161\u11a8", "\u0344", "\u0958"]

MARKS = [chr(c) for c in range(0x110000) if unicodedata.category(chr(c)) in ("Mn", "Mc")]


def words():
    text = " ".join((ROOT / name).read_text() for name in ("README.md", "docs/architecture.md", "docs/samplers.md"))
    return [w for w in text.split() if w]


def one_string(random_, vocabulary):
    kind = random_.randrange(13)
    length = random_.choice([1, 2, 3, 5, 8, 13, 30])
    pick = random_.choice
    if kind <= 3:
        parts = [pick(vocabulary) for _ in range(length)]
    elif kind == 4:  # every code point alike
        parts = [chr(pick(range(0xE000)) % 0xD800 if random_.random() < 0.5 else random_.randrange(0xE000, 0x110000))
                 for _ in range(length)]
    elif kind == 5:  # those that have a name
        parts = []
        while len(parts) < length:
            c = chr(random_.choice([random_.randrange(0x250, 0xD800), random_.randrange(0x10000, 0x20000)]))
            if unicodedata.category(c) != "Cn":
                parts.append(c)
    elif kind == 6:
        parts = [pick(EMOJI + MIXED) for _ in range(length)]
    elif kind == 7:
        parts = [pick(SPECIALS + vocabulary[:40] + [" ", "", "  "]) for _ in range(length)]
    elif kind == 8:  # control characters, white space
        parts = [chr(random_.randrange(0, 0xA1)) for _ in range(length)]
    elif kind == 9:  # letters with many marks
        parts = [pick("aeiouAEIOUnNcC\u0915\u05d0") + "".join(chr(random_.randrange(0x300, 0x370))
                                                              for _ in range(random_.randrange(4))) for _ in range(length)]
    elif kind == 10:
        parts = [pick("'\"<>|[]()!?.,:;-_=+*&^%$#@~`/\\0123456789aB ") for _ in range(length)]
    elif kind == 11:  # marks of every script upon marks
        parts = ["a" + "".join(pick(MARKS) for _ in range(random_.randrange(5))) for _ in range(length)]
    else:
        parts = [pick(vocabulary).upper() if random_.random() < 0.5 else pick(MIXED) for _ in range(length)]
    return pick(["", " ", " ", "\n", "\t "]).join(parts)


def strings(count, seed=0):
    random_ = random.Random(seed)
    vocabulary = words()
    fixed = ["", " ", "\n", "\x00", "a" * 20000, "word " * 4000, "\U0001f600" * 3000, "'" * 500, "<|endoftext|>" * 300,
             " ".join(SPECIALS), "".join(SPECIALS), " ".join(EMOJI), " ".join(MIXED), "x" * 101, "x" * 100,
             "\u0301" * 200, "a photo of a cat"]
    return fixed + [one_string(random_, vocabulary) for _ in range(count - len(fixed))]


def clip_vocabulary(limit=49152):
    package = pathlib.Path(importlib.util.find_spec("clip").origin).parent
    lines = gzip.open(package / "bpe_simple_vocab_16e6.txt.gz").read().decode().split("\n")
    merges = [tuple(line.split()) for line in lines[1 : limit - 256 - 2 + 1]]
    printing = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    letters = [chr(b) for b in printing] + [chr(256 + n) for n in range(256 - len(printing))]
    tokens = letters + [c + "</w>" for c in letters] + ["".join(m) for m in merges] + ["<|startoftext|>", "<|endoftext|>"]
    return {t: i for i, t in enumerate(tokens)}, merges


def write_json(path, value):
    path.write_text(json.dumps(value, separators=(",", ":")) + "\n")


def clip_folder(folder, pad="<|endoftext|>", limit=49152):
    folder.mkdir(parents=True)
    vocabulary, merges = clip_vocabulary(limit)
    write_json(folder / "vocab.json", vocabulary)
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": True}
    named = {"bos_token": {"content": "<|startoftext|>", **flags}, "eos_token": {"content": "<|endoftext|>", **flags},
             "unk_token": {"content": "<|endoftext|>", **flags}, "pad_token": pad}
    write_json(folder / "special_tokens_map.json", named)
    write_json(folder / "tokenizer_config.json", {
        "unk_token": {**named["unk_token"], "__type": "AddedToken"}, "bos_token": {**named["bos_token"], "__type": "AddedToken"},
        "eos_token": {**named["eos_token"], "__type": "AddedToken"}, "pad_token": pad, "add_prefix_space": False,
        "errors": "replace", "do_lower_case": True, "name_or_path": "openai/clip-vit-base-patch32",
        "model_max_length": 77, "tokenizer_class": "CLIPTokenizer"})


def bert_folder(folder, source, config):
    folder.mkdir(parents=True)
    shutil.copy(source / "vocab.txt", folder)
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "BertTokenizer", "model_max_length": 512} | config)


def t5_folder(folder, size=1500, extra_ids=100):
    folder.mkdir(parents=True)
    text = folder.parent / "t5_training.txt"
    text.write_text("\n".join(" ".join(words()[i : i + 12]) for i in range(0, 12000, 12))
                    + "\n" + "\n".join(" ".join(MIXED + EMOJI) for _ in range(5)))
    sentencepiece.SentencePieceTrainer.Train(
        input=str(text), model_prefix=str(folder / "spiece"), vocab_size=size, model_type="unigram", pad_id=0, eos_id=1,
        unk_id=2, bos_id=-1, normalization_rule_name="nmt_nfkc", hard_vocab_limit=False, minloglevel=2, num_threads=1)
    (folder / "spiece.vocab").unlink()
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "T5Tokenizer", "extra_ids": extra_ids,
                                                  "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>",
                                                  "model_max_length": 512})


def saved(tokenizer_class, folder, target):
    tokenizer_class.from_pretrained(folder).save_pretrained(target)
    file = target / "tokenizer.json"
    write_json(file, json.loads(file.read_text()))  # without indentation


def make_folders(work, minilm):
    cases = [("clip", CLIPTokenizer), ("clip_pad", CLIPTokenizer), ("clip_json", CLIPTokenizer), ("t5", T5Tokenizer),
             ("t5_json", T5Tokenizer)]
    clip_folder(work / "clip")
    clip_folder(work / "clip_pad", pad="!")
    saved(CLIPTokenizer, work / "clip", work / "clip_json")
    t5_folder(work / "t5")
    saved(T5Tokenizer, work / "t5", work / "t5_json")
    if minilm:
        bert_folder(work / "bert", minilm, {"do_lower_case": True})
        bert_folder(work / "bert_cased", minilm, {"do_lower_case": False})
        bert_folder(work / "bert_accents", minilm, {"strip_accents": False, "tokenize_chinese_chars": False})
        saved(BertTokenizer, work / "bert", work / "bert_json")
        cases += [(name, BertTokenizer) for name in ("bert", "bert_cased", "bert_accents", "bert_json")]
        shutil.copytree(minilm, work / "minilm", ignore=shutil.ignore_patterns("*.safetensors"))
        cases.append(("minilm", BertTokenizer))
    return cases


def check(thaw, work, minilm, count):
    cases = make_folders(work, minilm)
    texts = strings(count)
    with open(work / "strings.jsonl", "w") as out:
        out.writelines(json.dumps(t) + "\n" for t in texts)
    total, failed = 0, []
    for name, tokenizer_class in cases:
        tokenizer = tokenizer_class.from_pretrained(work / name)
        expected = [tokenizer(t, truncation=False).input_ids for t in texts]
        done = subprocess.run([thaw, "tokenize", work / name, "--in", work / "strings.jsonl"], capture_output=True,
                              text=True)
        if done.returncode != 0:
            print(f"{name:14} exit {done.returncode}: {done.stderr.strip()}")
            failed.append(name)
            continue
        found = [json.loads(line) for line in done.stdout.splitlines()]
        wrong = [i for i in range(len(texts)) if i >= len(found) or found[i] != expected[i]]
        total += len(texts)
        tokens = sum(len(e) for e in expected)
        print(f"{name:14} {len(tokenizer):6} tokens in the vocabulary, {len(texts)} strings, {tokens} ids, {len(wrong)} differ")
        for i in wrong[:5]:
            print("   ", ascii(texts[i][:80]), "\n      peer", expected[i][:24], "\n      thaw", (found + [[]] * len(texts))[i][:24])
        if wrong:
            failed.append(name)
    print(f"transformers {transformers.__version__}, tokenizers {tokenizers.__version__}: {len(cases)} tokenizers, {total} "
          f"strings, failed: {', '.join(failed) or 'none'}")
    return 1 if failed else 0


def write_golden():
    shutil.rmtree(GOLDEN, ignore_errors=True)
    GOLDEN.mkdir(parents=True)
    clip_folder(GOLDEN / "clip", limit=1000)
    saved(CLIPTokenizer, GOLDEN / "clip", GOLDEN / "clip_json")
    t5_folder(GOLDEN / "t5", size=420, extra_ids=10)
    (GOLDEN / "t5_training.txt").unlink()
    shrink_map(GOLDEN / "t5")
    saved(T5Tokenizer, GOLDEN / "t5", GOLDEN / "t5_json")
    bert = sorted({w.lower()[:12] for w in words() if w.isalpha()})[:500]
    alphabet = [chr(c) for c in list(range(33, 127)) + [0xE9, 0x4F60, 0x3053, 0x4E16] if not chr(c).isupper()]
    (GOLDEN / "bert").mkdir()
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + alphabet + ["##" + c for c in alphabet if c.isalnum()]
    tokens += [b for b in bert if b not in tokens] + ["##ing", "##ed", "##s"]
    (GOLDEN / "bert" / "vocab.txt").write_text("\n".join(dict.fromkeys(tokens)) + "\n")
    write_json(GOLDEN / "bert" / "tokenizer_config.json", {"tokenizer_class": "BertTokenizer"})
    saved(BertTokenizer, GOLDEN / "bert", GOLDEN / "bert_json")
    texts = [t[:160] for t in strings(150, seed=1)]
    cases = {}
    for name, tokenizer_class in (("clip", CLIPTokenizer), ("t5", T5Tokenizer), ("bert", BertTokenizer)):
        tokenizer = tokenizer_class.from_pretrained(GOLDEN / name)
        cases[name] = [tokenizer(t).input_ids for t in texts]
        again = tokenizer_class.from_pretrained(GOLDEN / (name + "_json"))
        assert cases[name] == [again(t).input_ids for t in texts]
    made = {"transformers": transformers.__version__, "tokenizers": tokenizers.__version__, "script": HERE.name,
            "sha256": hashlib.sha256(HERE.read_bytes()).hexdigest()}
    write_json(GOLDEN / "expected.json", {"made": made, "texts": texts, "ids": cases})
    for file in GOLDEN.rglob("*.*"):
        file.chmod(0o644)
    print(sum(f.stat().st_size for f in GOLDEN.rglob("*") if f.is_file()), "bytes")


def shrink_map(folder):
    """Leaves of the character map only the file's own need: the full one is 240 kB."""
    from transformers.convert_slow_tokenizer import import_protobuf
    model = import_protobuf().ModelProto()
    rules = folder / "rules.tsv"
    pairs = {"\ufb01": "fi", "\u00c5": "A", "\u00e9": "e\u0301", "\u2460": "1", "\u3000": " ", "\u00a0": " ", "\uff21": "A",
             "e\u0301": "\u00e9", "\u200b": " ", "\n": " ", "\t": " ", "\u00bd": "1/2"}
    rules.write_text("".join(" ".join(f"{ord(c):X}" for c in a) + "\t" + " ".join(f"{ord(c):X}" for c in b) + "\n"
                             for a, b in sorted(pairs.items())))
    text = folder / "text.txt"
    text.write_text("\n".join(" ".join(words()[i : i + 12]) for i in range(0, 6000, 12)))
    sentencepiece.SentencePieceTrainer.Train(
        input=str(text), model_prefix=str(folder / "spiece"), vocab_size=420, model_type="unigram", pad_id=0, eos_id=1,
        unk_id=2, bos_id=-1, normalization_rule_tsv=str(rules), minloglevel=2, num_threads=1)
    model.ParseFromString((folder / "spiece.model").read_bytes())
    model.trainer_spec.ClearField("input")  # a path of the machine it was made on
    model.trainer_spec.ClearField("model_prefix")
    model.normalizer_spec.ClearField("normalization_rule_tsv")
    (folder / "spiece.model").write_bytes(model.SerializeToString())
    for name in ("spiece.vocab", "rules.tsv", "text.txt"):
        (folder / name).unlink()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--thaw", default="build/release/thaw")
    parser.add_argument("--work", type=pathlib.Path)
    parser.add_argument("--minilm", type=pathlib.Path)
    parser.add_argument("--count", type=int, default=10000)
    parser.add_argument("--golden", action="store_true")
    options = parser.parse_args()
    if options.golden:
        write_golden()
        return 0
    if options.work is None:
        parser.error("--work FOLDER is needed without --golden")
    options.work.mkdir(parents=True)
    return check(options.thaw, options.work, options.minilm, options.count)


if __name__ == "__main__":
    sys.exit(main())
