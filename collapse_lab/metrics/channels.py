"""Dead, dormant, saturated and redundant channels: what happens to one channel at a time, and to copies of it.

Thresholds are relative and over the whole capture: death on one batch is not death.
"""

from __future__ import annotations

import torch
from torch import Tensor

from collapse_lab.metrics._metric import NoValueError, metric, series
from collapse_lab.stats.images import DEAD
from collapse_lab.stats.layer import LayerStats

DORMANT = 0.025
REDUNDANT = 0.95
FEWEST_ROWS = 10
LAZY = 0.01


def dead(stats: LayerStats) -> Tensor:
    """(C,) bool: no value of the channel exceeds 1e-6 of the largest channel's rms; all of them in a zero layer."""
    largest = torch.maximum(stats.maximum.abs(), stats.minimum.abs())
    return largest <= DEAD * stats.mean_square.max().sqrt()


def still(stats: LayerStats) -> Tensor:
    """(C,) bool: the channel's deviation is 0, or no more than 1e-6 of the largest rms or its own rounding."""
    rms = stats.mean_square.sqrt()
    return stats.variance.sqrt() <= torch.maximum(DEAD * rms.max(), stats.eps * rms)


@series(unit="squared activation")
def channel_variance(stats: LayerStats) -> Tensor:
    """(C,) population variance of each channel over all rows."""
    return stats.variance


@metric(
    unit="squared activation",
    bounds=(0, None),
    collapse_when="low",
    sees=("dead",),
    source="tenth percentile of the series channel_variance",
    on_constant="computed",
)
def channel_variance_q10(stats: LayerStats) -> float:
    """A tenth of the channels vary less than this. 0 for a constant layer."""
    return stats.variance.quantile(0.1).item()


@metric(
    unit="squared activation",
    bounds=(0, None),
    collapse_when="low",
    sees=("dead",),
    source="median of the series channel_variance",
    on_constant="computed",
)
def channel_variance_q50(stats: LayerStats) -> float:
    """Half of the channels vary less than this. 0 for a constant layer."""
    return stats.variance.quantile(0.5).item()


@metric(
    unit="share",
    bounds=(0, 1),
    collapse_when="high",
    sees=("dead", "dimensional"),
    source="Gini, Variabilita e mutabilita, 1912",
)
def variance_imbalance(stats: LayerStats) -> float:
    """Gini coefficient of the channel variances: 0 all equal, near 1 when one channel has all. No value if constant."""
    ordered = stats.variance.sort().values
    rank = torch.arange(1, len(ordered) + 1, dtype=ordered.dtype)
    return ((2 * rank - len(ordered) - 1) @ ordered / (len(ordered) * ordered.sum())).item()


@metric(
    unit="share of channels",
    bounds=(0, 1),
    collapse_when="high",
    sees=("dead",),
    source="definition in `dead`: max |x| <= 1e-6 of the largest channel's rms",
    rows="as they are",
    on_constant="computed",
)
def dead_channels(stats: LayerStats) -> float:
    """Channels that are zero on every row. A sparse channel that fires once is alive. 1 for an all-zero layer."""
    return dead(stats).double().mean().item()


@metric(
    unit="share of channels",
    bounds=(0, 1),
    collapse_when="high",
    sees=("dead",),
    source="definition in `still`, dead channels left out",
    rows="as they are",
    on_constant="computed",
)
def saturated_channels(stats: LayerStats) -> float:
    """Channels that hold one value other than zero on every row. 1 for a layer that is constant and nowhere zero."""
    return (still(stats) & ~dead(stats)).double().mean().item()


@metric(
    unit="share of channels",
    bounds=(0, 1),
    collapse_when="high",
    sees=("dead",),
    source="Sokar et al., ICML 2023, threshold 0.025",
    rows="as they are",
    on_constant="computed",
)
def dormant_ratio(stats: LayerStats) -> float:
    """Channels whose mean |x| is at most 0.025 of the average channel's. 1 for an all-zero layer."""
    return (stats.absolute <= DORMANT * stats.absolute.mean()).double().mean().item()


@metric(
    unit="share of channels",
    bounds=(0, 1),
    collapse_when="high",
    sees=("dead",),
    source="images in which the channel is above 0 somewhere, fewer than 0.01 of all",
    rows="as they are",
    on_constant="computed",
)
def lazy_channels(stats: LayerStats, share: float = LAZY) -> float:
    """Channels that are above zero, at any position, in fewer than `share` of the images (0.01 in tables).

    Every present position counts, whatever the rows are. Dead channels are lazy too, and so is one that is negative
    on every image; a channel that is rare on purpose, a detector of one class in 200, looks the same. Of fewer than
    1 / `share` images it counts those that fire in none. 1 for an all-zero layer.
    """
    return (stats.images.fired < share * stats.n_images).double().mean().item()


@metric(
    unit="share of live channels",
    bounds=(0, 1),
    collapse_when="high",
    sees=("redundant",),
    source="channels with a partner at |Pearson correlation| > 0.95",
)
def redundant_channels(stats: LayerStats) -> float:
    """Channels that vary and have a copy, up to sign and scale. Needs two channels that vary, else no value.

    Few rows correlate by chance (of 4 independent normal rows one pair of channels in 20 passes 0.95), so fewer than
    10 rows give no value.
    """
    if stats.n_rows < FEWEST_ROWS:
        raise NoValueError(f"{stats.n_rows} rows correlate by chance, at least {FEWEST_ROWS} are needed")
    rho = stats.correlation.abs()
    if len(rho) < 2:
        raise NoValueError(f"{len(rho)} channels vary, at least 2 are needed")
    rho.fill_diagonal_(0)
    return (rho.amax(dim=0) > REDUNDANT).double().mean().item()
