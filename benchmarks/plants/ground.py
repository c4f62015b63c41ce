"""What plants share: a size, healthy features to plant in, and the record of what was planted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

NOTE = " (note)"
"""Ends the name of a kind that is both a fault and, where slight, a note."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """Ranges from which channels and positions are drawn, both ends included."""

    name: str
    channels: tuple[int, int]
    positions: tuple[int, int]


SIZES = (
    Size(name="small", channels=(12, 24), positions=(1, 4)),
    Size(name="medium", channels=(40, 64), positions=(1, 9)),
    Size(name="large", channels=(96, 128), positions=(1, 16)),
)


@dataclass(frozen=True, kw_only=True)
class Planted:
    """`features` (N, P, C), `labels` (N,) or None; `must`: kinds that hold; `may`: those that hold by construction in
    some draws. Any other finding is a false alarm."""

    features: Tensor
    must: frozenset[str] = frozenset()
    may: frozenset[str] = frozenset()
    labels: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class Draw:
    """The random numbers of one plant and the shape that they gave: images N, positions P, channels C."""

    random: np.random.Generator
    images: int
    positions: int
    channels: int

    def between(self, low: float, high: float) -> float:
        return float(self.random.uniform(low, high))

    def log_between(self, low: float, high: float) -> float:
        return float(np.exp(self.random.uniform(np.log(low), np.log(high))))

    def whole(self, low: int, high: int) -> int:
        return int(self.random.integers(low, high, endpoint=True))

    def some_channels(self, low: float, high: float) -> Tensor:
        """Places of a share of the channels between `low` and `high`, in random order."""
        count = round(self.between(low, high) * self.channels)
        count = min(max(count, int(np.ceil(low * self.channels))), int(high * self.channels))
        return torch.from_numpy(self.random.permutation(self.channels)[:count])

    def normal(self, *shape: int) -> Tensor:
        return torch.from_numpy(self.random.standard_normal(shape))

    def rotation(self, size: int) -> Tensor:
        """(size, size), uniform among the orthogonal matrices up to signs."""
        turned: Tensor = torch.linalg.qr(self.normal(size, size)).Q
        return turned

    def layered(self, values: Callable[..., Tensor], width: int, alike: tuple[float, float] = (0.1, 0.7)) -> Tensor:
        """(N, P, width) independent `values` of unit variance; the image has a share in `alike` of it, each position
        the rest. The share is the cosine between positions, and leaves pooled features a tenth of the variance."""
        shared = self.between(*alike)
        image, own = values(self.images, 1, width), values(self.images, self.positions, width)
        return shared**0.5 * image + (1 - shared) ** 0.5 * own

    def scale(self) -> float:
        """A unit of activation, of no importance."""
        return self.log_between(1e-3, 1e3)


def draw_shape(random: np.random.Generator, size: Size, images: tuple[float, float] = (4, 8)) -> Draw:
    """A draw of this size with between `images[0]` and `images[1]` images a channel, never below 3."""
    channels = int(random.integers(*size.channels, endpoint=True))
    positions = int(random.integers(*size.positions, endpoint=True))
    count = max(3, round(float(random.uniform(*images)) * channels))
    return Draw(random=random, images=count, positions=positions, channels=channels)
