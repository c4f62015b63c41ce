"""Images as the pixels of their cells, which is what a masked autoencoder predicts."""

from __future__ import annotations

from torch import Tensor

from collapse_lab.models.grid import AllPositions


def patches(images: Tensor, side: int) -> Tensor:
    """(N, C, H, W) -> (N, L, side * side * C), cells row by row, pixels row, column, channel."""
    pixels, grid = AllPositions.of(images)
    return grid.fold(pixels, side)


def from_patches(cells: Tensor, side: int, height: int, width: int) -> Tensor:
    """(N, L, side * side * C) -> (N, C, height, width): `patches` undone."""
    whole = cells.reshape(len(cells), height // side, width // side, side, side, -1)
    return whole.permute(0, 5, 1, 3, 2, 4).reshape(len(cells), -1, height, width)


def hidden_pixels(removed: Tensor, side: int, height: int, width: int) -> Tensor:
    """(N, L) bool of cells -> (N, 1, height, width) bool of pixels."""
    return from_patches(removed[:, :, None].expand(-1, -1, side**2), side, height, width)


def cell_statistics(target: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation (N, L, 1) of each cell: unbiased variance over all its values, eps 1e-6 under the root."""
    mean = target.mean(dim=-1, keepdim=True)
    variance = (target - mean).square().sum(dim=-1, keepdim=True) / (target.shape[-1] - 1)
    return mean, (variance + 1e-6).sqrt()


def normalised(target: Tensor) -> Tensor:
    """Each cell less its mean, over its deviation, see `cell_statistics`."""
    mean, deviation = cell_statistics(target)
    return (target - mean) / deviation
