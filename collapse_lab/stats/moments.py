"""Sums over rows: a block of rows becomes moments, two sets of moments become one, on whatever device they are.

Merging follows Chan, Golub & LeVeque 1983, extended here to the moments of third and fourth order. Nothing in this file
reads a number back from the device: on a GPU no line of it waits.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

Accumulation = Literal["float64", "float32"]
"""How the scatter of one block of rows is summed: blocks of float32 are summed in float64 all the same."""

EPS: dict[str, float] = {name: torch.finfo(getattr(torch, name)).eps for name in ("float64", "float32")}
"""Relative rounding of each accumulation: what the floor of the singular values rests on."""

NARROW = 128
"""Columns up to which a symmetric product is taken whole; wider ones in column blocks, above the diagonal alone."""


class HasMoments(Protocol):
    """What is merged by the shift of its mean; `n_rows` is a number, or a tensor on the rows' device."""

    @property
    def n_rows(self) -> Any: ...
    @property
    def mean(self) -> Tensor: ...
    @property
    def scatter(self) -> Tensor: ...
    @property
    def third(self) -> Tensor: ...
    @property
    def fourth(self) -> Any: ...


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

    def merge(self, other: Moments) -> Moments:
        merged: dict[str, Any] = merge_moments(self, other)
        for name in (each.name for each in fields(self) if each.name not in merged):
            join = {"minimum": torch.minimum, "maximum": torch.maximum}.get(name, torch.add)
            merged[name] = join(getattr(self, name), getattr(other, name))
        return Moments(**merged)


def moments_of(
    x: Tensor, counted: Tensor | None = None, *, matrix: bool = True, accumulation: Accumulation = "float64"
) -> Moments:
    """Of a block of rows `x` (m, C) float64, zero where `counted` (m,) is False; None: every row counts.

    Without `matrix` the scatter is its diagonal (C,) and the third and fourth moments, which cannot be merged without
    it, are NaN.
    """
    n = x.new_full((), len(x)) if counted is None else counted.sum().to(x.dtype)
    mean = x.sum(dim=0) / n.clamp(min=1)
    y = x - mean if counted is None else (x - mean).mul_(counted[:, None])
    scratch = y.square()
    energy, diagonal = scratch.sum(dim=1), None if matrix else scratch.sum(dim=0)
    low, high = (x, x) if counted is None else (x.masked_fill(~counted[:, None], end) for end in (math.inf, -math.inf))
    none = x.new_full((x.shape[1],), math.inf)
    absolute = torch.abs(x, out=scratch).sum(dim=0)
    length = torch.linalg.vector_norm(x, dim=1)
    unit = torch.mul(x, torch.where(length > 0, 1 / length, 0.0)[:, None], out=scratch)
    return Moments(
        n_rows=n,
        mean=mean,
        scatter=_symmetric_product(y, accumulation) if diagonal is None else diagonal,
        third=energy @ y if matrix else torch.full_like(mean, math.nan),
        fourth=energy.square().sum() if matrix else mean.new_full((), math.nan),
        minimum=low.amin(dim=0) if len(x) else none,
        maximum=high.amax(dim=0) if len(x) else -none,
        absolute=absolute,
        fired=(x > 0).sum(dim=0).to(x.dtype),
        n_units=(length > 0).sum().to(x.dtype),
        unit_sum=unit.sum(dim=0),
        unit_squares=unit.square_().sum(dim=0),
    )


def merge_moments(a: HasMoments, b: HasMoments) -> dict[str, Tensor]:
    """Mean, scatter, third and fourth moment of both sets of rows together."""
    n = a.n_rows + b.n_rows
    n_or_1 = n.clamp(min=1) if isinstance(n, Tensor) else max(1, n)
    step = b.mean - a.mean
    mean = a.mean + step * (b.n_rows / n_or_1)
    apart = step * (a.n_rows * b.n_rows / n_or_1) ** 0.5
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


def _shifted(part: HasMoments, by: Tensor) -> tuple[Tensor, Tensor]:
    """The sums of |y|^2 y and |y|^4 when every y is moved by the same vector."""
    n, along = part.n_rows, part.scatter @ by
    square, trace = by @ by, part.scatter.diagonal().sum()
    third = part.third + 2 * along + (trace + n * square) * by
    added = 4 * (by @ part.third) + 4 * (by @ along) + 2 * square * trace + n * square * square
    return third, part.fourth + added


def _symmetric_product(y: Tensor, accumulation: Accumulation) -> Tensor:
    """y' y, symmetric to the bit: what lies above the diagonal is computed, what lies below is copied."""
    channels = y.shape[1]
    rows = y.to(torch.float32) if accumulation == "float32" else y
    with _full_precision(rows):
        if channels <= NARROW:
            product = (rows.T @ rows).to(torch.float64)
        else:
            product = y.new_zeros(channels, channels)
            width = max(NARROW, -(-channels // 8))
            for start in range(0, channels, width):
                block = slice(start, start + width)
                product[block, start:] = rows[:, block].T @ rows[:, start:]
    return torch.triu(product) + torch.triu(product, 1).T


@contextmanager
def _full_precision(rows: Tensor) -> Iterator[None]:
    """float32 products of a GPU may be set to round to 10 bits (TF32): not these."""
    if not rows.is_cuda or rows.dtype != torch.float32:
        yield
        return
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
