"""ConvNeXt V1 (Liu et al. 2022) and V2 (Woo et al. 2023): one network, response and LayerScale are settings.

Differs from the official code in form only: blocks work on (image, position, channel) and a grid carries out what
needs neighbours, so the dense network and the visible-only sparse encoder are one code path with the same weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from collapse_lab import draws
from collapse_lab.draws import Randomness
from collapse_lab.models.grid import AllPositions, Grid, VisibleCells
from collapse_lab.models.response import RESPONSES
from collapse_lab.registry import Registry
from collapse_lab.shapes import Features


@dataclass(frozen=True, kw_only=True)
class Size:
    """The numbers of one named network; response and layer_scale None-or-published only where a paper fixed them."""

    depths: tuple[int, ...]
    dims: tuple[int, ...]
    stem: int = 4
    published: tuple[str, float | None] | None = None


_V1: tuple[str, float | None] = ("none", 1e-6)
_V2: tuple[str, float | None] = ("grn", None)
_DEPTHS_AND_WIDTH = {
    "atto": ((2, 2, 6, 2), 40),
    "femto": ((2, 2, 6, 2), 48),
    "pico": ((2, 2, 6, 2), 64),
    "nano": ((2, 2, 8, 2), 80),
    "tiny": ((3, 3, 9, 3), 96),
    "small": ((3, 3, 27, 3), 96),
    "base": ((3, 3, 27, 3), 128),
    "large": ((3, 3, 27, 3), 192),
    "xlarge": ((3, 3, 27, 3), 256),
    "huge": ((3, 3, 27, 3), 352),
}


def _published() -> Iterator[tuple[str, Size]]:
    for family, settings, absent in (("convnext", _V1, {"huge"}), ("convnextv2", _V2, {"small", "xlarge"})):
        for name, (depths, width) in _DEPTHS_AND_WIDTH.items():
            if name not in absent:
                dims = tuple(width * 2**stage for stage in range(4))
                yield f"{family}_{name}", Size(depths=depths, dims=dims, published=settings)


SIZES: Registry[Size] = Registry("model", dict(_published()))
SIZES.add("convnext_digits", Size(depths=(1, 1, 3), dims=(16, 32, 64), stem=2))
SIZES.add("convnext_cifar", Size(depths=(1, 1, 3, 1), dims=(24, 48, 96, 192), stem=1))


class PatchConv(nn.Module):
    """A convolution whose stride is its kernel size: each square of positions becomes one position."""

    def __init__(self, in_channels: int, channels: int, side: int) -> None:
        super().__init__()
        self.side = side
        self.weight = nn.Parameter(torch.empty(channels, in_channels, side, side))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Features, grid: Grid) -> Features:
        return F.linear(grid.fold(x, self.side), self.weight.permute(0, 2, 3, 1).flatten(1), self.bias)


class Depthwise(nn.Module):
    """The 7 x 7 depthwise convolution; its output holds the grid's positions, so in masked mode visible ones only."""

    def __init__(self, channels: int, kernel: int = 7) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels, 1, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Features, grid: Grid) -> Features:
        return grid.depthwise(x, self.weight, self.bias)


def _norm(channels: int) -> nn.LayerNorm:
    return nn.LayerNorm(channels, eps=1e-6)


class Block(nn.Module):
    """Depthwise 7 x 7, LayerNorm, expand x 4, GELU, response, project, LayerScale or none, residual."""

    def __init__(self, channels: int, response: str, layer_scale: float | None) -> None:
        super().__init__()
        self.depthwise = Depthwise(channels)
        self.norm = _norm(channels)
        self.expand = nn.Linear(channels, 4 * channels)
        self.act = nn.GELU()
        self.response = RESPONSES[response](4 * channels)
        self.project = nn.Linear(4 * channels, channels)
        scale = None if layer_scale is None else nn.Parameter(torch.full((channels,), float(layer_scale)))
        self.register_parameter("layer_scale", scale)

    def forward(self, x: Features, grid: Grid, kept: Tensor | None = None) -> Features:
        """`kept` (N, 1, 1) is drop path's factor of the branch: 0, or 1 / (1 - rate)."""
        branch = self.norm(self.depthwise(x, grid))
        branch = self.response(self.act(self.expand(branch)), grid.visible)
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
        self.norm = _norm(channels)

    def forward(self, pixels: Features, grid: Grid) -> Features:
        normed: Features = self.norm(self.conv(pixels, grid))
        return normed


