"""Leave-one-group-out values of sites too wide for a matrix a group: from influence functions on the kept rows.

The influence of a row is the derivative of a value in the weight of that row (Hampel 1974); leaving out a group moves a
value by minus the group's mean influence times its share over the rest's. That is of first order: it gives the variance
of a jackknife and no correction of the bias. Kept rows may be fewer than all rows; their scatter is scaled down to what
all rows would show. What lies inside images (cosines of channels and of positions) is exact, summed apart by group.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from scipy.sparse.linalg import eigsh
from torch import Tensor

from collapse_lab.findings.leading import rows_worth, tied, tied_stable_rank
from collapse_lab.findings.replicates import TIED
from collapse_lab.metrics._metric import ENTROPY_RANK, METRICS, NoValueError
from collapse_lab.metrics.channels import dead
from collapse_lab.stats.images import DEAD
from collapse_lab.stats.layer import LayerStats

INSIDE = ("channel_cosine_distance_live", "position_cosine_centred")
FEW = 0.05
"""Share of the directions up to which finding them one after another is faster than all at once."""

Influence = Callable[[LayerStats, Tensor], Tensor]
"""(statistics of all rows, the kept ones less the mean (m, C)) -> (m,) influence of each."""


@dataclass(frozen=True, kw_only=True)
class _Kept:
    """The kept rows as they are, `x` (m, C), and less the mean, `y`; which of them each group takes with it (m,); and
    the deviation of a mean over all rows as a share of that of a mean over these."""

    x: Tensor
    y: Tensor
    gone: Sequence[Tensor]
    scale: float


def estimated_without_each(
    whole: LayerStats, left_out: Sequence[LayerStats], sizes: Sequence[int]
) -> dict[str, list[float]]:
    """The headline metrics without each group; `left_out` are the shells that `Accumulator.left_out` gives.

    Of a site without kept rows, or with a group that has none, only what lies inside images; effective rank and
    participation ratio only where they estimate the population at all (see `ENTROPY_RANK`).
    """
    values = {name: [_value(name, others) for others in left_out] for name in INSIDE}
    kept = _kept(whole, left_out)
    if kept is None:
        return values
    for name, influence in _influences(whole).items():
        values[name] = _moved(METRICS[name].function(whole), influence(whole, kept.y), kept, sizes)
    values["dead_channels"] = _dead_without(whole, kept)
    values["pair_cosine_centred"] = _pairs_without(whole, left_out, kept)
    count = tied(whole, rows_worth(whole, values["stable_rank"], sizes))
    if count > 1:
        values[TIED] = _moved(tied_stable_rank(whole, count), of_stable_rank(whole, kept.y, count), kept, sizes)
    return values


def _kept(whole: LayerStats, left_out: Sequence[LayerStats]) -> _Kept | None:
    if whole.rows is None or whole.degenerate or not whole.has_scatter:
        return None
    ids = whole.rows.id
    gone = [~torch.isin(ids, others.rows.id) for others in left_out if others.rows is not None]
    if not all(which.any() for which in gone):
        return None
    x = whole.rows.values.to(torch.float64)
    worth = len(x) / (1 + (len(x) / len(ids.unique()) - 1) * whole.between_image_share)
    return _Kept(x=x, y=x - whole.mean, gone=gone, scale=float(min(1.0, worth / whole.n_effective) ** 0.5))


def _value(name: str, stats: LayerStats) -> float:
    """Without a status: to know whether a shell is degenerate would take its eigenvalues."""
    try:
        return METRICS[name].function(stats)
    except NoValueError:
        return float("nan")


def _influences(whole: LayerStats) -> dict[str, Influence]:
    always: dict[str, Influence] = {"variance_share": of_variance_share, "stable_rank": of_stable_rank}
    if whole.n_effective < ENTROPY_RANK * whole.channels:
        return always
    return always | {"effective_rank": of_effective_rank, "participation_ratio": of_participation_ratio}


def of_variance_share(whole: LayerStats, y: Tensor) -> Tensor:
    """Of tr Sigma / E|x|^2."""
    trace, energy = whole.variance.sum(), whole.mean_square.sum()
    own, all_of_it = y.square().sum(dim=1), (y + whole.mean).square().sum(dim=1)
    influence: Tensor = (own - trace) / energy - trace / energy**2 * (all_of_it - energy)
    return influence


def of_participation_ratio(whole: LayerStats, y: Tensor) -> Tensor:
    """Of (tr Sigma)^2 / tr Sigma^2."""
    covariance = whole.whole_scatter / whole.n_rows
    trace, square = covariance.trace(), covariance.square().sum()
    along = torch.linalg.vecdot(y @ covariance, y)
    influence: Tensor = 2 * trace**2 / square * ((y.square().sum(dim=1) - trace) / trace - (along - square) / square)
    return influence


def of_stable_rank(whole: LayerStats, y: Tensor, count: int = 1) -> Tensor:
    """Of tr Sigma over the mean of the `count` largest eigenvalues."""
    trace, vectors = whole.variance.sum(), _leading(whole, count)
    own = (y @ vectors).square().mean(dim=1)
    largest = whole.singular_values[:count].square().mean() / whole.n_rows
    influence: Tensor = (y.square().sum(dim=1) - trace) / largest - trace / largest**2 * (own - largest)
    return influence


def of_effective_rank(whole: LayerStats, y: Tensor) -> Tensor:
    """Of exp H(s / sum s), s the square roots of the eigenvalues; directions at the floor have none."""
    values, vectors = torch.linalg.eigh(whole.whole_scatter / whole.n_rows)
    held = values.clamp(min=0).sqrt() > whole.floor / whole.n_rows**0.5
    values, vectors = values[held], vectors[:, held]
    size = values.sqrt()
    share = size / size.sum()
    entropy = torch.special.entr(share).sum()
    slope = -(share.log() + entropy) / (2 * size * size.sum())  # of the entropy in each eigenvalue
    influence: Tensor = entropy.exp() * ((y @ vectors).square() - values) @ slope
    return influence


def _leading(whole: LayerStats, count: int) -> Tensor:
    """(C, count) eigenvectors of the largest eigenvalues."""
    if count > FEW * whole.channels:
        vectors: Tensor = torch.linalg.eigh(whole.whole_scatter).eigenvectors[:, -count:]
        return vectors
    start = torch.ones(whole.channels, dtype=torch.float64).numpy()
    return torch.from_numpy(eigsh(whole.whole_scatter.numpy(), k=count, v0=start)[1])


def _moved(value: float, influence: Tensor, kept: _Kept, sizes: Sequence[int]) -> list[float]:
    """The value without each group, to first order."""
    own, n = influence - influence.mean(), sum(sizes)
    shares = [size / (n - size) for size in sizes]
    return [
        value - kept.scale * share * own[which].mean().item() for which, share in zip(kept.gone, shares, strict=True)
    ]


def _dead_without(whole: LayerStats, kept: _Kept) -> list[float]:
    """A channel that is alive in the kept rows of one group alone is dead without it."""
    least, size = DEAD * whole.mean_square.max().sqrt(), kept.x.abs()
    seen = size.amax(dim=0) > least
    alone = [seen & (size[~which].amax(dim=0) <= least) for which in kept.gone]
    return [(dead(whole) | each).double().mean().item() for each in alone]


def _pairs_without(whole: LayerStats, left_out: Sequence[LayerStats], kept: _Kept) -> list[float]:
    """The centred pair cosine of the kept rows without each group's, around the mean that is left."""
    value, found = _value("pair_cosine_centred", whole), []
    for others, which in zip(left_out, kept.gone, strict=True):
        share = which.double().mean()
        mean = whole.mean - share / (1 - share) * kept.y[which].mean(dim=0)
        found.append(value + kept.scale * (_value("pair_cosine_centred", replace(others, mean=mean)) - value))
    return found
