"""Which directions chance cannot make: eigenvalues beyond the edge that unrelated channels reach."""

from __future__ import annotations

from collapse_lab.metrics._metric import NoValueError, metric
from collapse_lab.metrics.channels import FEWEST_ROWS
from collapse_lab.stats.layer import LayerStats

ONE_IN_A_HUNDRED = 2.0234
"""What a variable of Tracy and Widom's first law exceeds once in a hundred times (Johnstone 2001, table 1)."""


def chance_edges(stats: LayerStats) -> tuple[float, float]:
    """Between which the eigenvalues of the correlation matrix lie if no channel goes with another, for many rows.

    (1 - sqrt(M / n))^2, or 0 where there are no more rows than channels, and (1 + sqrt(M / n))^2 (Marchenko & Pastur
    1967, unit variance), with M channels that vary and n the rows less one for the mean. For independent rows only: one
    an image. Raises NoValueError for several rows an image, fewer than 10, or fewer than two channels that vary.
    """
    if stats.n_rows != stats.n_images:
        raise NoValueError("rows of one image are not independent; use positions 'pooled' or 'sampled:1'")
    if stats.n_rows < FEWEST_ROWS:
        raise NoValueError(f"{stats.n_rows} rows, at least {FEWEST_ROWS} are needed")
    channels = int(stats.moving.sum())
    if channels < 2:
        raise NoValueError(f"{channels} channels vary, at least 2 are needed")
    root = (channels / (stats.n_rows - 1)) ** 0.5
    return max(0.0, 1 - root) ** 2, (1 + root) ** 2


def _fluctuation(stats: LayerStats) -> float:
    """The scale of Johnstone (Annals of Statistics 29, 2001): how far the largest eigenvalue strays from the edge."""
    rows, width = (stats.n_rows - 1) ** 0.5, int(stats.moving.sum()) ** 0.5
    return float((rows + width) * (1 / rows + 1 / width) ** (1 / 3) / (stats.n_rows - 1))


@metric(
    unit="directions",
    bounds=(0, "channels"),
    collapse_when=None,
    sees=(),
    source="Marchenko & Pastur 1967, with the fluctuation of Johnstone, Annals of Statistics 29, 2001",
    rows="centred, channels at unit variance",
)
def directions_above_chance(stats: LayerStats) -> float:
    """Eigenvalues of the channels' correlation matrix that are larger than those of unrelated channels.

    0 for unrelated channels, k for k strong shared directions; copies of one channel are one direction. It says how
    many directions the channels share and judges nothing: a collapsed layer has few, a healthy one of unrelated
    channels none. Larger means beyond the upper edge of `chance_edges` by what the largest of finitely many strays from
    it, of order n^(-2/3): normal channels pass it in fewer than 1 of 100 layers. Channels that fire on a few rows only
    do by chance: of 400 that fire on 2 % of 200 rows one passes in three of four layers. A direction whose eigenvalue
    in the population is below 1 + sqrt(C / n) cannot be told from chance (Baik, Ben Arous & Péché 2005).
    No value but for one row an image (pooled or sampled:1), 10 of them and two channels that vary.
    """
    _, upper = chance_edges(stats)
    edge = upper + ONE_IN_A_HUNDRED * _fluctuation(stats)
    return float((stats.correlation_singular_values.square() > edge).sum())
