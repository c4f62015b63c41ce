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

    With accumulation "float32" each block's product is taken in float32 and added in float64; a power of two brings
    its largest number near 1 before, or tiny ones would vanish and large ones overflow in the product.
    """

    def __init__(self, channels: int, device: torch.device, accumulation: Accumulation) -> None:
        width = channels if channels <= NARROW else max(FEWEST_COLUMNS, -(-channels // BLOCKS))
        self.channels, self.single = channels, accumulation == "float32"
        self.strips = [
            (start, torch.zeros(min(width, channels - start), channels - start, dtype=torch.float64, device=device))
            for start in range(0, channels, max(1, width))
        ]
        """Rows of the upper triangle that begin at `start`, from that column on."""

    def add(self, y: Tensor) -> None:
        """Add the product of rows (m, C) float64."""
        scale = _power_of_two(y) if self.single else None
        rows = y if scale is None else (y * scale).to(torch.float32)
        with _full_precision(rows):
            for start, strip in self.strips:
                own, rest = rows[:, start : start + len(strip)], rows[:, start:]
                if scale is None:
                    strip.addmm_(own.T, rest)
                else:
                    strip.add_((own.T @ rest).to(torch.float64).div_(scale).div_(scale))

    def times(self, vector: Tensor) -> Tensor:
        """The product of the matrix with a vector (C,)."""
        result = torch.zeros_like(vector)
        for start, strip in self.strips:
            stop = start + len(strip)
            result[start:stop] += strip @ vector[start:]
            result[stop:] += vector[start:stop] @ strip[:, len(strip) :]
        return result

    def trace(self) -> Tensor:
        return torch.stack([strip.diagonal().sum() for _, strip in self.strips]).sum()

    def whole(self) -> Tensor:
        """The matrix, symmetric to the bit; later sums leave it as it is."""
        matrix = self.strips[0][1].new_empty(self.channels, self.channels)
        for start, strip in self.strips:
            stop = start + len(strip)
            block = strip[:, : len(strip)]
            matrix[start:stop, start:stop] = torch.triu(block) + torch.triu(block, 1).T
            matrix[start:stop, stop:] = strip[:, len(strip) :]
            matrix[stop:, start:stop] = strip[:, len(strip) :].T
        return matrix


def _power_of_two(y: Tensor) -> Tensor:
    """A factor, exact in any precision, that brings the largest number of y into [0.5, 1); 1 where all are 0."""
    exponent = torch.frexp(y.abs().amax() if y.numel() else y.new_zeros(())).exponent
    return torch.ldexp(y.new_ones(()), -exponent)


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
