"""The depthwise convolution, of whole maps and of windows gathered from the positions that there are.

On CPU the gradient of the weights is itself a depthwise convolution: each image (or window) becomes channels of its
own, the gradient their kernels, and the result is summed over images. Channels stay innermost in memory, which the
kernels of oneDNN read best. With PyTorch 2.13 on two cores this took 1.4 ms where `conv2d` took 7.7 (8 x 40 maps of
56 x 56), and 0.3 where it took 1.3 (8 x 320 maps of 7 x 7). The numbers are the same.

Where `kernels.available`, windows are not gathered: its kernels read the rows where they lie.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.grad import conv2d_weight

from collapse_lab.models import kernels
from collapse_lab.shapes import Features

BY_CONVOLUTION = frozenset({"cpu"})
"""Devices where the gradient of the weights is taken as a convolution; elsewhere the library has its own."""


@dataclass(frozen=True, kw_only=True)
class Windows:
    """Where the rows of (N, P, C) features lie, in one of two ways; `places` integers, N * P where there is no row.

    Pieces, `rows` None: `places` (M, h + k - 1, w + k - 1) holds the N * P rows in their order, h * w to a piece, and
    half a kernel around each piece. Whole maps: `places` (N, H, W), and `rows` (N * P,) int64 is the place of each row.
    Where `kernels.available`, pieces are square and their places int32.
    """

    places: Tensor
    rows: Tensor | None = None


def depthwise(maps: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Convolve each channel of (N, C, H, W) maps with its own odd square kernel (C, 1, k, k), zeros outside."""
    if maps.device.type not in BY_CONVOLUTION:
        return F.conv2d(maps, weight, bias, padding=weight.shape[-1] // 2, groups=len(weight))
    return _convolve_maps(maps, weight, bias)


def depthwise_windows(x: Features, weight: Tensor, bias: Tensor, windows: Windows) -> Features:
    """The same on features (N, P, C) that lie in `windows`; what has no place reads nothing and is not read."""
    if windows.rows is None and kernels.available(x.device):
        return kernels.convolve(x, weight, bias, windows.places)
    return _convolve_windows(x, weight, bias, windows.places, windows.rows)


class _Maps(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, maps: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(maps, weight)
        return F.conv2d(maps, weight, bias, padding=weight.shape[-1] // 2, groups=len(weight))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        maps, weight = ctx.saved_tensors
        gradient = gradient.to(weight.dtype)  # autocast may have run the convolution in half precision
        by_maps, by_weight, by_bias = ctx.needs_input_grad
        margin = weight.shape[-1] // 2
        found_maps = found_weight = None
        if by_maps:
            found_maps = F.conv2d(gradient, weight.flip(2, 3), padding=margin, groups=len(weight)).to(maps.dtype)
        if by_weight:
            found_weight = _weight_gradient(maps.permute(2, 3, 0, 1).to(weight.dtype), gradient, margin)
        return found_maps, found_weight, gradient.sum(dim=(0, 2, 3)) if by_bias else None


class _Windows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Features, weight: Tensor, bias: Tensor, places: Tensor, rows: Tensor | None) -> Features:
        ctx.save_for_backward(x, weight, places, rows)
        return _convolved(_gather(x, places), weight, bias, rows).reshape(x.shape)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, places, rows = ctx.saved_tensors
        on_cpu = x.device.type in BY_CONVOLUTION
        # Autocast may have run the convolution in half precision; on CPU the sums of each window must not be rounded.
        work = weight.dtype if on_cpu else gradient.dtype
        gradient, kernels = gradient.to(work), weight.to(work)
        by_x, by_weight, by_bias, *_ = ctx.needs_input_grad
        windows = _gather(gradient, places)
        found_x = found_weight = None
        if by_x:  # who reads whom goes both ways
            found_x = _convolved(windows, kernels.flip(2, 3), None, rows).reshape(x.shape).to(x.dtype)
        if by_weight:
            padding = _padding(weight, rows)
            if rows is None:
                margin = weight.shape[-1] - 1
                windows = gradient.reshape(len(places), places.shape[1] - margin, places.shape[2] - margin, -1)
            inside = windows.permute(0, 3, 1, 2)  # (M, C, h, w)
            if on_cpu:  # gathered in another order: an index costs less than a transposition
                found_weight = _weight_gradient(_gather(x.to(work), places.permute(1, 2, 0)), inside, padding)
            else:
                maps, shape = _gather(x.to(work), places).permute(0, 3, 1, 2), weight.shape
                found_weight = conv2d_weight(maps, shape, inside, padding=padding, groups=len(weight)).to(weight.dtype)
        found_bias = gradient.sum(dim=(0, 1)).to(weight.dtype) if by_bias else None
        return found_x, found_weight, found_bias, None, None


_convolve_maps: Callable[[Tensor, Tensor, Tensor], Tensor] = _Maps.apply
_convolve_windows: Callable[[Features, Tensor, Tensor, Tensor, Tensor | None], Features] = _Windows.apply


def _gather(x: Features, places: Tensor) -> Tensor:
    """The rows of (N, P, C) features at `places` (a, b, c): (a, b, c, C), zeros where there is no row."""
    rows = F.pad(x.flatten(0, 1), (0, 0, 0, 1))
    found: Tensor = rows.index_select(0, places.flatten()).unflatten(0, places.shape)
    return found


def _padding(weight: Tensor, rows: Tensor | None) -> int:
    """Of whole maps; pieces bring their surroundings."""
    return 0 if rows is None else weight.shape[-1] // 2


def _convolved(windows: Tensor, weight: Tensor, bias: Tensor | None, rows: Tensor | None) -> Tensor:
    """Windows as gathered to the rows that lie in them, (N * P, C)."""
    maps = windows.permute(0, 3, 1, 2)  # channels innermost in memory
    found = F.conv2d(maps, weight, bias, padding=_padding(weight, rows), groups=len(weight))
    found = found.permute(0, 2, 3, 1).flatten(0, 2)  # (M h w, C)
    return found if rows is None else found.index_select(0, rows)


def _weight_gradient(windows: Tensor, gradient: Tensor, padding: int) -> Tensor:
    """(C, 1, k, k) from windows (h + k - 1 - 2 padding, w + k - 1 - 2 padding, M, C) and the gradient (M, C, h, w).

    Entry (i, j) sums padded windows[y + i, x + j] * gradient[y, x] over M, y and x.
    """
    count, channels, height, width = gradient.shape
    stacked = windows.flatten(2)[None].permute(0, 3, 1, 2)  # (1, M C, ..., ...), channels innermost in memory
    kernels = gradient.reshape(count * channels, 1, height, width)
    each = F.conv2d(stacked, kernels, padding=padding, groups=count * channels)  # (1, M C, k, k)
    size = each.shape[2:]
    found: Tensor = each.permute(0, 2, 3, 1).reshape(-1, count, channels).sum(dim=1)  # (k k, C)
    return found.t().reshape(channels, 1, *size)
