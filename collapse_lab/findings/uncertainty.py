"""Intervals over images, from values that leave one group of images out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

LEVEL = 0.95


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A bias-corrected value, the variance of it over images, and that variance's degrees of freedom."""

    corrected: float
    variance: float
    freedom: float

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        """Student's t around the corrected value."""
        half = half_width(self.variance, self.freedom, level)
        return self.corrected - half, self.corrected + half


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A 95 % interval [low, high] for the population value, and the bias-corrected value that it is built on."""

    corrected: float
    low: float
    high: float


NO_INTERVAL = Interval(corrected=math.nan, low=math.nan, high=math.nan)


def half_width(variance: float, freedom: float, level: float = LEVEL) -> float:
    """Half of a two-sided interval of this level; NaN without a variance or without a degree of freedom."""
    if not (variance >= 0 and freedom > 0):
        return math.nan
    return float(student.ppf(0.5 + level / 2, freedom)) * math.sqrt(variance)


def jackknife(value: float, left_out: Sequence[float], sizes: Sequence[int]) -> Estimate:
    """Delete-m_j jackknife for unequal groups (Busing, Meijer & van der Leeden 1999), with groups - 1 degrees.

    `left_out` are the values without each group, `sizes` the images in it; a group without images says nothing and is
    passed over. NaN where any value is NaN, or with fewer than two groups. Raises ValueError when both differ in
    length.
    """
    if len(left_out) != len(sizes):
        raise ValueError(f"{len(left_out)} values were left out for {len(sizes)} groups")
    held = np.asarray(sizes) > 0
    values, m = np.asarray(left_out, dtype=float)[held], np.asarray(sizes, dtype=float)[held]
    if len(m) < 2 or not np.isfinite(values).all() or not math.isfinite(value):
        return Estimate(corrected=math.nan, variance=math.nan, freedom=math.nan)
    h = m.sum() / m
    pseudo = h * value - (h - 1) * values
    corrected = (pseudo / h).sum()
    variance = np.mean((pseudo - corrected) ** 2 / (h - 1))
    return Estimate(corrected=float(corrected), variance=float(variance), freedom=len(m) - 1.0)


def interval_of(
    value: float,
    left_out: Sequence[float],
    sizes: Sequence[int],
    *,
    log_scale: bool = False,
    whole: bool = False,
    level: float = LEVEL,
) -> Interval:
    """Student's t around the jackknife's corrected value, of the logarithm where `log_scale` says so.

    A logarithm makes ratios of variances symmetric, and keeps the ends positive. `whole` stretches the interval down to
    what the plain value would give, where the correction itself cannot be trusted. NaN as `jackknife` has it.
    """
    if log_scale and not (value > 0 and min(left_out, default=0.0) > 0):
        return NO_INTERVAL
    read, back = (math.log, math.exp) if log_scale else (float, float)
    plain = read(value)
    estimate = jackknife(plain, [read(each) for each in left_out], sizes)
    half = half_width(estimate.variance, estimate.freedom, level)
    if math.isnan(half):
        return NO_INTERVAL
    start = min(plain, estimate.corrected) if whole else estimate.corrected
    return Interval(corrected=back(estimate.corrected), low=back(start - half), high=back(estimate.corrected + half))
