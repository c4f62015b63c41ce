"""ConvNeXt V1 (Liu et al. 2022) and V2 (Woo et al. 2023): one network, response and LayerScale are settings.

Differs from the official code in form only: blocks work on (image, position, channel) and a grid carries out what
needs neighbours, so the dense network and the visible-only sparse encoder are one code path with the same weights.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from collapse_lab import draws
from collapse_lab.draws import Randomness
from collapse_lab.models.block import Stage, Stem, initialise, layer_norm
from collapse_lab.models.grid import AllPositions, Grid, VisibleCells
from collapse_lab.models.responses.table import RESPONSES
from collapse_lab.registry import Registry
from collapse_lab.shapes import CANONICAL, Features


@dataclass(frozen=True, kw_only=True)
class Size:
    """The numbers of one named network; `published`: the (response, layer_scale) of its paper, where there is one."""

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
SIZES.add("convnext_cifar", Size(depths=(2, 2, 6, 2), dims=(40, 80, 160, 320), stem=1))


class ConvNeXt(nn.Module):
    """See `build_model`. `stride` is the side of a cell in pixels; `ConvNeXt(**model.architecture)` has the same shape.

    Weights are left uninitialised here: they are drawn by `build_model`, or loaded.
    """

    layout: ClassVar[str] = CANONICAL
    """Of every site: stem, downsampling, blocks and all inside them."""

    def __init__(
        self,
        *,
        depths: tuple[int, ...],
        dims: tuple[int, ...],
        stem: int,
        response: str,
        layer_scale: float | None,
        in_channels: int = 3,
        classes: int | None = None,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        if not 0 <= drop_path < 1:
            raise ValueError(f"drop_path is a probability below 1, got {drop_path}")
        if in_channels < 1:
            raise ValueError(f"in_channels is 1 or more, got {in_channels}")
        if layer_scale is not None and not math.isfinite(layer_scale):
            raise ValueError(f"layer_scale is a number, or None for none, got {layer_scale}")
        if classes is not None and classes < 0:
            raise ValueError(f"classes is a number of classes, 0 = the final norm alone, or None, got {classes}")
        self.architecture: dict[str, Any] = {
            "depths": depths,
            "dims": dims,
            "stem": stem,
            "response": response,
            "layer_scale": layer_scale,
            "in_channels": in_channels,
            "classes": classes,
            "drop_path": drop_path,
        }
        self.in_channels = in_channels
        self.stride = stem * 2 ** (len(dims) - 1)
        self.channels = dims[-1]
        self.drop_path = drop_path
        self.recompute = False
        """Whether training keeps only what stands between blocks, and computes the inside again for the gradient."""
        self.stem = Stem(in_channels, dims[0], stem)
        widths = (None, *dims[:-1])
        self.stages = nn.ModuleList(
            Stage(before, width, depth, response, layer_scale)
            for before, width, depth in zip(widths, dims, depths, strict=True)
        )
        self.norm = None if classes is None else layer_norm(self.channels)
        self.head = nn.Linear(self.channels, classes) if classes else None

    def forward(self, images: Tensor, *, generator: Randomness = None) -> Tensor:
        """(N, classes) logits; without a head the features averaged over positions, (N, C), normed with classes=0."""
        pooled = self.forward_features(images, generator=generator).mean(dim=(2, 3))
        if self.norm is not None:
            pooled = self.norm(pooled)
        if self.head is not None:
            pooled = self.head(pooled)
        return pooled

    def forward_features(self, images: Tensor, *, generator: Randomness = None) -> Tensor:
        """(N, C, H / stride, W / stride): the last map, before pooling and the final norm."""
        self.check(images)
        return self._encode(*AllPositions.of(images), generator)

    def forward_masked(
        self, images: Tensor, removed: Tensor, *, keep: int | None = None, generator: Randomness = None
    ) -> Tensor:
        """(N, C, h, w), zeros at removed cells, from the visible cells alone.

        `removed` (N, L) bool, True = removed, cells row by row on the h x w grid; images may differ in how many they
        keep, none is allowed. `keep` promises that all keep exactly so many (unchecked), which spares a synchronisation
        with the device and makes shapes static.
        """
        self.check(images)
        cells = images.shape[2] * images.shape[3] // self.stride**2
        if removed.shape != (len(images), cells) or removed.dtype != torch.bool:
            raise ValueError(
                f"removed must be bool of shape ({len(images)}, {cells}), one entry a cell of {self.stride} x "
                f"{self.stride} pixels, got {removed.dtype} of shape {tuple(removed.shape)}"
            )
        if keep is not None and not 0 < keep <= cells:
            raise ValueError(f"keep is the number of visible cells of every image, 1 to {cells}, got {keep}")
        return self._encode(*VisibleCells.of(images, removed, self.stride, keep), generator)

    def _encode(self, x: Features, grid: Grid, generator: Randomness) -> Tensor:
        kept = self._drop_path(x, generator)
        x, grid = self.stem(x, grid), grid.coarser(self.stem.conv.side)
        for stage in cast("Iterable[Stage]", self.stages):
            if stage.downsample is not None:
                x, grid = stage.downsample(x, grid), grid.coarser(stage.downsample.conv.side)
            for block in stage.blocks:
                x = self._through(block, x, grid, next(kept))
        return grid.to_map(x)

    def _through(self, block: nn.Module, x: Features, grid: Grid, kept: Tensor | None) -> Features:
        if not (self.recompute and self.training and torch.is_grad_enabled()):
            seen: Features = block(x, grid, kept)
            return seen
        # Drop path comes in as a tensor: there is no random state to keep.
        again: Features = checkpoint(block, x, grid, kept, use_reentrant=False, preserve_rng_state=False)
        return again

    def _drop_path(self, x: Features, generator: Randomness) -> Iterator[Tensor | None]:
        """One factor a block, of rates rising linearly from 0 to `drop_path` (Huang et al. 2016)."""
        depth = sum(self.architecture["depths"])
        if not (self.training and self.drop_path):
            yield from [None] * depth
            return
        drawn = draws.uniform(generator, "drop path", len(x), depth, x.device)
        for block in range(depth):
            rate = self.drop_path * block / max(1, depth - 1)
            yield (drawn[:, block] >= rate).to(x.dtype)[:, None, None] / (1 - rate)

    def check(self, images: Tensor) -> None:
        """Raise ValueError for images this network cannot take, naming the nearest size it can."""
        if images.ndim != 4 or images.shape[1] != self.in_channels:
            raise ValueError(f"images must be (N, {self.in_channels}, H, W), got {tuple(images.shape)}")
        height, width = images.shape[2:]
        if height and width and height % self.stride == 0 and width % self.stride == 0:
            return
        down, right = (max(1, (side + self.stride // 2) // self.stride) * self.stride for side in (height, width))
        fault = "smaller than one cell" if min(height, width) < self.stride else "not divided by cells"
        raise ValueError(
            f"images of {height} x {width} pixels are {fault} of {self.stride} x {self.stride}; "
            f"the nearest size that fits is {down} x {right}"
        )


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
    widths: tuple[int, ...] | None = None,
) -> ConvNeXt:
    """A ConvNeXt by name, its initial values a function of (seed, parameter name).

    `convnext_{atto..xlarge}` are V1 (no response, LayerScale 1e-6), `convnextv2_{atto..huge}` V2 (GRN, no LayerScale);
    `convnext_digits` (three stages, stem of stride 2) and `convnext_cifar` (Atto's four stages, stem of stride 1) have
    cells of 8 x 8 pixels, so 4 x 4 of them at 32 px; they are ours and not published: say response and layer_scale,
    and, for others than their own, the channels of each stage (`widths`). `layer_scale` is its initial value, None
    turns it off. `classes=None` builds no final norm and no head, what FCMAE trains; `classes=0` the final norm alone,
    what others call a model without its classifier. The head's initial values are multiplied by `head_init_scale`.
    Raises LookupError for an unknown name or response, ValueError for settings that do not fit.
    """
    size = SIZES[name]
    if widths is not None:
        _require_widths(name, size, widths)
    if size.published is None and "published" in (response, layer_scale):
        raise ValueError(
            f"{name} is not a published model: say both response ({', '.join(RESPONSES)}) "
            f"and layer_scale (a number, or None)"
        )
    if size.published is not None:
        response = size.published[0] if response == "published" else response
        layer_scale = size.published[1] if layer_scale == "published" else layer_scale
    if isinstance(layer_scale, str):
        raise ValueError(f"layer_scale is a number, None or 'published', got {layer_scale!r}")
    model = ConvNeXt(
        depths=size.depths,
        dims=size.dims if widths is None else tuple(widths),
        stem=size.stem,
        response=response,
        layer_scale=layer_scale,
        in_channels=in_channels,
        classes=classes,
        drop_path=drop_path,
    )
    initialise(model, seed)
    if model.head is not None:
        with torch.no_grad():
            model.head.weight.mul_(head_init_scale)
            model.head.bias.mul_(head_init_scale)
    return model


def _require_widths(name: str, size: Size, widths: tuple[int, ...]) -> None:
    if size.published is not None:
        raise ValueError(f"{name} is published with the widths {size.dims}; take convnext_cifar to choose others")
    if len(widths) != len(size.dims) or min(widths) < 1:
        raise ValueError(f"{name} has {len(size.dims)} stages: widths is a number of channels for each, got {widths}")
