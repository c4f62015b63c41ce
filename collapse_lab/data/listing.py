"""The images of a split before they are decoded, and how a split of moderate size is held in memory."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from collapse_lab import draws
from collapse_lab.data.decode import Content, decode
from collapse_lab.data.source import Images

MOST_CORRUPT = 0.01
MOST_BYTES = 8 * 2**30
CHUNK = 256
SPLITS: Mapping[str, tuple[str, ...]] = {"train": ("train",), "test": ("test", "val", "valid", "validation")}
"""The two splits, and what they are called, the best name first."""

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Listing:
    """`label` (n,) int64, -1 = none; `id` (n,) int64 the images' identities; `files` their files' names, or empty.

    `contents(first)` gives the encoded images from a place on, one by one; `called(place)` is what an error names.
    """

    name: str
    split: str
    label: Tensor
    id: Tensor
    contents: Callable[[int], Iterator[Content]] = field(repr=False)
    called: Callable[[int], str] = field(repr=False)
    classes: tuple[str, ...] = ()
    files: tuple[str, ...] = field(default=(), repr=False)

    def __len__(self) -> int:
        return len(self.label)


def drawn(listing: Listing, most: int | None) -> Listing:
    """Of its images at most so many, those whose hashed identities are least, in their order; None keeps all."""
    if most is None or most >= len(listing):
        return listing
    if most < 1:
        raise ValueError(f"of a split 1 image or more is kept, got {most}")
    chance = draws.hashed(draws.key("drawn", ""), listing.id, 1)[:, 0]
    places = chance.argsort(stable=True)[:most].sort().values.tolist()

    def contents(first: int) -> Iterator[Content]:
        wanted = set(places[first:])
        start = min(wanted, default=len(listing))
        return (each for place, each in enumerate(listing.contents(start), start) if place in wanted)

    return replace(
        listing,
        label=listing.label[places],
        id=listing.id[places],
        files=tuple(listing.files[place] for place in places) if listing.files else (),
        contents=contents,
        called=lambda place: listing.called(places[place]),
    )


def held(listing: Listing, size: int) -> Images:
    """All its images decoded into memory, short side scaled to `size`, centre cropped.

    What cannot be decoded is skipped with a warning and listed. Raises ValueError where that is more than 1 %, or
    where the pixels would take more than 8 GiB.
    """
    _check_memory(len(listing), size)
    pixels = np.empty((len(listing), size, size, 3), dtype=np.uint8)
    kept: list[int] = []
    failed: list[tuple[int, str]] = []
    contents = listing.contents(0)
    with ThreadPoolExecutor() as pool:
        for first in range(0, len(listing), CHUNK):
            chunk = list(islice(contents, CHUNK))
            for place, result in enumerate(pool.map(lambda content: decode(content, size), chunk), first):
                if isinstance(result, str):
                    failed.append((place, result))
                else:
                    pixels[len(kept)] = result
                    kept.append(place)
    skipped = passed_over(listing, failed)
    if skipped:
        warnings.warn(f"{len(skipped)} of {len(listing)} images skipped: {'; '.join(skipped[:5])}", stacklevel=3)
    return Images(
        name=listing.name,
        split=listing.split,
        image=torch.from_numpy(pixels[: len(kept)]).permute(0, 3, 1, 2),
        label=listing.label[kept],
        id=listing.id[kept],
        classes=listing.classes,
        files=tuple(listing.files[place] for place in kept) if listing.files else (),
        skipped=skipped,
    )


def passed_over(listing: Listing, failed: Collection[tuple[int, str]]) -> tuple[str, ...]:
    """A line for each image that could not be read, from places and reasons; ValueError for more than 1 %."""
    lines = tuple(f"{listing.called(place)}: {why}" for place, why in failed)
    if len(lines) > MOST_CORRUPT * len(listing):
        raise ValueError(
            f"{len(lines)} of {len(listing)} images of {listing.name} cannot be read (at most 1 % may fail); "
            f"repair or remove: {'; '.join(lines[:5])}"
        )
    return lines


def named_split(names: Sequence[str], split: str, labelled: Callable[[str], bool] = lambda _: True) -> str | None:
    """What `split` is called among `names`; of several the best that is labelled, as many a test split is not."""
    there = [name for name in SPLITS[split] if name in names]
    return next((name for name in there if labelled(name)), there[0] if there else None)


def in_split(keys: Tensor, split: str) -> Tensor:
    """Where nothing names a split: (n,) bool, a fifth of the images, by their keys, is "test"."""
    return (keys % 5 == 0) == (split == "test")


def row_ids(split: str, rows: Tensor) -> Tensor:
    """(n,) int64 >= 0: identities of images that have no name but their place in a split."""
    return draws.hashed(draws.key("row", split), rows, 1)[:, 0] & (2**63 - 1)


def _check_memory(count: int, size: int) -> None:
    needed = count * size * size * 3
    if needed > MOST_BYTES:
        raise ValueError(
            f"{count:,} images of {size} x {size} take {needed / 2**30:.1f} GiB of memory, "
            f"over the limit of {MOST_BYTES // 2**30}; use a smaller size or fewer images, "
            f"or write them once with 'collapse-lab data pack' and train on packed:FOLDER"
        )
