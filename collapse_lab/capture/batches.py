"""What a capture is fed: batches of images in any usual form, each image with an identity of its own."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from collapse_lab.stats.accumulate import read_labels
from collapse_lab.stats.identity import read_ids, told_apart


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One batch: `image` as the model takes it, `id` (N,) int64; `label` (N,) int64 and `removed` (N, L) if given."""

    image: Tensor
    id: Tensor
    label: Tensor | None
    removed: Tensor | None


def read_batches(batches: Iterable[Any], repeats: Counter[int]) -> Iterator[Seen]:
    """Each batch of images, (images, labels) or {"image", "label", "id", "removed"}, with identities.

    An identity is the given `id` (int64, or texts); without one it is a hash of the image's bytes, so shuffling does
    not matter. A second image of the same identity gets a running suffix, and `repeats` counts it. A batch without
    an image is passed over. Raises TypeError or ValueError for a batch of another form.
    """
    if not isinstance(batches, Iterable):
        raise TypeError(f"batches must be an iterable of batches of images, got {type(batches).__name__}")
    for batch in batches:
        if isinstance(batch, Mapping):
            if "image" not in batch:
                raise ValueError(f"a batch has the keys {sorted(map(str, batch))}; it needs 'image'")
            image, rest = batch["image"], batch
        elif isinstance(batch, list | tuple) and batch:
            image, rest = batch[0], {"label": batch[1] if len(batch) > 1 else None}
        else:
            image, rest = batch, {}
        if not isinstance(image, Tensor):
            raise TypeError(f"the images of a batch must be a tensor, got {type(image).__name__}")
        if image.ndim == 0 or not len(image):
            continue
        given, label, removed = rest.get("id"), rest.get("label"), rest.get("removed")
        yield Seen(
            image=image,
            id=told_apart(_hashes(image) if given is None else read_ids(given, len(image)), repeats),
            label=None if label is None else read_labels(label, len(image)),
            removed=None if removed is None else _cells(removed, len(image)),
        )


def first_image(batch: Seen) -> Seen:
    """The first image of a batch as a batch of one."""
    return Seen(
        image=batch.image[:1],
        id=batch.id[:1],
        label=None if batch.label is None else batch.label[:1],
        removed=None if batch.removed is None else batch.removed[:1],
    )


def one_image(model: nn.Module, size: int) -> Seen:
    """A black image as a batch of one, of the channels, type and device that the model is of: for its shapes alone."""
    first = next((each for each in model.parameters() if each.is_floating_point()), torch.zeros(()))
    shape = (1, getattr(model, "in_channels", 3), size, size)
    image = torch.zeros(shape, dtype=first.dtype, device=first.device)
    return Seen(image=image, id=torch.zeros(1, dtype=torch.long), label=None, removed=None)


def _hashes(image: Tensor) -> list[int]:
    """Of each image's bytes, 63 bits."""
    rows = image.detach().cpu().contiguous().reshape(len(image), -1).view(torch.uint8).numpy()
    return [int.from_bytes(hashlib.blake2b(row.tobytes(), digest_size=8).digest(), "little") >> 1 for row in rows]


def _cells(removed: Any, count: int) -> Tensor:
    cells = torch.as_tensor(removed)
    if cells.dtype != torch.bool or cells.ndim != 2 or len(cells) != count:
        raise ValueError(
            f"removed must be a mask (True = removed) of shape ({count}, cells), "
            f"got shape {tuple(cells.shape)} of {str(cells.dtype).removeprefix('torch.')}"
        )
    return cells
