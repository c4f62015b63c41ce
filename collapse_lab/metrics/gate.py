"""The gate of Global Response Normalisation (GRN): how an image's energy is spread over its channels.

N = G / mean G, G the L2 norm of a channel over the image's visible positions: what GRN (Woo et al., CVPR 2023, eq. 1-2)
multiplies by. Each number is taken image by image and averaged over the images that have energy. They are facts of the
GRN's *input*: read them at the site `act`; at any other site they are the same statement about channel energies. The
module's own divisor is mean G + 1e-6, so its gate is weaker where mean G is that small.
All are blind to what the channels show: copies of one channel read as an even spread, as independent ones do.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from collapse_lab.metrics._metric import NoValueError, metric, series
from collapse_lab.stats.layer import LayerStats

GRN = "Woo et al., CVPR 2023, eq. 1-2"
ROWS = "channel norms of an image over their mean"


def _average(stats: LayerStats, total: float) -> float:
    if not stats.images.n_gate:
        raise NoValueError("no image has energy in any channel")
    return total / stats.images.n_gate


@series(unit="times the mean channel")
def gate_response(stats: LayerStats) -> Tensor:
    """(C,) N of each channel, averaged over images; averages to 1 over channels. NaN where no image has energy."""
    images = stats.images
    return images.gate / images.n_gate if images.n_gate else torch.full_like(images.gate, math.nan)


@metric(
    unit="relative deviation",
    bounds=(0, None),
    collapse_when=None,
    sees=(),
    source=f"standard deviation of N over channels; {GRN}",
    rows=ROWS,
    on_constant="computed",
)
def gate_variation(stats: LayerStats) -> float:
    """Coefficient of variation of G over the channels of an image: 0 where the gate treats all channels alike,
    sqrt(C - 1) where one channel has all energy.

    Neither end is collapse by itself: copies read 0, a healthy sparse code reads high.
    """
    return _average(stats, stats.images.gate_variation)


@metric(
    unit="share",
    bounds=(0, 1),
    collapse_when="high",
    sees=("dead",),
    source=f"Gini coefficient of G over channels; {GRN}",
    rows=ROWS,
    on_constant="computed",
)
def gate_gini(stats: LayerStats) -> float:
    """Gini coefficient of G over the channels of an image: 0 for equal energies, (C - 1) / C for one live channel.

    A channel that is dead on one image and not on another counts here, and not in `dead_channels`.
    """
    return _average(stats, stats.images.gate_gini)


@metric(
    unit="share of energy",
    bounds=(0, 1),
    collapse_when="high",
    sees=("dead",),
    source=f"max G / sum G; {GRN}",
    rows=ROWS,
    on_constant="computed",
)
def gate_largest_share(stats: LayerStats) -> float:
    """What the strongest channel of an image holds of the sum of G: 1 / C for equal energies, 1 for one live channel.

    Blind to all channels but the first; it need not be the same one in every image (see `gate_response`).
    """
    return _average(stats, stats.images.gate_largest)


@metric(
    unit="share of channels",
    bounds=(0, 1),
    collapse_when="low",
    sees=("dead",),
    source=f"exp of the entropy of G / sum G, over C; {GRN}",
    rows=ROWS,
    on_constant="computed",
)
def gate_entropy(stats: LayerStats) -> float:
    """Channels that an image's energy is worth, as a share of all: 1 for equal energies, 1 / C for one live channel."""
    return _average(stats, stats.images.gate_entropy)