class Downsample(nn.Module):
    """Norm, then each 2 x 2 square of positions becomes one."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.norm = _norm(in_channels)
        self.conv = PatchConv(in_channels, channels, side=2)

    def forward(self, x: Features, grid: Grid) -> Features:
        folded: Features = self.conv(self.norm(x), grid)
        return folded


class Stage(nn.Module):
    """Blocks of one width, behind a downsampling where there is one."""

    def __init__(self, in_channels: int | None, channels: int, depth: int, response: str, layer_scale: float | None) -> None:
        super().__init__()
        self.downsample = None if in_channels is None else Downsample(in_channels, channels)
        self.blocks = nn.ModuleList(Block(channels, response, layer_scale) for _ in range(depth))


class ConvNeXt(nn.Module):
    """See `build_model`. `stride` is the side of a cell in pixels; `architecture` the settings that rebuild it."""

    def __init__(
        self,
        size: Size,
        *,
        response: str,
        layer_scale: float | None,
        in_channels: int = 3,
        classes: int | None = None,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        if not 0 <= drop_path < 1:
            raise ValueError(f"drop_path is a probability below 1, got {drop_path}")
        self.in_channels = in_channels
        self.stride = size.stem * 2 ** (len(size.dims) - 1)
        self.channels = size.dims[-1]
        self.drop_path = drop_path
        self.architecture = {
            **asdict(size),
            "response": response,
            "layer_scale": layer_scale,
            "in_channels": in_channels,
            "classes": classes,
        }
        self.stem = Stem(in_channels, size.dims[0], size.stem)
        widths = (None, *size.dims)
        self.stages = nn.ModuleList(
            Stage(before, width, depth, response, layer_scale)
            for before, width, depth in zip(widths, size.dims, size.depths, strict=False)
        )
        self.norm = None if classes is None else _norm(self.channels)
        self.head = None if classes is None else nn.Linear(self.channels, classes)

    def forward(self, images: Tensor, *, generator: Randomness = None) -> Tensor:
        """(N, classes) logits; without classes the features averaged over positions, (N, C)."""
        pooled = self.forward_features(images, generator=generator).mean(dim=(2, 3))
        if self.norm is None or self.head is None:
            return pooled
        logits: Tensor = self.head(self.norm(pooled))
        return logits

    def forward_features(self, images: Tensor, *, generator: Randomness = None) -> Tensor:
        """(N, C, H / stride, W / stride): the last map, before pooling and the final norm."""
        self._check(images)
        return self._encode(*AllPositions.of(images), generator)

    def forward_masked(
        self, images: Tensor, removed: Tensor, *, keep: int | None = None, generator: Randomness = None
    ) -> Tensor:
        """(N, C, h, w), zeros at removed cells, from the visible cells alone.

        `removed` (N, L) bool, True = removed, cells row by row on the h x w grid; images may differ in how many they
        keep, none is allowed. `keep` promises that all keep exactly so many and spares a device synchronisation.
        """
        self._check(images)
        cells = images.shape[2] * images.shape[3] // self.stride**2
        if removed.shape != (len(images), cells) or removed.dtype != torch.bool:
            raise ValueError(
                f"removed must be bool of shape ({len(images)}, {cells}), one entry a cell of {self.stride} x {self.stride} "
                f"pixels, got {removed.dtype} of shape {tuple(removed.shape)}"
            )
        return self._encode(*VisibleCells.of(images, removed, self.stride, keep), generator)

    def _encode(self, x: Features, grid: Grid, generator: Randomness) -> Tensor:
        kept = self._drop_path(x, generator)
        x, grid = self.stem(x, grid), grid.coarser(self.stem.conv.side)
        for stage in self.stages:
            assert isinstance(stage, Stage)
            if stage.downsample is not None:
                x, grid = stage.downsample(x, grid), grid.coarser(stage.downsample.conv.side)
            for block in stage.blocks:
                x = block(x, grid, next(kept))
        return grid.to_map(x)

    def _drop_path(self, x: Features, generator: Randomness) -> Iterator[Tensor | None]:
        """One factor a block, of rates rising linearly from 0 to `drop_path` (Huang et al. 2016)."""
        depth = sum(len(stage.blocks) for stage in self.stages if isinstance(stage, Stage))
        if not (self.training and self.drop_path):
            yield from [None] * depth
            return
        drawn = draws.uniform(generator, "drop path", len(x), depth, x.device)
        for block, rate in enumerate(torch.linspace(0, self.drop_path, depth).tolist()):
            yield ((drawn[:, block] >= rate) / (1 - rate)).to(x.dtype)[:, None, None]

    def _check(self, images: Tensor) -> None:
        if images.ndim != 4 or images.shape[1] != self.in_channels:
            raise ValueError(f"images must be (N, {self.in_channels}, H, W), got {tuple(images.shape)}")
        height, width = images.shape[2:]
        if min(height, width) < self.stride:
            raise ValueError(
                f"images of {height} x {width} pixels are smaller than one cell of {self.stride} x {self.stride}; enlarge them"
            )
        if height % self.stride or width % self.stride:
            fits = (round(height / self.stride) or 1) * self.stride, (round(width / self.stride) or 1) * self.stride
            raise ValueError(
                f"images of {height} x {width} pixels are not divided by cells of {self.stride} x {self.stride}; "
                f"the nearest size that is: {fits[0]} x {fits[1]}"
            )


def initialise(module: nn.Module, seed: int, std: float = 0.02) -> None:
    """Draw every weight of two or more axes from a normal cut at +-2, each from a generator of (seed, its name)."""
    for name, parameter in module.named_parameters():
        if parameter.ndim >= 2 and not parameter.is_meta:
            nn.init.trunc_normal_(parameter, std=std, generator=draws.generator(seed, name))


def build_model(
    name: str,
    *,
    response: str = "published",
    layer_scale: float | Literal["published"] | None = "published",
    in_channels: int = 3,
    classes: int | None = None,
    drop_path: float = 0.0,
    head_init_scale: float = 1.0,
    seed: int = 0,
) -> ConvNeXt:
    """A ConvNeXt by name, its initial values a function of (seed, parameter name).

    `convnext_{atto..xlarge}` are V1 (no response, LayerScale 1e-6), `convnextv2_{atto..huge}` V2 (GRN, no LayerScale);
    `convnext_digits` and `convnext_cifar` are ours and not published: say response and layer_scale. `layer_scale` is
    its initial value, None turns it off. `classes=None` builds no final norm and no head, what FCMAE trains.
    Raises LookupError for an unknown name or response, ValueError for settings that do not fit.
    """
    size = SIZES[name]
    if size.published is None and "published" in (response, layer_scale):
        raise ValueError(f"{name} is not a published model: say both response ({', '.join(RESPONSES)}) and layer_scale (a number, or None)")
    if size.published is not None:
        response = size.published[0] if response == "published" else response
        layer_scale = size.published[1] if layer_scale == "published" else layer_scale
    if isinstance(layer_scale, str):
        raise ValueError(f"layer_scale is a number, None or 'published', got {layer_scale!r}")
    model = ConvNeXt(
        size, response=response, layer_scale=layer_scale, in_channels=in_channels, classes=classes, drop_path=drop_path
    )
    initialise(model, seed)
    if model.head is not None:
        with torch.no_grad():
            model.head.weight.mul_(head_init_scale)
            model.head.bias.mul_(head_init_scale)
    return model
