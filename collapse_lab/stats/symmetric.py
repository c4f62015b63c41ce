"""A symmetric matrix that grows by products y' y, at little more than half of their cost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from collapse_lab.stats.moments import Accumulation

NARROW = 128
"""Columns up to which a product is taken whole; of more, in column blocks, above the diagonal alone."""

BLOCKS, FEWEST_COLUMNS = 8, 96


class SymmetricSum:
    """The sum of y' y (C, C) float64 over blocks of rows y; what lies below the diagonal is filled in when it is read.

    With accumulation "float32" each block's product is taken in float32 and added in float64.
    """

    def __init__(self, channels: int, device: torch.device, accumulation: Accumulation) -> None:
        self.upper = torch.zeros(channels, channels, dtype=torch.float64, device=device)
        self.single = accumulation == "float32"
        width = channels if channels <= NARROW else max(FEWEST_COLUMNS, -(-channels // BLOCKS))
        self.starts = range(0, channels, max(1, width))

    def add(self, y: Tensor) -> None:
        """Add the product of rows (m, C) float64."""
        rows = y.to(torch.float32) if self.single else y
        with _full_precision(rows):
            for block, rest in self._blocks():
                if self.single:
                    self.upper[block, rest].add_(rows[:, block].T @ rows[:, rest])
                else:
                    self.upper[block, rest].addmm_(rows[:, block].T, rows[:, rest])

    def times(self, vector: Tensor) -> Tensor:
        """The product of the matrix with a vector (C,)."""
        result = torch.zeros_like(vector)
        for block, rest in self._blocks():
            strip, width = self.upper[block, rest], block.stop - block.start
            result[block] += strip @ vector[rest]
            result[block.stop :] += vector[block] @ strip[:, width:]
        return result

    def trace(self) -> Tensor:
        return self.upper.diagonal().sum()

    def whole(self) -> Tensor:
        """The matrix, symmetric to the bit; later sums leave it as it is."""
        return torch.triu(self.upper) + torch.triu(self.upper, 1).T

    def _blocks(self) -> Iterator[tuple[slice, slice]]:
        """The rows of a strip of the upper triangle, and its columns."""
        channels = len(self.upper)
        for start in self.starts:
            yield slice(start, min(start + self.starts.step, channels)), slice(start, channels)


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
