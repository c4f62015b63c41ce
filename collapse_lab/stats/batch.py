"""One batch looked at image by image, and the rows that each policy takes of it: what an accumulator sums."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from collapse_lab.shapes import Features
from collapse_lab.stats.images import PerImage, per_image
from collapse_lab.stats.positions import Chosen, choose_positions
from collapse_lab.stats.scratch import Scratch

AT_ONCE = 1 << 19
"""Numbers that are looked at together in float64: 4 MB, which a processor's cache holds."""

AT_ONCE_ON_DEVICE = 1 << 25
"""On a GPU: fewer and larger operations, 256 MB."""

LARGEST = 1e70
"""A value beyond counts as not finite: the fourth moments of so many rows would leave the range of float64."""


@dataclass(frozen=True, kw_only=True)
class ReadBatch:
    """One batch before any sum: `bad_values` and `bad_rows` (N,) of each image, `inside`, and the rows by policy.

    `within` (N,) is the square deviation of an image's rows from their mean, by policy.
    """

    bad_values: Tensor
    bad_rows: Tensor
    inside: PerImage
    rows: Mapping[str, Chosen]
    within: Mapping[str, Tensor]


def at_once(tensor: Tensor) -> int:
    """How many numbers to look at together where this tensor lies."""
    return AT_ONCE_ON_DEVICE if tensor.is_cuda else AT_ONCE


def read_batch(
    features: Features, ids: Tensor, policies: Sequence[str], *, visible: Tensor | None, seed: int, scratch: Scratch
) -> ReadBatch:
    """Look at a batch a few images at a time: float64 copies of all of it are never held at once.

    `features` (N, P, C), `ids` (N,) and `visible` (N, P) on one device. Raises TypeError for integers, ValueError for
    features without a channel.
    """
    if not features.is_floating_point():
        raise TypeError(
            f"statistics are taken of floating-point features, got {features.dtype}; convert them, as by .float()"
        )
    if not features.shape[2]:
        raise ValueError(f"features of shape {tuple(features.shape)} have no channel")
    few = max(1, at_once(features) // max(1, features[0].numel())) if len(features) else 1
    eps = torch.finfo(features.dtype).eps
    parts, present, bad_values, bad_rows = [], [], [], []
    for start in range(0, max(1, len(features)), few):
        images = slice(start, start + few)
        x = scratch.doubled("x", features[images])
        length = torch.linalg.vector_norm(x, dim=2)
        x, length, seen, bad = _finite(x, length, None if visible is None else visible[images])
        parts.append(per_image(x, seen, eps, length, scratch))
        present.append(seen)
        bad_values.append(bad.sum(dim=(1, 2)))
        bad_rows.append(bad.any(dim=2).sum(dim=1))
    known = _joined(present, parts, features.shape[1])
    inside = PerImage.joined(parts)
    data = features if known is None else features.masked_fill(~known[:, :, None], 0.0)
    rows = {policy: choose_positions(data, known, ids, policy, seed, mean=inside.mean) for policy in policies}
    return ReadBatch(
        bad_values=torch.cat(bad_values),
        bad_rows=torch.cat(bad_rows),
        inside=inside,
        rows=rows,
        within={policy: _within(chosen, inside, features.shape[1]) for policy, chosen in rows.items()},
    )


def _finite(x: Tensor, length: Tensor, visible: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
    """x (N, P, C), zero where it is no data, and its lengths (N, P); where it is data (N, P), None for everywhere; its
    values that are not finite, (N, P, C or 1)."""
    usual = visible is None and not x.is_cuda and bool((length <= LARGEST).all())  # nothing to clear, nothing to count
    if usual:
        return x, length, None, torch.zeros_like(length, dtype=torch.bool)[:, :, None]
    bad = ~(x.abs() <= LARGEST)  # True for NaN
    clean = ~bad.any(dim=2)
    present = clean if visible is None else clean & visible
    counted = bad if visible is None else bad & visible[:, :, None]
    return x.masked_fill(~present[:, :, None], 0.0), length.masked_fill(~present, 0.0), present, counted


def _joined(present: Sequence[Tensor | None], parts: Sequence[PerImage], positions: int) -> Tensor | None:
    """(N, P); None where every position of every image is data."""
    if all(each is None for each in present):
        return None
    return torch.cat(
        [
            part.held.new_ones(len(part.held), positions, dtype=torch.bool) if each is None else each
            for each, part in zip(present, parts, strict=True)
        ]
    )


def _within(chosen: Chosen, inside: PerImage, positions: int) -> Tensor:
    if chosen.values.shape[1] == 1:
        return torch.zeros_like(inside.spread)
    if chosen.values.shape[1] == positions:
        return inside.spread
    x = chosen.values.to(torch.float64)
    if chosen.counted is None:
        return (x - x.mean(dim=1, keepdim=True)).square().sum(dim=(1, 2))
    counted = chosen.counted[:, :, None]
    mean = x.sum(dim=1, keepdim=True) / counted.sum(dim=1, keepdim=True).clamp(min=1)
    return ((x - mean) * counted).square().sum(dim=(1, 2))
