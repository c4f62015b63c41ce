"""Sums over rows that come in blocks, on whatever device they are; no line reads a number back, so no GPU waits.

A block's rows are taken about the mean of all rows up to and with it, and what was summed before is moved to that mean:
Chan, Golub & LeVeque 1983, extended here to the moments of third and fourth order.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from collapse_lab.stats.moments import Accumulation, Moments
from collapse_lab.stats.scratch import Scratch
from collapse_lab.stats.symmetric import SymmetricSum


class RunningMoments:
    """`add` blocks of rows of C channels, `read` the moments of all so far.

    Without `matrix` the scatter is its diagonal (C,), and the third and fourth moments, which cannot be moved without
    it, are NaN.
    """

    def __init__(
        self, channels: int, device: torch.device, *, matrix: bool, accumulation: Accumulation, scratch: Scratch
    ) -> None:
        def zeros(*shape: int) -> Tensor:
            return torch.zeros(shape, dtype=torch.float64, device=device)

        self.scratch = scratch
        self.scatter = SymmetricSum(channels, device, accumulation) if matrix else None
        self.diagonal = zeros(channels)
        self.n_rows, self.n_units, self.fourth = zeros(), zeros(), zeros()
        self.mean, self.third = zeros(channels), zeros(channels)
        self.absolute, self.fired, self.unit_sum, self.unit_squares = zeros(4, channels)
        self.minimum, self.maximum = zeros(channels) + math.inf, zeros(channels) - math.inf

    def add(self, x: Tensor, counted: Tensor | None = None) -> None:
        """Take in rows `x` (m, C) float64, zero where `counted` (m,) is False; None: every row counts."""
        if not len(x):
            return
        self._add_about_mean(x, counted)
        self._add_about_zero(x, counted)

    def _add_about_mean(self, x: Tensor, counted: Tensor | None) -> None:
        count = x.new_full((), len(x)) if counted is None else counted.sum().to(x.dtype)
        before, self.n_rows = self.n_rows, self.n_rows + count
        mean = self.mean + (x.sum(dim=0) / count.clamp(min=1) - self.mean) * (count / self.n_rows.clamp(min=1))
        moved, self.mean = self.mean - mean, mean
        # One row more than came stands for all earlier ones, in the scatter alone: n steps from their mean to the new.
        rows = self.scratch.take("rows", (len(x) + 1, x.shape[1]), x)
        y = torch.sub(x, mean, out=rows[:-1])
        if counted is not None:
            y.mul_(counted[:, None])
        torch.mul(moved, before.sqrt(), out=rows[-1])
        if self.scatter is None:
            self.diagonal += torch.square(rows, out=rows).sum(dim=0)
            return
        energy = torch.linalg.vector_norm(y, dim=1).square_()
        along, trace, square = self.scatter.times(moved), self.scatter.trace(), moved @ moved
        self.fourth += 4 * (moved @ self.third) + 4 * (moved @ along) + 2 * square * trace
        self.fourth += before * square * square + energy.square().sum()
        self.third += 2 * along + (trace + before * square) * moved + energy @ y
        self.scatter.add(rows)

    def _add_about_zero(self, x: Tensor, counted: Tensor | None) -> None:
        scratch = self.scratch.take("rows", x.shape, x)
        low, high = (
            (x, x) if counted is None else (x.masked_fill(~counted[:, None], end) for end in (math.inf, -math.inf))
        )
        self.minimum = torch.minimum(self.minimum, low.amin(dim=0))
        self.maximum = torch.maximum(self.maximum, high.amax(dim=0))
        self.absolute += torch.abs(x, out=scratch).sum(dim=0)
        self.fired += torch.gt(x, 0, out=scratch).sum(dim=0)
        length = torch.linalg.vector_norm(x, dim=1)
        unit = torch.mul(x, torch.where(length > 0, 1 / length, 0.0)[:, None], out=scratch)
        self.n_units += (length > 0).sum()
        self.unit_sum += unit.sum(dim=0)
        self.unit_squares += unit.square_().sum(dim=0)

    def read(self) -> Moments:
        """The moments so far; what is added afterwards leaves them as they are."""
        exact = self.scatter is not None
        return Moments(
            n_rows=self.n_rows.clone(),
            mean=self.mean.clone(),
            scatter=self.diagonal.clone() if self.scatter is None else self.scatter.whole(),
            third=self.third.clone() if exact else torch.full_like(self.third, math.nan),
            fourth=self.fourth.clone() if exact else torch.full_like(self.fourth, math.nan),
            minimum=self.minimum.clone(),
            maximum=self.maximum.clone(),
            absolute=self.absolute.clone(),
            fired=self.fired.clone(),
            n_units=self.n_units.clone(),
            unit_sum=self.unit_sum.clone(),
            unit_squares=self.unit_squares.clone(),
        )
