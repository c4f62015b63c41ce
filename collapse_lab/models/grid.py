"""Where the positions of a feature tensor lie. A block works on Features; only its grid knows height and width.

Two grids: all positions of a map, or the visible cells only. The mask is drawn on the last-stage grid, so at every
stage the visible set is whole cells, and everything but the depthwise convolution stays inside a cell. On visible
cells the convolution reads removed neighbours as zero and writes visible positions only, at every layer: that is
submanifold sparse convolution (Graham & van der Maaten 2017), exactly, on plain tensors.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from collapse_lab.models import kernels
from collapse_lab.models.depthwise import Windows, depthwise, depthwise_windows
from collapse_lab.shapes import Features


class Grid(Protocol):
    """What a block needs to know of its positions."""

    @property
    def visible(self) -> Tensor | None:
        """(N, P) bool, False where a position only fills up the tensor; None when all are data."""

    def fold(self, x: Features, side: int) -> Features:
        """Join each side x side square: (N, P, C) -> (N, P / side^2, side^2 C), order row, column, channel."""

    def coarser(self, side: int) -> Grid:
        """The grid after `fold(side)`."""

    def made_ready(self, kernel: int) -> Grid:
        """This grid, with what all its convolutions of this side share: compiled blocks then find it there."""

    def depthwise(self, x: Features, weight: Tensor, bias: Tensor) -> Features:
        """Convolve each channel with its own odd kernel (C, 1, k, k), zeros outside; positions stay."""

    def to_map(self, x: Features) -> Tensor:
        """(N, C, height, width), zeros where there is no visible position."""

    def of_map(self, values: Tensor) -> Features:
        """Of values (height * width, C) of a whole map, row by row, those at its positions: (N or 1, P, C)."""


def data_only(x: Features, grid: Grid | None) -> Features:
    """`x`, with zeros where a position only fills up the tensor."""
    visible = None if grid is None else grid.visible
    # Not a product with the mask: NaN times zero is NaN, in the values and in the gradient.
    return x if visible is None else x.masked_fill(~visible[:, :, None], 0)


def _fold(x: Tensor, height: int, width: int, side: int) -> Tensor:
    squares = x.reshape(-1, height // side, side, width // side, side, x.shape[-1])
    return squares.transpose(2, 3).flatten(3)  # (maps, height / side, width / side, side^2 C)


@dataclass(frozen=True)
class AllPositions:
    """Every position of a height x width map, row by row."""

    height: int
    width: int
    visible: None = None

    @staticmethod
    def of(images: Tensor) -> tuple[Features, AllPositions]:
        """The pixels of (N, C, H, W) images as features, with their grid."""
        return images.flatten(2).transpose(1, 2), AllPositions(*images.shape[2:])

    def fold(self, x: Features, side: int) -> Features:
        return _fold(x, self.height, self.width, side).flatten(1, 2)

    def coarser(self, side: int) -> AllPositions:
        return AllPositions(self.height // side, self.width // side)

    def to_map(self, x: Features) -> Tensor:
        return x.transpose(1, 2).reshape(len(x), x.shape[2], self.height, self.width)

    def of_map(self, values: Tensor) -> Features:
        return values[None]

    def made_ready(self, kernel: int) -> AllPositions:
        return self

    def depthwise(self, x: Features, weight: Tensor, bias: Tensor) -> Features:
        return depthwise(self.to_map(x), weight, bias).flatten(2).transpose(1, 2)


LEAST_SIDE = 8
"""Smaller cells are convolved in whole maps: their surroundings would outweigh them. Kernels gather nothing."""


def _images(cells: Tensor) -> Tensor:
    """(N, 1), the number of each row's image, to index beside `cells`."""
    return torch.arange(len(cells), device=cells.device)[:, None]


