"""What a capture is fed: batches of images in any usual form, each image with an identity of its own."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from collapse_lab import draws


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
    not matter. A second image of the same identity gets a running suffix, and `repeats` counts it. Raises TypeError
    or ValueError for a batch of another form.
    """
    for batch in batches:
        if isinstance(batch, Mapping):
            if "image" not in batch:
                raise ValueError(f"a batch has the keys {sorted(map(str, batch))}; it needs 'image'")
            image, rest = batch["image"], batch
        elif isinstance(batch, list | tuple):
            image, rest = batch[0], {"label": batch[1] if len(batch) > 1 else None}
        else:
            image, rest = batch, {}
        if not isinstance(image, Tensor):
            raise TypeError(f"the images of a batch must be a tensor, got {type(image).__name__}")
        identity = _identities(image, rest.get("id"))
        label = rest.get("label")
        yield Seen(
            image=image,
            id=_apart(identity, repeats),
            label=None if label is None else torch.as_tensor(label).reshape(len(image)).long(),
            removed=rest.get("removed"),
        )


def _identities(image: Tensor, given: Any) -> list[int]:
    if given is None:
        rows = image.detach().cpu().contiguous().flatten(1).numpy()
        return [int.from_bytes(hashlib.blake2b(row.tobytes(), digest_size=8).digest(), "little") >> 1 for row in rows]
    values = given.tolist() if isinstance(given, Tensor) else list(given)
    if len(values) != len(image):
        raise ValueError(f"a batch of {len(image)} images has {len(values)} ids")
    return [value if isinstance(value, int) else draws.key(str(value)) for value in values]


def _apart(identity: list[int], repeats: Counter[int]) -> Tensor:
    apart = []
    for value in identity:
        apart.append(value if not repeats[value] else draws.key("repeat", value, repeats[value]))
        repeats[value] += 1
    return torch.tensor(apart, dtype=torch.int64)
