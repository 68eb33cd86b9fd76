"""Reads the event files of a run folder with the tensorboard package and compares them with metrics.jsonl.

Usage: tensorboard_check.py RUN
Every scalar and every preview of metrics.jsonl must be there at its step, with the same value, and nothing else; each
preview must be a PNG that decodes, byte for byte the file in the run folder. Checked with tensorboard 2.21.0, whose
reader verifies both checksums of every record.
"""
import json
import pathlib
import struct
import sys
import zlib

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

SCALARS = ("loss", "learning_rate", "grad_norm", "validation_loss")


def float32(value):
    return struct.unpack("<f", struct.pack("<f", value))[0]


def decoded_png(data):
    """Width and height of a gray or RGB PNG of 8 bits; fails where chunks, sums or pixels are not whole."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n", "no PNG"
    position, packed = 8, b""
    while position < len(data):
        (length,) = struct.unpack(">I", data[position : position + 4])
        kind, body = data[position + 4 : position + 8], data[position + 8 : position + 8 + length]
        (checksum,) = struct.unpack(">I", data[position + 8 + length : position + 12 + length])
        assert checksum == zlib.crc32(kind + body), f"chunk {kind} is damaged"
        if kind == b"IHDR":
            width, height, depth, colour = struct.unpack(">IIBB", body[:10])
        packed += body if kind == b"IDAT" else b""
        position += 12 + length
    channels = {0: 1, 2: 3}[colour]
    assert depth == 8 and len(zlib.decompress(packed)) == height * (1 + width * channels), "pixels are missing"
    return width, height


def main(run):
    run = pathlib.Path(run)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    accumulator = EventAccumulator(str(run / "events"), size_guidance={"scalars": 0, "images": 0})
    accumulator.Reload()

    expected = {tag: {line["step"]: float32(line[tag]) for line in lines if tag in line} for tag in SCALARS}
    expected = {tag: values for tag, values in expected.items() if values}
    found = {tag: {event.step: event.value for event in accumulator.Scalars(tag)} for tag in accumulator.Tags()["scalars"]}
    assert found == expected, f"scalars differ: events {found}, metrics.jsonl {expected}"
    counts = {tag: len(accumulator.Scalars(tag)) for tag in found}
    assert counts == {tag: len(values) for tag, values in expected.items()}, "a step was written twice"

    previews = {line["step"]: (run / line["preview"]).read_bytes() for line in lines if "preview" in line}
    assert accumulator.Tags()["images"] == (["preview"] if previews else []), accumulator.Tags()["images"]
    pictures = {event.step: event for event in accumulator.Images("preview")} if previews else {}
    assert pictures.keys() == previews.keys(), f"previews at {list(pictures)}, metrics.jsonl has {list(previews)}"
    for step, event in pictures.items():
        assert event.encoded_image_string == previews[step], f"the preview of step {step} is another picture"
        assert decoded_png(event.encoded_image_string) == (event.width, event.height), f"size at step {step}"
    print(f"{sum(counts.values())} scalars of {len(counts)} tags and {len(pictures)} previews are those of the run")


if __name__ == "__main__":
    main(sys.argv[1])
