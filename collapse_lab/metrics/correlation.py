"""Covariance of channels over rows: redundancy across images, and what VICReg and Barlow Twins penalise."""

from __future__ import annotations

from torch import Tensor

from collapse_lab.metrics._metric import ENTROPY_RANK, NoValueError, metric
from collapse_lab.metrics.channels import FEWEST_ROWS
from collapse_lab.metrics.spectrum import exp_entropy
from collapse_lab.stats.layer import LayerStats

GAMMA, EPSILON = 1.0, 1e-4
"""Deviation that VICReg asks of every channel, and what it adds to the variance under the root (its section 4.1)."""

VICREG = "Bardes, Ponce & LeCun, ICLR 2022"


def _two_moving(stats: LayerStats) -> int:
    count = int(stats.moving.sum())
    if count < 2:
        raise NoValueError(f"{count} channels vary, at least 2 are needed")
    return count


def _sample_variance(stats: LayerStats) -> Tensor:
    """(C,) divided by n - 1, as VICReg has it."""
    return stats.energy / (stats.n_rows - 1)


@metric(
    unit="squared correlation",
    bounds=(-1 / (FEWEST_ROWS - 1), 1),
    collapse_when="high",
    sees=("redundant", "dimensional"),
    source="Zbontar et al., ICML 2021 (Barlow Twins), of one view, less its expectation",
)
def correlation_offdiagonal(stats: LayerStats) -> float:
    """Mean over pairs of different channels of their squared Pearson correlation, less 1 / (n - 1), n effective rows.

    Independent normal channels reach 1 / (n - 1), so 0 means unrelated and a little below is chance; near 1 when all
    are copies up to sign and scale. Channels that do not vary are left out. A few copies among many channels hardly
    move it: see `redundant_channels`. No value under 2 channels that vary or 10 effective rows.
    """
    count, n = _two_moving(stats), stats.n_effective
    if n < FEWEST_ROWS:
        raise NoValueError(f"{n:.1f} effective rows correlate by chance, at least {FEWEST_ROWS} are needed")
    squares = stats.correlation.square()
    squares.fill_diagonal_(0)
    return min(1.0, squares.sum().item() / (count * (count - 1))) - 1 / (n - 1)


@metric(
    unit="dimensions",
    bounds=(1, "channels"),
    collapse_when="low",
    sees=("redundant", "dimensional"),
    source="Roy & Vetterli, EUSIPCO 2007, of channels at unit variance",
    rows="centred, channels at unit variance",
    biased_below=ENTROPY_RANK,
)
def effective_rank_correlation(stats: LayerStats) -> float:
    """`effective_rank` once every channel that varies has unit variance: exponential of the entropy of the square
    roots of the correlation matrix's eigenvalues.

    Equal to `effective_rank` where the channels vary alike; blind to channels of unequal size, which pull that one
    down, and to dead ones, which are left out. No value under 2 channels that vary.
    """
    _two_moving(stats)
    return exp_entropy(stats.correlation_singular_values)


@metric(
    unit="activation",
    bounds=(0, GAMMA),
    collapse_when="high",
    sees=("complete", "dead"),
    source=f"{VICREG}, equation 1: gamma 1, epsilon 1e-4",
    on_constant="computed",
)
def vicreg_std(stats: LayerStats) -> float:
    """VICReg's variance term: mean over channels of max(0, 1 - sqrt(variance + 1e-4)), variance divided by n - 1.

    0 when every channel deviates by 1 or more, 0.99 for a constant layer. In units of the activations: it judges
    embeddings that were trained for it, of others it says how large they are. Blind to dimensional collapse.
    """
    return (GAMMA - (_sample_variance(stats) + EPSILON).sqrt()).clamp(min=0).mean().item()


@metric(
    unit="squared activation, squared",
    bounds=(0, None),
    collapse_when="high",
    sees=("redundant", "dimensional"),
    source=f"{VICREG}, equation 3",
)
def vicreg_covariance(stats: LayerStats) -> float:
    """VICReg's covariance term: sum over pairs of different channels of their squared covariance (divided by n - 1),
    over the number of channels.

    0 when no two channels vary together. In the fourth power of the activations, so two layers compare only at equal
    scale: a layer that shrinks reads low. A constant layer has no value.
    """
    squares = (stats.whole_scatter / (stats.n_rows - 1)).square_()
    squares.fill_diagonal_(0)
    return squares.sum().item() / stats.channels
