"""Accepts and refuses the same files as the reference reader of safetensors, on many damaged ones.

Usage: safetensors_diff.py CHECKER [COUNT]
CHECKER is tests/peers/safetensors_check.cpp, built from the repository root with
  g++ -std=c++20 -O2 -I. tests/peers/safetensors_check.cpp core/io/{safetensors*,bytes,mapped_file,json_guard}.cpp \
      core/base/{files,text}.cpp -lz -lxxhash -o CHECKER
The reference is the safetensors package (0.8.0). Our reader is stricter on purpose; a file that only we refuse passes when
our reason is one of STRICTER. A file that only the reference refuses fails. Exit 1 on any other difference.
"""
import json
import random
import struct
import subprocess
import sys

import safetensors

STRICTER = ("stands twice", "duplicate key", "does not begin with {", "dimensions", "beyond 2^63", "nested deeper",
            "more than 200000")
DTYPES = {"BOOL": 1, "U8": 1, "I16": 2, "F16": 2, "BF16": 2, "F32": 4, "I64": 8, "F64": 8, "F8_E4M3": 1, "C64": 8}


def valid(rng):
    """A header as a list of pairs (so that keys may repeat) and its data length."""
    entries, offset = [], 0
    if rng.random() < 0.5:
        entries.append(["__metadata__", {"format": "pt"}])
    for i in range(rng.randrange(4)):
        dtype = rng.choice(list(DTYPES))
        shape = [rng.randrange(4) for _ in range(rng.randrange(4))]
        size = DTYPES[dtype]
        for s in shape:
            size *= s
        entries.append([f"t{i}", {"dtype": dtype, "shape": shape, "data_offsets": [offset, offset + size]}])
        offset += size
    rng.shuffle(entries)
    return entries, offset


def damage_structure(rng, entries):
    """One change of meaning."""
    if not entries:
        return
    name, info = entry = rng.choice(entries)
    change = rng.randrange(12)
    number = rng.choice([0, 1, -1, 2**31, 2**32, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 1.0, 1e3, "1", None, [], True])
    if change == 0:
        entry[0] = rng.choice(["", "t0", "__metadata__", "\u0000", "\u00e9", "\\"])
    elif change == 1:
        entries.append(json.loads(json.dumps(entry)))
    elif change == 2:
        entry[1] = number
    elif "shape" not in info:
        info[rng.choice(["a", "format"])] = number
    elif change == 3:
        info["dtype"] = rng.choice(["F4", "F6_E2M3", "F6_E3M2", "F8_E8M0", "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "I4",
                                    "u8", "", "U16", "U32", "U64", "I8", "I32", number])
    elif change == 4:
        info["shape"].append(rng.choice([0, 1, 2, number]))
    elif change == 5 and info["shape"]:
        info["shape"][rng.randrange(len(info["shape"]))] = number
    elif change == 6:
        info["data_offsets"][rng.randrange(2)] = number
    elif change == 7:
        info["data_offsets"].append(0)
    elif change == 8:
        info.pop(rng.choice(["dtype", "shape", "data_offsets"]))
    elif change == 9:
        info["extra"] = rng.choice([number, {"a": [1, {"b": number}]}])
    elif change == 10:
        info["data_offsets"] = info["data_offsets"][::-1]
    else:
        info["shape"] = rng.choice([number, [4194305, 4194305, 211106198978564], [2**40, 2**40, 0], [0, 2**40, 2**40]])


def damaged_file(rng):
    entries, size = valid(rng)
    for _ in range(rng.choice([0, 1, 1, 1, 2])):
        try:
            damage_structure(rng, entries)
        except (TypeError, AttributeError, KeyError, IndexError):
            pass  # the part to damage went with an earlier change
    separators = rng.choice([(",", ":"), (", ", ": ")])
    header = "{" + separators[0].join(json.dumps(k) + separators[1] + json.dumps(v, separators=separators)
                                      for k, v in entries) + "}"
    header = header.encode() + b" " * rng.choice([0, 0, 3, 8])
    size += rng.choice([0, 0, 0, 0, 0, 1, -1, 8])
    file = bytearray(struct.pack("<Q", len(header)) + header + bytes(max(size, 0)))
    if rng.random() < 0.4:
        for _ in range(rng.randrange(1, 4)):
            at = rng.randrange(len(file))
            kind = rng.randrange(4)
            if kind == 0:
                file[at] ^= 1 << rng.randrange(8)
            elif kind == 1:
                file[at] = rng.choice(b"\x00\xff{}[]\",:0129-.eE \\tn")
            elif kind == 2:
                del file[at:at + rng.randrange(1, 4)]
            else:
                file[at:at] = file[at:at + rng.randrange(1, 4)]
            if not file:
                break
        # Most damage would be hidden behind a header length that no longer fits.
        if rng.random() < 0.5 and file.rfind(b"}") >= 8:
            struct.pack_into("<Q", file, 0, file.rindex(b"}") - 7)
    return bytes(file)


def reference_accepts(file):
    try:
        safetensors.deserialize(file)
        return True
    except Exception:
        return False


def main(checker, count):
    rng = random.Random(1)
    files = [damaged_file(rng) for _ in range(count)]
    blob = b"".join(struct.pack("<I", len(f)) + f for f in files)
    lines = subprocess.run([checker], input=blob, stdout=subprocess.PIPE, check=True).stdout.decode().splitlines()
    assert len(lines) == count, (len(lines), count)
    num_accepted = num_stricter = num_wrong = 0
    for file, line in zip(files, lines):
        ours, reference = line == "1", reference_accepts(file)
        num_accepted += ours and reference
        if ours == reference:
            continue
        if reference and any(reason in line for reason in STRICTER):
            num_stricter += 1
            continue
        num_wrong += 1
        if num_wrong <= 10:
            print("reference", "accepts" if reference else "refuses", file, "ours:", line)
    print(f"{count} files: {num_accepted} accepted by both, {num_stricter} refused by our stricter rules, "
          f"{num_wrong} other differences (safetensors {safetensors.__version__})")
    return 1 if num_wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 100_000))
