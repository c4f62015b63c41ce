"""What the spectrum of the same channels would be if they did not go together: the channel-shuffled null.

Shuffling each channel over the rows leaves its variance and destroys every covariance. From second moments alone that
is the diagonal covariance sampled with as many independent rows as the statistics are worth (a Wishart matrix).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from collapse_lab.metrics._metric import NoValueError, metric
from collapse_lab.metrics.spectrum import effective_rank, exp_entropy
from collapse_lab.stats.layer import LayerStats

DRAWS = 20
SEED = 0
STARVED = 1e-3


@dataclass(frozen=True, kw_only=True)
class Null:
    """Means over the draws: `eigenvalues` (C,) of the covariance, descending, and `effective_rank`."""

    eigenvalues: Tensor
    effective_rank: float


@lru_cache(maxsize=1)
def shuffled_null(stats: LayerStats) -> Null:
    """The null of these statistics, from DRAWS Wishart matrices of n_effective - 1 degrees and a fixed seed."""
    random = np.random.default_rng(SEED)
    degrees = max(1.0, stats.n_effective - 1)
    drawn = [_eigenvalues(stats.variance, degrees, random) for _ in range(DRAWS)]
    ranks = [exp_entropy(values.sqrt()) for values in drawn]
    return Null(eigenvalues=torch.stack(drawn).mean(dim=0), effective_rank=sum(ranks) / len(ranks))


def _eigenvalues(variance: Tensor, degrees: float, random: np.random.Generator) -> Tensor:
    """Of one Wishart(diag(variance), degrees) over its degrees: Bartlett's triangle, or rows where they are few."""
    channels = len(variance)
    if degrees < channels:
        factor = random.standard_normal((channels, max(1, round(degrees))))
    else:
        factor = np.tril(random.standard_normal((channels, channels)), -1)
        factor[np.diag_indices(channels)] = np.sqrt(random.chisquare(degrees - np.arange(channels)))
    scaled = variance.sqrt()[:, None] * torch.from_numpy(factor)
    values = torch.linalg.eigvalsh(scaled @ scaled.T if scaled.shape[0] <= scaled.shape[1] else scaled.T @ scaled)
    full = torch.zeros(channels, dtype=torch.float64)
    full[: len(values)] = values.flip(0).clamp(min=0) / degrees
    return full


@metric(
    unit="share of the null",
    bounds=(0, None),
    collapse_when="low",
    sees=("dimensional",),
    source="effective_rank over its mean in the channel-shuffled null",
)
def effective_rank_null_share(stats: LayerStats) -> float:
    """Effective rank as a share of what the same channel variances reach without any correlation, at equal n.

    1 for independent channels of any scales; a sampled null wavers by a few percent.
    """
    return effective_rank(stats) / shuffled_null(stats).effective_rank


@metric(
    unit="share of directions",
    bounds=(0, 1),
    collapse_when="high",
    sees=("dimensional",),
    source="directions with less than 1e-3 of the variance of the channel-shuffled null",
)
def starved_directions(stats: LayerStats) -> float:
    """Directions that hold less than a thousandth of the variance the null gives the direction of the same rank.

    Only directions that the null itself can fill count: channels without variance and too few rows starve it as well.
    """
    null = shuffled_null(stats).eigenvalues
    possible = null > null[0] * 1e-12
    if not possible.any():
        raise NoValueError("the null has no variance in any direction")
    held = stats.singular_values.square() / stats.n_rows
    return (held[possible] < STARVED * null[possible]).double().mean().item()
