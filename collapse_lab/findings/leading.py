"""The intervals of ratios of variances where a jackknife alone misses: tied directions, and tails.

The strongest direction, which the stable rank is held against, may be one of several equal ones.
Sampling draws equal eigenvalues apart (Marchenko & Pastur 1967), so the largest of them overestimates all. That error
falls as 1 / sqrt(n), not as 1 / n: no jackknife takes it away. The interval therefore reaches from what the largest
eigenvalue says to what the mean of those says that cannot be told apart from it. Where these are truly equal it is the
mean that is right, where they are not it is the largest, and one is always inside.

Of rows with tails most samples hold too few from the tail: they read too many dimensions, and too small a deviation as
well, so that the interval misses below. There it starts at the plain value, which few rows pull down.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from collapse_lab.findings.uncertainty import Interval, interval_of, jackknife
from collapse_lab.metrics.spectrum import over_strongest, participation_ratio, stable_rank
from collapse_lab.stats.layer import LayerStats

WIDENED = 1.25
"""Of the half width of the Marchenko-Pastur law, for the spread of its ends in a finite sample."""

ONE_SIDED = 0.90
"""Two-sided level whose half is a one-sided 95 %: when the two ends come from two readings, only one can miss."""


HEAVY = 1.5
"""Tails from here on: see `tails`."""


def tails(stats: LayerStats) -> float:
    """How much more the rows' energies |y|^2 vary than those of normal rows with the same covariance: 1 for these.

    Their squared relative deviation over 2 tr Sigma^2 / (tr Sigma)^2; 2 and more for exponential or Laplace entries,
    below 1 for bounded ones. NaN for a constant layer.
    """
    energy = stats.energy.sum().item()
    square = stats.whole_scatter.square().sum().item()
    if not square > 0:
        return math.nan
    return (stats.n_rows * stats.fourth - energy**2) / (2 * square)


def participation_ratio_interval(stats: LayerStats, left_out: Sequence[float], sizes: Sequence[int]) -> Interval:
    """The interval of `participation_ratio` on a logarithmic scale, from the plain value on where rows have tails."""
    value = participation_ratio(stats)
    return interval_of(value, left_out, sizes, log_scale=True, whole=tails(stats) > HEAVY)


def tied(stats: LayerStats, rows: float) -> int:
    """How many leading eigenvalues `rows` independent rows cannot tell from one value.

    The most m with lambda_m / lambda_1 >= ((1 - e) / (1 + e))^2, e = 1.25 sqrt(m / rows): the ratio of the ends of the
    spectrum of m equal directions, widened. 1 where the first stands alone; all where rows are fewer than 1.6 m.
    """
    values = stats.singular_values.square()
    m = torch.arange(1, len(values) + 1, dtype=values.dtype)
    e = (WIDENED * (m / rows).sqrt()).clamp(max=1.0)
    near = values >= values[0] * ((1 - e) / (1 + e)).square()
    return int(m[near & (values > 0)].max()) if values[0] > 0 else 1


def tied_stable_rank(stats: LayerStats, count: int) -> float:
    """All variance over the mean variance of the `count` strongest directions; NaN for a constant layer."""
    variance = stats.singular_values.square()
    return over_strongest(variance, count) if variance[0] > 0 else math.nan


def rows_worth(stats: LayerStats, left_out: Sequence[float], sizes: Sequence[int]) -> float:
    """Normal rows that would scatter the stable rank as much as these do, n_effective at most: heavy tails have fewer.

    A variance among n normal rows has a relative deviation of sqrt(2 / n).
    """
    value = stable_rank(stats)
    if not min(left_out, default=0.0) > 0:
        return stats.n_effective
    relative = jackknife(math.log(value), [math.log(each) for each in left_out], sizes).variance
    return min(stats.n_effective, 2 / relative) if relative > 0 else stats.n_effective


def stable_rank_interval(
    stats: LayerStats, left_out: Sequence[float], tied_left_out: Sequence[float] | None, sizes: Sequence[int]
) -> Interval:
    """The interval of `stable_rank`; `tied_left_out` are the leave-one-out values of `tied_stable_rank`, if taken.

    The ordinary one where the first direction stands alone. `corrected` stays that of the largest eigenvalue.
    """
    value, count = stable_rank(stats), tied(stats, rows_worth(stats, left_out, sizes))
    if count == 1 or tied_left_out is None:
        return interval_of(value, left_out, sizes, log_scale=True, whole=tails(stats) > HEAVY)
    largest = interval_of(value, left_out, sizes, log_scale=True, whole=True, level=ONE_SIDED)
    mean = interval_of(tied_stable_rank(stats, count), tied_left_out, sizes, log_scale=True, level=ONE_SIDED)
    return Interval(corrected=largest.corrected, low=largest.low, high=max(largest.corrected, mean.high))
