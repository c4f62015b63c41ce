"""What a pack costs to read and to write, on one core: images a second as float32 pixels that a network could take.

A step reads its images by number from a pack that lies in the system's cache, draws and scales a box of each, mirrors
half of them and normalises: 128 crops of 224 from images of 256 pixels, and 512 of 32 from 32. The pixels are smooth
noise, which costs what photographs cost: no part of it looks at them. Packing is measured on CIFAR-10 as Parquet, which
is not part of the project: --data FOLDER says where it lies.
"""

from __future__ import annotations

import argparse
import io
import statistics
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image

from benchmarks.claims import Claim, main
from collapse_lab.data.crop import augmented
from collapse_lab.data.pack import pack
from collapse_lab.data.source import Images, normalise, open_images
from collapse_lab.draws import Draws
from collapse_lab.train.order import step_indices

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CROP, RATIO = (0.2, 1.0), (3 / 4, 4 / 3)
DATA = Path(__file__).parents[2] / "shared" / "data" / "cifar10"
CIFAR_IMAGES = 60_000


def noise(folder: Path, count: int, side: int) -> Images:
    """A pack of so many smooth images, written the way a pack is written."""
    random = np.random.default_rng(0)
    cells = []
    for _ in range(count):
        coarse = Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        buffer = io.BytesIO()
        coarse.resize((side, side)).save(buffer, "JPEG")
        cells.append({"bytes": buffer.getvalue(), "path": None})
    folder.mkdir()
    pq.write_table(pa.table({"image": cells}), folder / "train.parquet")
    pack(str(folder), folder / "pack", side=side, workers=0)
    return open_images(f"packed:{folder / 'pack'}", "train", side)


def step(images: Images, number: int, batch: int, size: int | None) -> torch.Tensor:
    """The pixels of one training step; without a `size` whole images, read and mirrored alone."""
    read = images.stored(step_indices(0, number, batch, len(images)))
    drawn = Draws(seed=0, step=number, index=torch.arange(batch))
    if size is None:
        side = images.image.shape[2]
        return augmented(read.image, drawn, size=side, crop=None, ratio=RATIO, flip=True)
    return normalise(augmented(read.image, drawn, size=size, crop=CROP, ratio=RATIO, flip=True), MEAN, STD)


def rate(images: Images, batch: int, size: int | None, steps: int) -> float:
    """Images a second: the median of so many steps, after one that warms up."""
    seconds = []
    for number in range(steps + 1):
        began = time.perf_counter()
        step(images, number, batch, size)
        seconds.append(time.perf_counter() - began)
    return batch / statistics.median(seconds[1:])


def packing(data: Path) -> Claim:
    """Seconds to decode and pack CIFAR-10 with a process a core, from and into the system's cache."""
    settings: dict[str, Any] = {"name": "pack_cifar10_seconds", "unit": "s", "target": 60, "better": "lower"}
    if not data.is_dir():
        return Claim(value=None, reason=f"no CIFAR-10 as Parquet in {data.name}/: --data FOLDER", **settings)
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        packs = pack(str(data), Path(folder) / "pack", side=32)
        seconds = time.perf_counter() - began
    count = sum(map(len, packs.values()))
    if count != CIFAR_IMAGES:
        return Claim(value=None, reason=f"{count:,} images there, CIFAR-10 has {CIFAR_IMAGES:,}", **settings)
    return Claim(value=seconds, **settings)


def measure(quick: bool, data: Path = DATA) -> Sequence[Claim]:
    """All claims; the rates on one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with tempfile.TemporaryDirectory() as folder:
            large = noise(Path(folder) / "256", 512, 256)
            read = noise(Path(folder) / "224", 512, 224)
            small = noise(Path(folder) / "32", 8192, 32)
            rates = {
                "packed_32px_images_per_second_core": (rate(small, 512, 32, 30 if quick else 150), 20_000),
                "packed_224px_crops_per_second_core": (rate(large, 128, 224, 15 if quick else 60), 1000),
                "packed_224px_read_and_flip_per_second_core": (rate(read, 128, None, 30 if quick else 150), 10_000),
            }
    finally:
        torch.set_num_threads(before)
    told = [
        Claim(name=name, value=value, unit="1/s", target=target, better="higher")
        for name, (value, target) in rates.items()
    ]
    return [*told, packing(data)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--data", type=Path, default=DATA, help="CIFAR-10 as Parquet")
    options, _ = parser.parse_known_args()
    main(partial(measure, data=options.data), parents=[parser])