@dataclass(frozen=True)
class VisibleCells:
    """The visible cells of a rows x columns grid of cells, each side x side positions; cell by cell, then row by row.

    `cells` (N, K) holds the places of each image's visible cells, ascending; an image with fewer than K is filled up
    with the place rows * columns, which stands for no cell, and `filled` says so.
    """

    cells: Tensor
    rows: int
    columns: int
    side: int
    filled: bool
    _known: dict[int, Windows] = field(default_factory=dict, compare=False, repr=False)

    @staticmethod
    def of(images: Tensor, removed: Tensor, stride: int, keep: int | None = None) -> tuple[Features, VisibleCells]:
        """The pixels of the visible cells of (N, C, H, W) images; `removed` (N, L) bool, cells of stride^2 pixels.

        `keep` promises that every image has exactly so many visible cells: nothing is then read from the device,
        and shapes are static.
        """
        rows, columns = images.shape[2] // stride, images.shape[3] // stride
        counts = (~removed).sum(dim=1, keepdim=True)  # (N, 1)
        most = max(1, int(counts.max())) if keep is None else keep
        filled = keep is None and int(counts.min()) < most
        cells = removed.to(torch.uint8).argsort(dim=1, stable=True)[:, :most]  # (N, K), visible ones first, in order
        pixels = images.unflatten(3, (columns, stride)).unflatten(2, (rows, stride))
        chosen = pixels[_images(cells), :, cells // columns, :, cells % columns]  # (N, K, C, stride, stride)
        chosen = chosen.permute(0, 1, 3, 4, 2)
        if filled:
            # Filled up with zeros, not with the removed pixels: not even a NaN among them may be read.
            absent = torch.arange(most, device=cells.device) >= counts
            cells = cells.masked_fill(absent, rows * columns)
            chosen = chosen.masked_fill(absent[:, :, None, None, None], 0)
        return chosen.flatten(1, 3), VisibleCells(cells, rows, columns, stride, filled)

    @property
    def visible(self) -> Tensor | None:
        if not self.filled:
            return None
        return (self.cells < self.rows * self.columns).repeat_interleave(self.side**2, dim=1)

    def fold(self, x: Features, side: int) -> Features:
        return _fold(x, self.side, self.side, side).reshape(len(x), -1, side * side * x.shape[-1])

    def coarser(self, side: int) -> VisibleCells:
        return VisibleCells(self.cells, self.rows, self.columns, self.side // side, self.filled)

    def to_map(self, x: Features) -> Tensor:
        count = self.rows * self.columns
        inside = x.unflatten(1, (-1, self.side, self.side))  # (N, K, side, side, C)
        # One place more than there are cells: what only fills up lands there and is cut off.
        board = x.new_zeros(len(x), count + self.filled, self.side, self.side, x.shape[-1])
        board = board.index_put((_images(self.cells), self.cells), inside)[:, :count]
        spread: Tensor = board.unflatten(1, (self.rows, self.columns)).transpose(2, 3)
        # Channels stay innermost in memory: whole rows of cells are moved, and the convolution reads them as well.
        whole = spread.reshape(len(x), self.rows * self.side, self.columns * self.side, x.shape[-1])
        return whole.permute(0, 3, 1, 2)

    def of_map(self, values: Tensor) -> Features:
        """Zeros where a position only fills up."""
        inside = _fold(values, self.rows * self.side, self.columns * self.side, self.side)[0]
        board = F.pad(inside.flatten(0, 1), (0, 0, 0, 1))  # (cells + 1, side^2 C), the last for what only fills up
        return board[self.cells].reshape(len(self.cells), -1, values.shape[-1])

    def depthwise(self, x: Features, weight: Tensor, bias: Tensor) -> Features:
        # What only fills up gives nothing, and gets no gradient.
        return depthwise_windows(data_only(x, self), weight, bias, self._windows(weight.shape[-1] // 2))

    def made_ready(self, kernel: int) -> VisibleCells:
        self._windows(kernel // 2)
        return self

    def _windows(self, margin: int) -> Windows:
        """Built once for all blocks of a stage."""
        if margin not in self._known:
            pieces = self.side >= LEAST_SIDE or kernels.available(self.cells.device)
            self._known[margin] = self._of_cells(margin) if pieces else self._of_maps()
        return self._known[margin]

    def _rows(self) -> Tensor:
        """(N, rows * side, columns * side): which row of the features lies at each position, their number for none."""
        images, most = self.cells.shape
        numbers = torch.arange(images * most * self.side**2, device=self.cells.device)
        numbers = numbers.unflatten(0, (images, most, self.side, self.side))
        board = numbers.new_full((images, self.rows * self.columns + 1, self.side, self.side), numbers.numel())
        board[_images(self.cells), self.cells] = numbers
        spread = board[:, :-1].unflatten(1, (self.rows, self.columns)).transpose(2, 3)
        whole: Tensor = spread.reshape(images, self.rows * self.side, self.columns * self.side)
        return whole

    def _of_maps(self) -> Windows:
        places = self._rows()
        none = self.cells.numel() * self.side**2
        order = torch.arange(places.numel(), device=places.device)
        rows = order.new_zeros(none + 1).scatter(0, places.flatten(), order)[:-1]
        return Windows(places=places, rows=rows)

    def _of_cells(self, margin: int) -> Windows:
        none = self.cells.numel() * self.side**2
        rows = self._rows()
        if kernels.available(rows.device):
            rows = rows.int()  # half the memory that every block of the stage reads
        wide = F.pad(rows, [margin] * 4, value=none)
        around = wide.unfold(1, self.side + 2 * margin, self.side).unfold(2, self.side + 2 * margin, self.side)
        around = F.pad(around.flatten(1, 2), (0, 0, 0, 0, 0, 1), value=none)  # an empty one for what only fills up
        return Windows(places=around[_images(self.cells), self.cells].flatten(0, 1))
