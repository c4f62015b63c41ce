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
