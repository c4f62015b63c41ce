"""Features whose answer is known by construction, and random ones of every shape."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from collapse_lab.stats.accumulate import stats_of
from collapse_lab.stats.layer import LayerStats


def source(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=source(seed), dtype=torch.float64)


def rotation(channels: int, seed: int = 0) -> Tensor:
    """A random orthogonal matrix."""
    q: Tensor = torch.linalg.qr(normal(channels, channels, seed=seed)).Q
    return q


def with_spectrum(values: list[float] | Tensor, channels: int, rows: int = 200, seed: int = 0) -> Tensor:
    """Rows whose centred singular values are exactly these, in random directions."""
    values = torch.as_tensor(values, dtype=torch.float64)
    centred = normal(rows, len(values), seed=seed)
    left = torch.linalg.qr(centred - centred.mean(dim=0)).Q
    return left * values @ rotation(channels, seed + 1)[: len(values)]


def isotropic_rows(rank: int, channels: int, rows: int = 200, seed: int = 0) -> Tensor:
    """Rows that vary equally in `rank` directions and not at all in the others."""
    return with_spectrum([rows**0.5] * rank, channels, rows, seed)


def of_rows(rows: Tensor, **settings: object) -> LayerStats:
    return stats_of(rows, layout="image channel", **settings)


def features(seed: int, *, images: int = 12, positions: int = 4, channels: int = 5, scale: float = 1.0) -> Tensor:
    """(N, P, C) correlated channels of unequal size, images that differ, an offset, some exact zeros."""
    random = np.random.default_rng(seed)
    mixed = random.normal(size=(images, positions, channels)) @ random.normal(size=(channels, channels))
    x = mixed + random.normal(size=(images, 1, channels)) + random.normal(size=channels)
    return torch.from_numpy(np.where(random.random(x.shape) < 0.1, 0.0, x) * scale)
