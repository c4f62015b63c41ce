"""What the spectrum of the same channels would be if they did not go together: the channel-shuffled null.

Shuffling each channel over the rows leaves its variance exactly and destroys every covariance. From second moments
alone that is a Wishart matrix of the diagonal covariance, with as many independent rows as the statistics are worth,
every channel scaled to the variance it has: what normal channels without correlation have, given their variances.

Wide layers are drawn in blocks. With the channels in order of variance, block b of B takes the channels b, b + B, ...
and 1 / B of the rows. Blocks have the variances and the channels-to-rows ratio of the whole, and so its limiting
spectrum (Marchenko & Pastur 1967; Silverstein 1995); the union of their eigenvalues is one draw.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from collapse_lab.metrics._metric import NoValueError, metric
from collapse_lab.metrics.spectrum import effective_rank, exp_entropy
from collapse_lab.stats.latest import latest
from collapse_lab.stats.layer import LayerStats

Array = np.ndarray[Any, Any]

SEED = 0
STARVED = 1e-3

WHOLE = 128
"""Channels or rows, whichever are fewer, that are drawn as one matrix: exact."""

BLOCK = 64
"""Of wider ones, those of a block, up to twice as many. Such matrices are decomposed by one thread, without waiting."""

MATRICES = 20
"""How many matrices are decomposed for one null, and how many of 128 x 128 random numbers are drawn, where that leaves
one draw."""


@dataclass(frozen=True, kw_only=True)
class Null:
    """`eigenvalues` (draws, C) of the covariance, each draw descending."""

    eigenvalues: Tensor

    @property
    def mean(self) -> Tensor:
        """(C,) average of the eigenvalues of one rank over the draws."""
        return self.eigenvalues.mean(dim=0)

    @property
    def effective_rank(self) -> float:
        """Average over the draws."""
        return sum(map(exp_entropy, self.eigenvalues.sqrt())) / len(self.eigenvalues)


@latest
def shuffled_null(stats: LayerStats) -> Null:
    """The null of these statistics at n_effective - 1 rows, from a fixed seed.

    20 draws where the layer is no wider than 128, fewer of wider ones, whose spectrum varies less; one from C = 1,280
    on. Measured against 20 whole matrices (4 at C = 1,024) at C = 128, 512 and 1,024 and 0.25, 1, 5 and 20 effective
    rows a channel, of equal, power-law (exponents .5, 1, 2) and log-normal (sigma 2) variances and of one channel of
    1e6 among ones: effective rank within 0.5 %, `starved_directions` within .005. Matrices whose variances waver as
    well, by sqrt(2 / n), are within 1 %, but for 3.5 % where one channel of 1e6 wavers in 256 rows. It costs 4 % of one
    eigendecomposition at C = 1,024, less of wider ones.
    """
    random = np.random.default_rng(SEED)
    variance = stats.variance.sort(descending=True).values.numpy()
    degrees, channels = max(1.0, stats.n_effective - 1), len(variance)
    narrow = min(degrees, channels)
    blocks = 1 if narrow <= WHOLE else int(narrow // BLOCK)
    numbers = channels * narrow / blocks
    draws = max(1, min(MATRICES // blocks, int(MATRICES * WHOLE**2 / numbers)))
    return Null(eigenvalues=torch.stack([_draw(variance, degrees, blocks, random) for _ in range(draws)]))


def _draw(variance: Array, degrees: float, blocks: int, random: np.random.Generator) -> Tensor:
    """(C,) eigenvalues of the union of the blocks, descending."""
    found, taken, channels = [], 0.0, len(variance)
    for block in range(blocks):
        own = variance[block::blocks]
        rows = degrees * len(own) / channels
        # Few rows are whole ones: rounded so that those of all blocks sum to those of the layer.
        whole = max(1, round(taken + rows) - round(taken))
        found.append(_eigenvalues(own, rows if degrees >= channels else whole, random))
        taken += rows
    values = torch.cat(found).sort(descending=True).values
    return torch.cat([values, values.new_zeros(channels - len(values))])


def _eigenvalues(variance: Array, degrees: float, random: np.random.Generator) -> Tensor:
    """Those that need not be zero, of one Wishart matrix with this diagonal: Bartlett's triangle, or rows where they
    are few."""
    channels = len(variance)
    if degrees < channels:
        factor = random.standard_normal((channels, int(degrees)))
    else:
        factor = np.tril(random.standard_normal((channels, channels)), -1)
        factor[np.diag_indices(channels)] = np.sqrt(random.chisquare(degrees - np.arange(channels)))
    factor *= (np.sqrt(variance) / np.linalg.norm(factor, axis=1))[:, None]
    narrow = factor @ factor.T if factor.shape[0] <= factor.shape[1] else factor.T @ factor
    values: Tensor = torch.linalg.eigvalsh(torch.from_numpy(narrow)).clamp(min=0)
    return values


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
    null = shuffled_null(stats).mean
    possible = null > null[0] * 1e-12
    if not possible.any():
        raise NoValueError("the null has no variance in any direction")
    held = stats.singular_values.square() / stats.n_rows
    return (held[possible] < STARVED * null[possible]).double().mean().item()
