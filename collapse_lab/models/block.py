"""The parts of a ConvNeXt: they work on (image, position, channel), a grid carries out what needs neighbours."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from collapse_lab import draws
from collapse_lab.models.grid import Grid
from collapse_lab.models.responses.table import RESPONSES
from collapse_lab.shapes import Features

Draw: TypeAlias = Callable[[Tensor, torch.Generator], Tensor]
"""Fills the tensor it is given from the generator, in place."""


class PatchConv(nn.Module):
    """A convolution whose stride is its kernel size: each square of positions becomes one position."""

    def __init__(self, in_channels: int, channels: int, side: int) -> None:
        super().__init__()
        self.side = side
        self.weight = nn.Parameter(torch.empty(channels, in_channels, side, side))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Features, grid: Grid) -> Features:
        return F.linear(grid.fold(x, self.side), self.weight.permute(0, 2, 3, 1).flatten(1), self.bias)


KERNEL = 7
"""The side of the depthwise convolution."""


class Depthwise(nn.Module):
    """The 7 x 7 depthwise convolution; its output holds the grid's positions, so in masked mode visible ones only."""

    def __init__(self, channels: int, kernel: int = KERNEL) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels, 1, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Features, grid: Grid) -> Features:
        return grid.depthwise(x, self.weight, self.bias)


def layer_norm(channels: int) -> nn.LayerNorm:
    """Over the channels of each position, biased variance, eps 1e-6 under the root as in the official code."""
    return nn.LayerNorm(channels, eps=1e-6)


class Block(nn.Module):
    """Depthwise 7 x 7, LayerNorm, expand x 4, GELU, response, project, LayerScale or none, residual."""

    layer_scale: nn.Parameter | None

    def __init__(self, channels: int, response: str, layer_scale: float | None) -> None:
        super().__init__()
        self.depthwise = Depthwise(channels)
        self.norm = layer_norm(channels)
        self.expand = nn.Linear(channels, 4 * channels)
        self.act = nn.GELU()
        self.response = RESPONSES[response](4 * channels)
        self.project = nn.Linear(4 * channels, channels)
        scale = None if layer_scale is None else nn.Parameter(torch.full((channels,), float(layer_scale)))
        self.register_parameter("layer_scale", scale)

    def forward(self, x: Features, grid: Grid, kept: Tensor | None = None) -> Features:
        """`kept` (N, 1, 1) is drop path's factor of the branch: 0, or 1 / (1 - rate)."""
        branch: Tensor = self.norm(self.depthwise(x, grid))
        branch = self.response(self.act(self.expand(branch)), grid)
        branch = self.project(branch)
        if self.layer_scale is not None:
            branch = branch * self.layer_scale
        if kept is not None:
            branch = branch * kept
        return x + branch


class Stem(nn.Module):
    """Pixels to the first features."""

    def __init__(self, in_channels: int, channels: int, side: int) -> None:
        super().__init__()
        self.conv = PatchConv(in_channels, channels, side)
        self.norm = layer_norm(channels)

    def forward(self, pixels: Features, grid: Grid) -> Features:
        normed: Features = self.norm(self.conv(pixels, grid))
        return normed


class Downsample(nn.Module):
    """Norm, then each 2 x 2 square of positions becomes one."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.norm = layer_norm(in_channels)
        self.conv = PatchConv(in_channels, channels, side=2)

    def forward(self, x: Features, grid: Grid) -> Features:
        folded: Features = self.conv(self.norm(x), grid)
        return folded


class Stage(nn.Module):
    """Blocks of one width, behind a downsampling where there is one."""

    def __init__(
        self, in_channels: int | None, channels: int, depth: int, response: str, layer_scale: float | None
    ) -> None:
        super().__init__()
        self.downsample = None if in_channels is None else Downsample(in_channels, channels)
        self.blocks = nn.ModuleList(Block(channels, response, layer_scale) for _ in range(depth))


def initialise(module: nn.Module, seed: int, *, prefix: str = "", std: float = 0.02) -> None:
    """Every weight of two or more axes from a normal cut at +-2, every bias zero; all other tensors stay.

    A tensor is a function of (seed, prefix + its name) and `std`, of nothing else: models share what they have in
    common. Another `std` is a monotone map of the same draws: their scale, up to the cut. Tensors on the meta device
    have no value to set.
    """
    inside = math.erf(2 / std / math.sqrt(2))  # the share of the normal within the cut

    def draw(value: Tensor, source: torch.Generator) -> Tensor:
        # By the inverse of the distribution, since PyTorch has changed its own method between versions.
        return value.uniform_(-inside, inside, generator=source).erfinv_().mul_(std * math.sqrt(2)).clamp_(-2, 2)

    _fill_all(module, seed, prefix, draw)


def initialise_xavier(module: nn.Module, seed: int, *, prefix: str = "") -> None:
    """As `initialise`, but weights uniform within sqrt(6 / (inputs + outputs)) (Glorot & Bengio 2010).

    The first axis is the outputs, all others together the inputs: a convolution is the linear map of its patch, and the
    three projections of an attention are one map. Biases are zero, and so are those of an attention.
    """

    def draw(value: Tensor, source: torch.Generator) -> Tensor:
        bound = math.sqrt(6 / (len(value) + value[0].numel()))
        return value.uniform_(-bound, bound, generator=source)

    _fill_all(module, seed, prefix, draw)


def _fill_all(module: nn.Module, seed: int, prefix: str, draw: Draw) -> None:
    for name, parameter in module.named_parameters():
        if parameter.ndim >= 2:
            fill(parameter, seed, prefix + name, draw)
        elif name.rpartition(".")[2] in ("bias", "in_proj_bias"):
            nn.init.zeros_(parameter)


def fill_token(token: Tensor, seed: int, name: str) -> None:
    """A token that is learnt, from a normal of std .02."""
    fill(token, seed, name, lambda value, source: value.normal_(std=0.02, generator=source))


def fill(parameter: Tensor, seed: int, name: str, draw: Draw) -> None:
    """Set a tensor from the generator of (seed, name); drawn in float64 on the CPU: equal on every device."""
    if parameter.is_meta:
        return
    with torch.no_grad(), torch.device("cpu"):
        parameter.copy_(draw(torch.empty(parameter.shape, dtype=torch.float64), draws.generator(seed, name)))
