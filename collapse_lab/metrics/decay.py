"""How steeply the variance falls from the first direction to the last. All read the singular values above the floor."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from collapse_lab.metrics._metric import ENTROPY_RANK, NoValueError, metric, series
from collapse_lab.stats.layer import LayerStats

HELD = 1e-9
"""A cumulated share this little below a mark has reached it: nine of ten equal directions hold 0.9 but for rounding."""

FLAT = 1e-9
"""Logarithms of eigenvalues that spread no further have no fall that a line could explain."""

FIRST, LAST, FEWEST = 5, 50, 10
"""Directions that a power law is fitted to, counted from 1, and how many of them there must be."""

REQA = "Agrawal et al., NeurIPS 2022 (alpha-ReQ)"
DELVE = "Richter et al., arXiv 2006.08679 (delve)"


@dataclass(frozen=True, kw_only=True)
class PowerLaw:
    """lambda_i ~ i^-alpha, fitted by least squares of log lambda on log i over the directions `first` to `last`
    (counted from 1, both included). `r_squared` is NaN where these eigenvalues are all equal."""

    alpha: float
    r_squared: float
    first: int
    last: int

    @property
    def n(self) -> int:
        return self.last - self.first + 1


def power_law(stats: LayerStats, first: int = FIRST, last: int = LAST) -> PowerLaw:
    """The fit over directions `first` to `last`, or to the last one clear of the floor where that comes earlier.

    Raises NoValueError where fewer than 10 are left, ValueError for a window that is no window.
    """
    if not 1 <= first < last:
        raise ValueError(f"a window runs from a direction >= 1 to a later one, got {first} to {last}")
    above = stats.clear_directions
    last = min(last, above)
    if last - first + 1 < FEWEST:
        raise NoValueError(f"{above} directions stand clear of the floor, at least {first + FEWEST - 1} are needed")
    x = torch.arange(first, last + 1, dtype=torch.float64).log()
    y = 2 * stats.singular_values[first - 1 : last].log()
    x, y = x - x.mean(), y - y.mean()
    slope, total = float(x @ y / (x @ x)), float(y @ y)
    explained = slope**2 * float(x @ x) / total if total > len(y) * FLAT**2 else math.nan
    return PowerLaw(alpha=-slope, r_squared=explained, first=first, last=last)


@series(unit="share of variance")
def cumulative_share(stats: LayerStats) -> Tensor:
    """(C,) share of the variance that the first 1, 2, ... C directions hold; NaN for a constant layer."""
    variance = stats.singular_values.square()
    return variance.cumsum(dim=0) / variance.sum()


def _floor_decides(stats: LayerStats) -> str:
    if stats.clear_directions == stats.channels:
        return ""
    return f"the weakest direction is below or near the floor {stats.floor:.3g}: the ratio is at least about this"


@metric(
    unit="ratio of singular values",
    bounds=(1, None),
    collapse_when="high",
    sees=("dimensional", "dead"),
    source="Golub & Van Loan, Matrix Computations, section 2.6",
    biased_below=ENTROPY_RANK,
    capped=_floor_decides,
)
def condition_number(stats: LayerStats) -> float:
    """Largest singular value of the centred rows over the smallest, or over the floor where that is larger.

    1 when every direction varies equally. One dead channel, or fewer rows than channels + 1, leaves it to the floor:
    status `capped`. Blind to everything between the first direction and the last; few rows push it up. A constant
    layer has no value.
    """
    values = stats.singular_values
    return float(values[0]) / max(float(values[-1]), stats.floor)


def _dims(stats: LayerStats, share: float) -> float:
    return 1.0 + int((cumulative_share(stats) < share - HELD).sum())


@metric(
    unit="dimensions",
    bounds=(1, "channels"),
    collapse_when="low",
    sees=("dimensional",),
    source="directions up to a share of the variance; Jolliffe, Principal Component Analysis, section 6.1",
    biased_below=ENTROPY_RANK,
)
def dims_90(stats: LayerStats) -> float:
    """The fewest directions that hold 90 % of the variance. Blind to the tail; no value for a constant layer."""
    return _dims(stats, 0.90)


@metric(
    unit="dimensions",
    bounds=(1, "channels"),
    collapse_when="low",
    sees=("dimensional",),
    source="directions up to a share of the variance; Jolliffe, Principal Component Analysis, section 6.1",
    biased_below=ENTROPY_RANK,
)
def dims_95(stats: LayerStats) -> float:
    """The fewest directions that hold 95 % of the variance. Blind to the tail; no value for a constant layer."""
    return _dims(stats, 0.95)


@metric(
    unit="dimensions",
    bounds=(1, "channels"),
    collapse_when="low",
    sees=("dimensional",),
    source=DELVE,
    biased_below=ENTROPY_RANK,
)
def dims_99(stats: LayerStats) -> float:
    """The fewest directions that hold 99 % of the variance. Blind to the last one; no value for a constant layer."""
    return _dims(stats, 0.99)


@metric(
    unit="share of channels",
    bounds=(0, 1),
    collapse_when="low",
    sees=("dimensional",),
    source=DELVE,
    biased_below=ENTROPY_RANK,
)
def saturation(stats: LayerStats) -> float:
    """dims_99 over the number of channels. Wide layers read low without any fault: compare layers of equal width.

    Nothing to do with `saturated_channels`. No value for a constant layer.
    """
    return dims_99(stats) / stats.channels


@metric(
    unit="mean cumulated share",
    bounds=(0.5, 1),
    collapse_when="high",
    sees=("dimensional",),
    source="Li, Efros & Pathak, ECCV 2022, on shares of variance",
    biased_below=ENTROPY_RANK,
)
def spectrum_auc(stats: LayerStats) -> float:
    """Mean over k of the share of the variance that the first k of C directions hold.

    (C + 1) / (2 C) when every direction varies equally, 1 when all rows lie on one line. All directions count alike,
    so a tail of noise changes little. No value for a constant layer.
    """
    return cumulative_share(stats).mean().item()


@metric(
    unit="exponent",
    bounds=(0, None),
    collapse_when="high",
    sees=("dimensional",),
    source=REQA,
    biased_below=ENTROPY_RANK,
)
def powerlaw_alpha(stats: LayerStats, first: int = FIRST, last: int = LAST) -> float:
    """Exponent alpha of lambda_i ~ i^-alpha: the slope of log eigenvalue on log index, its sign turned.

    Plain least squares over directions 5 to 50, or to the last one clear of the floor, of which 10 are needed; the
    fit's `powerlaw_r_squared` and `powerlaw_directions` stand beside it, and no alpha means much where R^2 is low. 0
    for equal directions. Blind to the first four directions and to all after the window; a floor of noise flattens
    it, few rows steepen it. A layer of low rank has no value: read `numerical_rank`.
    """
    return power_law(stats, first, last).alpha


@metric(
    unit="share",
    bounds=(0, 1),
    collapse_when=None,
    sees=(),
    source=REQA,
)
def powerlaw_r_squared(stats: LayerStats) -> float:
    """Share of the spread of log eigenvalues that the line behind `powerlaw_alpha` explains. No value where the
    eigenvalues are all equal, for there is nothing to explain."""
    explained = power_law(stats).r_squared
    if math.isnan(explained):
        raise NoValueError("the eigenvalues of the window are all equal")
    return explained


@metric(
    unit="directions",
    bounds=(FEWEST, LAST - FIRST + 1),
    collapse_when=None,
    sees=(),
    source=REQA,
)
def powerlaw_directions(stats: LayerStats) -> float:
    """How many directions, from the fifth on, the line behind `powerlaw_alpha` is fitted to: 10 to 46."""
    return float(power_law(stats).n)
