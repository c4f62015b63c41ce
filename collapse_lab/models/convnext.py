"""ConvNeXt V1 (Liu et al. 2022) and V2 (Woo et al. 2023): one network, response and LayerScale are settings.

Differs from the official code in form only: blocks work on (image, position, channel) and a grid carries out what
needs neighbours, so the dense network and the visible-only sparse encoder are one code path with the same weights.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, cast

from torch import Tensor, nn

from collapse_lab.draws import Randomness
from collapse_lab.models.block import KERNEL, Stage, Stem, initialise, layer_norm
from collapse_lab.models.encoder import Encoder
from collapse_lab.models.grid import AllPositions, Grid, VisibleCells
from collapse_lab.models.responses.table import RESPONSES
from collapse_lab.registry import Registry
from collapse_lab.shapes import Features


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


class ConvNeXt(Encoder):
    """See `build_model`. Sites are the stem, downsampling, blocks and all inside them."""

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
        own = {"depths": depths, "dims": dims, "stem": stem, "response": response, "layer_scale": layer_scale}
        super().__init__(
            own,
            stride=stem * 2 ** (len(dims) - 1),
            channels=dims[-1],
            in_channels=in_channels,
            classes=classes,
            drop_path=drop_path,
        )
        if layer_scale is not None and not math.isfinite(layer_scale):
            raise ValueError(f"layer_scale is a number, or None for none, got {layer_scale}")
        self.stem = Stem(in_channels, dims[0], stem)
        widths = (None, *dims[:-1])
        self.stages = nn.ModuleList(
            Stage(before, width, depth, response, layer_scale)
            for before, width, depth in zip(widths, dims, depths, strict=True)
        )
        self.norm = None if classes is None else layer_norm(self.channels)
        self.head = nn.Linear(self.channels, classes) if classes else None

    @property
    def depths(self) -> tuple[int, ...]:
        return tuple(self.architecture["depths"])

    @staticmethod
    def draw(module: nn.Module, seed: int, *, prefix: str = "") -> None:
        """As `initialise`."""
        initialise(module, seed, prefix=prefix)

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
        self._check_removed(images, removed, keep)
        return self._encode(*VisibleCells.of(images, removed, self.stride, keep), generator)

    def _encode(self, x: Features, grid: Grid, generator: Randomness) -> Tensor:
        kept = self._drop_path(x, generator)
        x, grid = self.stem(x, grid), grid.coarser(self.stem.conv.side)
        for stage in cast("Iterable[Stage]", self.stages):
            if stage.downsample is not None:
                x, grid = stage.downsample(x, grid), grid.coarser(stage.downsample.conv.side)
            grid = grid.made_ready(KERNEL)
            for block in stage.blocks:
                x = self._through(block, x, grid, next(kept))
        return grid.to_map(x)


def convnext(
    name: str,
    *,
    response: str,
    layer_scale: float | Literal["published"] | None,
    in_channels: int,
    classes: int | None,
    drop_path: float,
    widths: tuple[int, ...] | None,
) -> ConvNeXt:
    """The network of that name without its initial values; see `build_model`."""
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
    return ConvNeXt(
        depths=size.depths,
        dims=size.dims if widths is None else tuple(widths),
        stem=size.stem,
        response=response,
        layer_scale=layer_scale,
        in_channels=in_channels,
        classes=classes,
        drop_path=drop_path,
    )


def _require_widths(name: str, size: Size, widths: tuple[int, ...]) -> None:
    if size.published is not None:
        raise ValueError(f"{name} is published with the widths {size.dims}; take convnext_cifar to choose others")
    if len(widths) != len(size.dims) or min(widths) < 1:
        raise ValueError(f"{name} has {len(size.dims)} stages: widths is a number of channels for each, got {widths}")
