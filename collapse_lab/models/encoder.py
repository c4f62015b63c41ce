"""What every network that is trained here offers, whatever it is made of."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from collapse_lab import draws
from collapse_lab.draws import Randomness
from collapse_lab.shapes import CANONICAL, Features


class Encoder(nn.Module, ABC):
    """From images to a map of features, of whole images or of visible cells alone; see `build_model`.

    `stride` is the side of a cell in pixels, `channels` the width of the last map; `type(model)(**model.architecture)`
    has the same shape. Weights are left uninitialised here: they are drawn by `build_model`, or loaded.
    """

    layout: ClassVar[str] = CANONICAL
    """Of every site."""

    norm: nn.LayerNorm | None
    head: nn.Linear | None

    def __init__(
        self,
        own: dict[str, Any],
        *,
        stride: int,
        channels: int,
        in_channels: int,
        classes: int | None,
        drop_path: float,
    ) -> None:
        """`own` are the settings of the family. Raises ValueError for settings that no family takes."""
        super().__init__()
        if not 0 <= drop_path < 1:
            raise ValueError(f"drop_path is a probability below 1, got {drop_path}")
        if in_channels < 1:
            raise ValueError(f"in_channels is 1 or more, got {in_channels}")
        if classes is not None and classes < 0:
            raise ValueError(f"classes is a number of classes, 0 = the final norm alone, or None, got {classes}")
        self.architecture: dict[str, Any] = {
            **own,
            "in_channels": in_channels,
            "classes": classes,
            "drop_path": drop_path,
        }
        self.stride = stride
        self.channels = channels
        self.in_channels = in_channels
        self.drop_path = drop_path
        self.recompute = False
        """Whether training keeps only what stands between blocks, and computes the inside again for the gradient.

        Blocks with running statistics (a response `bn`) are kept whole.
        """

    @property
    @abstractmethod
    def depths(self) -> tuple[int, ...]:
        """How many blocks each stage has."""

    @staticmethod
    @abstractmethod
    def draw(module: nn.Module, seed: int, *, prefix: str = "") -> None:
        """Give such a network, or the part of one whose names begin with `prefix`, its initial values.

        Each is a function of (seed, prefix + its name).
        """

    @abstractmethod
    def forward(self, images: Tensor, *, generator: Randomness = None) -> Tensor:
        """(N, classes) logits, or (N, C) features averaged over positions where there is no head."""

    @abstractmethod
    def forward_features(self, images: Tensor, *, generator: Randomness = None) -> Tensor:
        """(N, C, H / stride, W / stride): the last map."""

    @abstractmethod
    def forward_masked(
        self, images: Tensor, removed: Tensor, *, keep: int | None = None, generator: Randomness = None
    ) -> Tensor:
        """(N, C, h, w), zeros at removed cells, from the visible cells alone.

        `removed` (N, L) bool, True = removed, cells row by row on the h x w grid; images may differ in how many they
        keep, none is allowed. `keep` promises that all keep exactly so many (unchecked), which spares a synchronisation
        with the device and makes shapes static.
        """

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

    def _check_removed(self, images: Tensor, removed: Tensor, keep: int | None) -> None:
        """`check`, and ValueError for what is no mask of these images."""
        self.check(images)
        cells = images.shape[2] * images.shape[3] // self.stride**2
        if removed.shape != (len(images), cells) or removed.dtype != torch.bool:
            raise ValueError(
                f"removed must be bool of shape ({len(images)}, {cells}), one entry a cell of {self.stride} x "
                f"{self.stride} pixels, got {removed.dtype} of shape {tuple(removed.shape)}"
            )
        if keep is not None and not 0 < keep <= cells:
            raise ValueError(f"keep is the number of visible cells of every image, 1 to {cells}, got {keep}")

    def _through(self, block: nn.Module, x: Features, *rest: Any) -> Features:
        again_later = self.recompute and self.training and torch.is_grad_enabled()
        # A block with running statistics would move them a second time.
        if not again_later or next(block.buffers(), None) is not None:
            seen: Features = block(x, *rest)
            return seen
        # Drop path comes in as a tensor: there is no random state to keep.
        again: Features = checkpoint(block, x, *rest, use_reentrant=False, preserve_rng_state=False)
        return again

    def _drop_path(self, x: Features, generator: Randomness, branches: int = 1) -> Iterator[Tensor | None]:
        """One factor a branch of each block, of rates rising linearly from 0 to `drop_path` (Huang et al. 2016)."""
        depth = sum(self.depths)
        if not (self.training and self.drop_path):
            yield from [None] * (depth * branches)
            return
        drawn = draws.uniform(generator, "drop path", len(x), depth * branches, x.device)
        for branch in range(depth * branches):
            rate = self.drop_path * (branch // branches) / max(1, depth - 1)
            yield (drawn[:, branch] >= rate).to(x.dtype)[:, None, None] / (1 - rate)
