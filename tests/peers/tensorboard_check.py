"""Reads the event files of a folder with the tensorboard package and prints what it sees as JSON.

Usage: tensorboard_check.py FOLDER
Checked with tensorboard 2.21.0. Its reader verifies both checksums of every record.
"""
import json
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def main(folder):
    accumulator = EventAccumulator(folder, size_guidance={"scalars": 0, "images": 0})
    accumulator.Reload()
    tags = accumulator.Tags()
    scalars = {tag: [[e.step, e.wall_time, e.value] for e in accumulator.Scalars(tag)] for tag in tags["scalars"]}
    images = {
        tag: [
            {"step": e.step, "width": e.width, "height": e.height, "png_bytes": len(e.encoded_image_string)}
            for e in accumulator.Images(tag)
        ]
        for tag in tags["images"]
    }
    print(json.dumps({"scalars": scalars, "images": images}, indent=1, sort_keys=True))


if __name__ == "__main__":
    main(sys.argv[1])
