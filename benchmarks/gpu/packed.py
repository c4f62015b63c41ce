"""A training that reads its images beside one that has them: FCMAE of Atto at 224 px in bf16, the rate of both.

The images lie in a pack of 256 px and are cropped and mirrored, two steps read ahead, as a run does; the other steps
take those of one step, in memory, again and again. Nothing waits for the device between steps.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Iterator
from itertools import count, repeat
from pathlib import Path
from typing import Any

from benchmarks.gpu.device import Device, fitted, told
from benchmarks.gpu.records import Writer, part_of
from benchmarks.packed import CROP, noise
from benchmarks.sparse_encoder import SIDE
from benchmarks.train_step import Bench
from collapse_lab.train.ahead import ahead
from collapse_lab.train.config import make_config
from collapse_lab.train.loop import Part
from collapse_lab.train.place import entered

SIZE, STORED, STEPS = "atto", 256, 20


def rates(device: Device, folder: Path, batch: int) -> dict[str, Any]:
    """Images a second of both."""
    settings = make_config(
        {
            "out": str(folder / "run"),
            "device": device.kind,
            "model": {"name": f"convnextv2_{SIZE}"},
            "data": {"uri": f"packed:{folder / 'pack'}", "size": SIDE, "batch": batch, "crop": CROP, "flip": True},
            "compute": {"precision": "bf16"},
        }
    )
    steps = STEPS if device.kind == "cuda" else device.scale.steps
    with entered(settings) as place:
        bench = Bench.of(settings, place)

        def many(read: Iterator[list[Part]]) -> None:
            for _ in range(steps):
                bench.loss(next(read)).backward()
                bench.advance()

        coming, held = ahead(bench.ready.read, count()), repeat(bench.synthetic)
        many(held), many(coming)
        pairs = [
            (device.timed(lambda: many(held)), device.timed(lambda: many(coming))) for _ in range(device.scale.rounds)
        ]
        coming.close()
    return {
        "images_per_second": batch * steps / statistics.median(own for _, own in pairs),
        "held_images_per_second": batch * steps / statistics.median(other for other, _ in pairs),
        "packed_vs_held": statistics.median(other / own for other, own in pairs),
    }


def main() -> None:
    """Append one record to the file."""
    parser = argparse.ArgumentParser(description="Training from a pack.", parents=[part_of()])
    options = parser.parse_args()
    device = options.device
    most = device.scale.packed // 2
    try:
        with tempfile.TemporaryDirectory() as folder:
            noise(Path(folder) / "made", device.scale.packed, STORED)
            found, batch = fitted(device, most, lambda batch: rates(device, Path(folder) / "made", batch))
        found |= {"size": SIZE, "batch": batch} | ({"halved_from": most} if batch < most else {})
    except Exception as error:
        found = {"error": told(error)}
    Writer(options.out)({"part": "packed", **found})


if __name__ == "__main__":
    main()
