"""Worked examples: what a metric reads of healthy features, and of the same ones with a collapse planted in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from collapse_lab.findings import registered as registered  # every metric, to be explained
from collapse_lab.metrics._metric import METRICS, Kind, Measurement, measure
from collapse_lab.stats.accumulate import summarise
from collapse_lab.stats.layer import LayerStats

IMAGES, POSITIONS, CHANNELS, CLASSES = 200, 4, 32, 4
POLICIES = ("all", "pooled")


@dataclass(frozen=True, kw_only=True)
class Example:
    """One metric of healthy features and of collapsed ones; `planted` says what was done to them, `positions` which
    rows were taken."""

    planted: str
    positions: str
    healthy: Measurement
    collapsed: Measurement


def healthy_features() -> Tensor:
    """(200, 4, 32) independent normal channels of deviation 1.1 at mean 0.3; an image's positions share a little."""
    random = torch.Generator().manual_seed(0)
    shape = (IMAGES, POSITIONS, CHANNELS)
    own = torch.randn(shape, generator=random, dtype=torch.float64)
    shared = torch.randn((IMAGES, 1, CHANNELS), generator=random, dtype=torch.float64)
    features: Tensor = 0.3 + own + 0.5 * shared
    return features


def _complete(x: Tensor) -> Tensor:
    collapsed = 5 + 1e-4 * x
    collapsed[IMAGES // 2 :] = 5
    return collapsed


def _dimensional(x: Tensor) -> Tensor:
    rotation: Tensor = torch.linalg.qr(x[:CHANNELS, 0]).Q
    deviation = torch.arange(1, CHANNELS + 1, dtype=x.dtype) ** -2
    return x @ rotation * deviation.where(deviation >= 1 / 20**2, 0.0) @ rotation.T


def _dead(x: Tensor) -> Tensor:
    collapsed = x.clone()
    collapsed[:, :, : CHANNELS // 2 + 1] = 0
    collapsed[:, :, -1] = 3
    return collapsed


def _redundant(x: Tensor) -> Tensor:
    return x[:, :, :4].repeat(1, 1, CHANNELS // 4) * torch.linspace(1, 2, CHANNELS, dtype=x.dtype)


def _spatial(x: Tensor) -> Tensor:
    return x[:, :1] + 0.01 * x


def _dominated(x: Tensor) -> Tensor:
    collapsed = x.clone()
    collapsed[0] += 1e3
    return collapsed


def _mean(x: Tensor) -> Tensor:
    return x + 20


PLANTS: Mapping[Kind, tuple[str, Callable[[Tensor], Tensor]]] = {
    "complete": ("a constant with 1e-4 of noise on half of the images and none on the others", _complete),
    "dimensional": (
        "twenty directions of thirty-two, the k-th of deviation 1 / k^2",
        _dimensional,
    ),
    "dead": ("seventeen channels of thirty-two dead, one stuck at 3", _dead),
    "redundant": ("thirty-two channels that are four, scaled", _redundant),
    "spatial": ("positions of an image alike but for a hundredth", _spatial),
    "dominated": ("one image a thousand away from all others", _dominated),
    "mean": ("an offset of 20 in every channel", _mean),
}
"""A collapse of each kind that a metric may see: in words, and what it does to features."""


def example(name: str) -> Example:
    """The example of one metric: of the first kind that it sees, low rank for one that judges nothing.

    All positions are rows, or the average of each image where the metric has a value of these alone. Raises LookupError
    for an unknown metric.
    """
    kind = METRICS[name].sees[0] if METRICS[name].sees else "dimensional"
    planted, plant = PLANTS[kind]
    healthy, collapsed = (_statistics(x) for x in (healthy_features(), plant(healthy_features())))
    valued = [policy for policy in POLICIES if measure(name, healthy[policy]).status == "ok"]
    positions = valued[0] if valued else POLICIES[0]
    return Example(
        planted=planted,
        positions=positions,
        healthy=measure(name, healthy[positions]),
        collapsed=measure(name, collapsed[positions]),
    )


def _statistics(x: Tensor) -> dict[str, LayerStats]:
    images = torch.arange(len(x))
    return summarise(x, images, POLICIES, labels=images % CLASSES, keep=x.shape[0] * x.shape[1])
