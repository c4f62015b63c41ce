"""What a source holds, and what of it cannot be read: every image is decoded, every block of a pack is summed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from collapse_lab.data.address import address
from collapse_lab.data.decode import measure_block
from collapse_lab.data.listing import SPLITS, Listing
from collapse_lab.data.packed import faults, packed, read_pack
from collapse_lab.data.source import open_images, open_listings
from collapse_lab.data.workers import blocks_of, decoders

AT_ONCE = 256


@dataclass(frozen=True, kw_only=True)
class Checked:
    """One split: images, how many of each class ("" for none), how many of each width and height, what is broken.

    Of a broken pack no classes are told.
    """

    images: int
    classes: Mapping[str, int]
    sizes: Mapping[tuple[int, int], int]
    corrupt: tuple[str, ...]


def check(
    uri: str, *, workers: int | None = None, on_images: Callable[[int], object] = lambda _: None
) -> dict[str, Checked]:
    """Every split of a source. `workers` as of `pack`; `on_images` is called with the number of images done.

    Raises what opening the source raises; what is found in its images is told, not raised.
    """
    kind, place = address(uri)
    if kind == "packed":
        there = [split for split in SPLITS if (Path(place).expanduser() / split).is_dir()]
        return {split: _pack(Path(place).expanduser() / split, on_images) for split in there or SPLITS}
    if kind == "digits":
        return {split: _held(split) for split in SPLITS}
    listings = open_listings(uri)
    with decoders(workers) as pool:
        return {split: _listed(listing, pool, on_images) for split, listing in listings.items()}


def _listed(listing: Listing, pool: Executor, on_images: Callable[[int], object]) -> Checked:
    sizes: Counter[tuple[int, int]] = Counter()
    corrupt: list[str] = []
    done = 0
    for _, found in blocks_of(listing.contents(0), AT_ONCE, measure_block, pool):
        for place, size in enumerate(found, done):
            if isinstance(size, str):
                corrupt.append(f"{listing.called(place)}: {size}")
            else:
                sizes[size] += 1
        done += len(found)
        on_images(done)
    return Checked(
        images=len(listing), classes=_classes(listing.label, listing.classes), sizes=sizes, corrupt=tuple(corrupt)
    )


def _pack(folder: Path, on_images: Callable[[int], object]) -> Checked:
    pack = read_pack(folder)
    found = tuple(f"{folder / 'pixels.u8'}: {fault}" for fault in faults(folder, pack))
    on_images(len(pack))
    sizes, named = {(pack.side, pack.side): len(pack)}, {}
    if not found:  # rows are checked as the pack is opened
        images = packed(str(folder.parent), folder.name, pack.side)
        named = _classes(images.label, images.classes)
    return Checked(images=len(pack), classes=named, sizes=sizes, corrupt=found)


def _held(split: str) -> Checked:
    images = open_images("digits", split, 8)
    return Checked(
        images=len(images), classes=_classes(images.label, images.classes), sizes={(8, 8): len(images)}, corrupt=()
    )


def _classes(label: Tensor, names: Sequence[str]) -> dict[str, int]:
    """Images of each class, of every class that is known, and "" for those without a label where there are any."""
    counted = Counter(label.tolist())
    known = {name: counted[number] for number, name in enumerate(names)}
    return known | ({"": counted[-1]} if counted[-1] else {})
