"""What every response shares: the facts that a list shows, and that positions which only fill up are never read."""

from __future__ import annotations

from typing import ClassVar, Literal, TypeAlias

import torch
from torch import Tensor, nn

from collapse_lab.models.grid import Grid
from collapse_lab.shapes import Features

Reach: TypeAlias = Literal["nothing", "position", "image", "batch"]
"""How far statistics reach: over the channels of one position, one image, or all images of the batch."""


class Response(nn.Module):
    """Built as `Response(channels)`, called as `response(x, grid)` on Features: (N, P, C) to (N, P, C).

    Without a grid every position counts. What stands where a position only fills up the tensor (`grid.visible` False)
    is never read, not even a NaN, and its gradient is exactly 0; what comes out there means nothing. An image of which
    nothing is visible has statistics of 0 where its docstring says no other. `initialise` draws every weight of two or
    more axes. The first line of the docstring is the formula; these facts stand beside it in `collapse-lab list`.
    """

    over: ClassVar[Reach] = "nothing"
    identity: ClassVar[bool] = False
    """Whether it changes nothing at the start, bit for bit."""
    top1: ClassVar[float | None] = None
    """ImageNet-1K top-1 in %, where Woo et al. 2023 report one: ConvNeXt-B, FCMAE 800 epochs, fine-tuned 100."""

    def __init__(self, channels: int) -> None:
        super().__init__()


def counts(x: Features, grid: Grid | None) -> Tensor:
    """(N, 1, 1), how many positions of each image are data."""
    visible = None if grid is None else grid.visible
    if visible is None:
        return torch.full((len(x), 1, 1), x.shape[1], dtype=x.dtype, device=x.device)
    return visible.sum(dim=1)[:, None, None].to(x.dtype)


def average(x: Features, grid: Grid | None) -> Tensor:
    """(N, 1, C), the mean over the visible positions of each image, of `data_only` features; 0 where there is none."""
    return x.sum(dim=1, keepdim=True) / counts(x, grid).clamp(min=1)
