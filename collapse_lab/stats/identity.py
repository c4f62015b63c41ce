"""Who an image is: a number of 64 bits, the same in every run, by which positions, groups and pairs are chosen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from numbers import Integral
from typing import Any

import torch
from torch import Tensor

from collapse_lab import draws

_WORDS = range(-(1 << 63), 1 << 63)


def read_ids(given: Any, count: int) -> list[int]:
    """The identities in a tensor, an array or a list of whole numbers or texts; a text becomes its hash.

    Raises ValueError unless there are `count` of them, TypeError for anything that is neither number nor text.
    """
    values = given.tolist() if hasattr(given, "tolist") else list(given)
    if not isinstance(values, list) or len(values) != count:
        came = len(values) if isinstance(values, list) else "a single number"
        raise ValueError(f"ids must hold one identity for each of {count} images, got {came}")
    return [_identity(value) for value in values]


def _identity(value: Any) -> int:
    if isinstance(value, str):
        return draws.key(value)
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"an identity is a whole number or a text, got {value!r}")
    return int(value) if int(value) in _WORDS else draws.key(str(value))


def told_apart(identities: Sequence[int], seen: Counter[int]) -> Tensor:
    """(N,) int64: an identity that was seen before gets a running suffix; `seen` counts on from batch to batch."""
    apart = []
    for value in identities:
        apart.append(value if not seen[value] else draws.key("repeat", value, seen[value]))
        seen[value] += 1
    return torch.tensor(apart, dtype=torch.int64)


def images_keys(ids: Tensor) -> Tensor:
    """(N,) int64, a hash of each identity, whose sum at 64 bits stands for a set of images in any order."""
    return draws.hashed(draws.key("images"), ids, 1)[:, 0]


def images_hash(keys: Tensor) -> str:
    """16 hexadecimal digits for the images of these keys."""
    return f"{int(keys.sum()) % (1 << 64):016x}"
