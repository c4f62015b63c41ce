"""Healthy features that are easily mistaken for collapse: nothing may be found in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from benchmarks.plants.ground import Draw, Planted, Size, draw_shape


def _healthy(make: Callable[[Draw], Tensor]) -> Callable[[np.random.Generator, Size], Planted]:
    def plant(random: np.random.Generator, size: Size) -> Planted:
        draw = draw_shape(random, size)
        return Planted(features=make(draw) * draw.scale())

    return plant


def _isotropic(draw: Draw) -> Tensor:
    """Equal independent directions, with an offset that leaves at least 0.3 of the pooled energy varying."""
    offset = draw.normal(draw.channels) * draw.between(0, 0.45)
    return draw.layered(draw.normal, draw.channels) + offset


def _power_law(draw: Draw) -> Tensor:
    """The k-th eigenvalue is k^-e, e from 0 to 1.5, along the channels or turned."""
    deviation = torch.arange(1, draw.channels + 1).double() ** (-draw.between(0, 1.5) / 2)
    x = draw.layered(draw.normal, draw.channels) * deviation
    return x @ draw.rotation(draw.channels) if draw.whole(0, 1) else x


def _sparse(draw: Draw) -> Tensor:
    """A rectified normal above a threshold: each channel is zero on 50 to 95 % of the positions."""
    return (draw.layered(draw.normal, draw.channels) - draw.between(0, 1.6)).clamp(min=0)


def _heavy_tailed(draw: Draw) -> Tensor:
    """Student's t of 3.5 to 10 degrees of freedom, of each value or of the size of each image."""
    freedom = draw.between(3.5, 10)

    def student(*shape: int) -> Tensor:
        return torch.from_numpy(draw.random.standard_t(freedom, size=shape))

    if draw.whole(0, 1):
        return draw.layered(student, draw.channels)
    return draw.layered(draw.normal, draw.channels) * student(draw.images, 1, 1).abs()


def _banded(draw: Draw) -> Tensor:
    """Each channel is a moving average of 2 to 5 neighbours, so adjacent ones correlate at 0.5 to 0.8."""
    width = draw.whole(2, 5)
    wide = draw.layered(draw.normal, draw.channels + width - 1)
    return wide.unfold(2, width, 1).mean(dim=3)


HEALTHY: Mapping[str, Callable[[np.random.Generator, Size], Planted]] = {
    "isotropic": _healthy(_isotropic),
    "power law": _healthy(_power_law),
    "sparse": _healthy(_sparse),
    "heavy tails": _healthy(_heavy_tailed),
    "banded": _healthy(_banded),
}
