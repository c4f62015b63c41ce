"""Sums over rows as plain data, and how two sets of them become one.

Merging follows Chan, Golub & LeVeque 1983, extended here to the moments of third and fourth order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

Accumulation = Literal["float64", "float32"]
"""How the scatter of one block of rows is summed: blocks of float32 are summed in float64 all the same."""

EPS: dict[str, float] = {name: torch.finfo(getattr(torch, name)).eps for name in ("float64", "float32")}
"""Relative rounding of each accumulation: what the floor of the singular values rests on."""


class HasMoments(Protocol):
    """What is merged by the shift of its mean."""

    @property
    def n_rows(self) -> int: ...
    @property
    def mean(self) -> Tensor: ...
    @property
    def scatter(self) -> Tensor: ...
    @property
    def third(self) -> Tensor: ...
    @property
    def fourth(self) -> float: ...


@dataclass(frozen=True, kw_only=True)
class Moments:
    """Sums over rows of C channels, float64, all tensors on the rows' device; the fields as in `LayerStats`."""

    n_rows: Tensor
    mean: Tensor
    scatter: Tensor
    third: Tensor
    fourth: Tensor
    minimum: Tensor
    maximum: Tensor
    absolute: Tensor
    fired: Tensor
    n_units: Tensor
    unit_sum: Tensor
    unit_squares: Tensor


def merge_moments(a: HasMoments, b: HasMoments) -> dict[str, Any]:
    """Mean, scatter, third and fourth moment of both sets of rows together."""
    n = a.n_rows + b.n_rows
    step = b.mean - a.mean
    mean = a.mean + step * (b.n_rows / max(1, n))
    apart = step * (a.n_rows * b.n_rows / max(1, n)) ** 0.5
    scatter = a.scatter + b.scatter
    if scatter.ndim == 1:
        return {
            "mean": mean,
            "scatter": scatter.add_(apart.square()),
            "third": a.third + b.third,
            "fourth": a.fourth + b.fourth,
        }
    third, fourth = zip(*(_shifted(part, part.mean - mean) for part in (a, b)), strict=True)
    scatter.addr_(apart, apart)  # symmetric to the bit, as it is stored
    return {"mean": mean, "scatter": scatter, "third": third[0] + third[1], "fourth": fourth[0] + fourth[1]}


def _shifted(part: HasMoments, by: Tensor) -> tuple[Tensor, float]:
    """The sums of |y|^2 y and |y|^4 when every y is moved by the same vector."""
    n, along = part.n_rows, part.scatter @ by
    square, trace = by @ by, part.scatter.diagonal().sum()
    third = part.third + 2 * along + (trace + n * square) * by
    added = 4 * (by @ part.third) + 4 * (by @ along) + 2 * square * trace + n * square * square
    return third, part.fourth + added.item()
