"""Dimensional collapse: how many directions the rows use. All of them read the singular values above the floor.

For C channels and n rows they always stand in this order: min(n - 1, C) >= numerical_rank >= effective_rank >=
effective_rank_energy >= participation_ratio >= stable_rank >= 1.
"""

from __future__ import annotations

import torch
from torch import Tensor

from collapse_lab.metrics._metric import ENTROPY_RANK, NoValueError, metric, series
from collapse_lab.stats.layer import LayerStats

FAINTEST = 1e-280
"""Sums of fourth powers below have lost digits to underflow."""

CANCELLED = 1e-10
"""A difference of fourth moments below this share of them is rounding."""


def exp_entropy(weights: Tensor) -> float:
    """Exponential of the entropy of weights over their sum: how many equal ones would be as even."""
    share = weights / weights.sum()
    return float(torch.special.entr(share).sum().exp())


def participation(variance: Tensor) -> float:
    """(sum lambda)^2 / sum lambda^2: how many equal ones would be as even in their squares."""
    return (1 / (variance / variance.sum()).square().sum()).item()


def over_strongest(variance: Tensor, count: int = 1) -> float:
    """Their sum over the mean of the first `count`, of descending ones."""
    return (variance.sum() / variance[:count].mean()).item()


@series(unit="singular value of the centred rows")
def singular_values(stats: LayerStats) -> Tensor:
    """(C,) descending; zero at and below the floor."""
    return stats.singular_values


@metric(
    unit="dimensions",
    bounds=(1, "channels"),
    collapse_when="low",
    sees=("dimensional",),
    source="Roy & Vetterli, EUSIPCO 2007",
    biased_below=ENTROPY_RANK,
    log_scale=True,
)
def effective_rank(stats: LayerStats) -> float:
    """Exponential of the entropy of the normalised singular values of the centred rows.

    1 when all rows lie on one line, C when every direction varies equally. Noise-tail hungry: three directions of
    deviation 1 among 64 of deviation 0.1 read 42.6; read it beside `participation_ratio` (4.3 there). A constant
    layer has no direction: status `degenerate`.
    """
    return exp_entropy(stats.singular_values)


@metric(
    unit="dimensions",
    bounds=(1, "channels"),
    collapse_when="low",
    sees=("dimensional", "mean"),
    source="Garrido et al., ICML 2023",
    rows="as they are",
    on_constant="computed",
    biased_below=ENTROPY_RANK,
)
def rankme(stats: LayerStats, eps: float = 0.0) -> float:
    """Exponential of the entropy of the normalised singular values of the rows as they are.

    A common offset counts as one strong direction, so it reads low where only the mean dominates. A constant layer
    that is not zero reads 1; an all-zero layer has no value. `eps` is added to each of the min(n, C) shares: the paper
    has 1e-7; the tables have 0, since the sum of many epsilons is a rank of its own.
    """
    values = stats.uncentred_singular_values[: max(1, min(stats.n_rows, stats.channels))]
    if not values.any():
        raise NoValueError("every row is zero")
    return float(torch.special.entr(values / values.sum() + eps).sum().exp())


@metric(
    unit="dimensions",
    bounds=(1, "channels"),
    collapse_when="low",
    sees=("dimensional",),
    source="Roy & Vetterli, EUSIPCO 2007, on eigenvalues",
    biased_below=ENTROPY_RANK,
)
def effective_rank_energy(stats: LayerStats) -> float:
    """Exponential of the entropy of the shares of variance: `effective_rank` of eigenvalues, less tail hungry."""
    return exp_entropy(stats.singular_values.square())


@metric(
    unit="dimensions",
    bounds=(1, "channels"),
    collapse_when="low",
    sees=("dimensional",),
    source="Gao et al., bioRxiv 214262, 2017",
    biased_below=ENTROPY_RANK,
    log_scale=True,
)
def participation_ratio(stats: LayerStats) -> float:
    """(sum lambda)^2 / sum lambda^2 of the covariance's eigenvalues: about how many carry the variance.

    Blind to weak directions, where `effective_rank` is hungry for them. Few rows pull it down: see
    `participation_ratio_corrected`. A constant layer has no value.
    """
    return participation(stats.singular_values.square())


@metric(
    unit="dimensions",
    bounds=(1, None),
    collapse_when="low",
    sees=("dimensional",),
    source="Himeno & Yamada, J. Multivariate Analysis 130, 2014",
)
def participation_ratio_corrected(stats: LayerStats) -> float:
    """The participation ratio of the population, from unbiased estimates of (tr Sigma)^2 and tr Sigma^2.

    For independent rows only (one an image, n >= 4): otherwise no value. Unbounded above C, where sampling noise
    puts it. Isotropic C = 256 at n = 16 gives about 256 where the plain ratio gives 14.
    """
    n = stats.n_rows
    if n != stats.n_images:
        raise NoValueError("rows of one image are not independent; use positions 'pooled' or 'sampled:1'")
    if n < 4:
        raise NoValueError(f"{n} rows, at least 4 are needed")
    covariance = stats.whole_scatter / (n - 1)
    trace, square, fourth = covariance.trace().item(), covariance.square().sum().item(), stats.fourth / (n - 1)
    if stats.fourth < FAINTEST:
        raise NoValueError("the rows are so small that their fourth powers leave the range of float64; scale them up")
    trace_of_square = (n - 1) * (n - 2) * square + trace**2 - n * fourth
    square_of_trace = 2 * square + (n * n - 3 * n + 1) * trace**2 - n * fourth
    if trace_of_square <= CANCELLED * n * fourth:
        raise NoValueError("the estimate of tr Sigma^2 is not positive: too few rows for so many dimensions")
    return square_of_trace / trace_of_square


@metric(
    unit="dimensions",
    bounds=(1, "channels"),
    collapse_when="low",
    sees=("dimensional",),
    source="Rudelson & Vershynin, J. ACM 54, 2007",
    log_scale=True,
)
def stable_rank(stats: LayerStats) -> float:
    """All variance over the variance of the strongest direction. Blind to everything below the first direction."""
    return over_strongest(stats.singular_values.square())


def _near_floor(stats: LayerStats) -> str:
    near = int((stats.singular_values > 0).sum()) - stats.clear_directions
    return f"{near} directions stand less than 4 times above the floor {stats.floor:.3g}" if near else ""


@metric(
    unit="dimensions",
    bounds=(0, "channels"),
    collapse_when="low",
    sees=("dimensional",),
    source="count of singular values above the floor of the statistics",
    on_constant=0.0,
    capped=_near_floor,
)
def numerical_rank(stats: LayerStats, tolerance: float = 0.0) -> float:
    """Directions whose singular value stands above rounding, and above `tolerance` of the largest (0 in tables).

    Any noise at all fills it up. Status `capped` where a direction stands less than 4 times above the floor: another
    order of the same sums may count it or not. 0 for a constant layer.
    """
    values = stats.singular_values
    return float((values > tolerance * values[0]).sum())
