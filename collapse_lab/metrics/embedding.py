"""Complete collapse and dominance of the mean: do different images still get different rows?"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from collapse_lab.metrics._metric import NoValueError, metric
from collapse_lab.stats.layer import LayerStats
from collapse_lab.stats.sample import KeptRows

AT_ONCE = 256
"""Kept rows that are looked at together in float64: a processor's cache holds them, memory need not hold all twice."""


@metric(
    unit="share",
    bounds=(0, 1),
    collapse_when="low",
    sees=("complete", "mean"),
    source="tr Sigma / E|x|^2",
    rows="centred and as they are",
    on_constant=0.0,
)
def variance_share(stats: LayerStats) -> float:
    """Share of the rows' energy that varies; the rest is the mean. 0 for a constant or an all-zero layer.

    The only one here that sees a constant plus small noise, whose centred spectrum looks healthy.
    """
    return (stats.variance.sum() / stats.mean_square.sum()).item()


@metric(
    unit="share",
    bounds=(0, 1),
    collapse_when="low",
    sees=("complete",),
    source="variance of the images' mean rows over E|x|^2, of all positions",
    rows="all positions, as they are",
    on_constant=0.0,
)
def image_variance_share(stats: LayerStats) -> float:
    """Share of the energy of all positions that tells images apart once each is pooled; 0 where rounding explains it.

    Every present position counts, whatever the rows are. Independent positions, P of an image, leave 1 / P of what
    varies; images that show the same positions in another order leave nothing, though all their rows vary. Pooled rows
    alone cannot say so: next to their own size, rounding looks like data. Needs two images with two positions; with one
    position an image, see `variance_share`.
    """
    sums = stats.images
    if sums.n_spread < 2:
        raise NoValueError("fewer than two images have two positions")
    between = sums.between / sums.n_spread
    energy = between + sums.spread / sums.n_spread + float(sums.mean.square().sum())
    if energy <= 0:
        raise NoValueError("every row is zero")
    share, rounding = between / energy, stats.channels * (0.3 * stats.eps) ** 2
    return share if share > rounding else 0.0


@metric(
    unit="relative deviation",
    bounds=(0, 1),
    collapse_when="low",
    sees=("complete", "mean"),
    source="Chen & He, CVPR 2021, section 4.1",
    rows="unit length",
    on_constant=0.0,
)
def embedding_std(stats: LayerStats) -> float:
    """Mean over channels of the deviation of unit-length rows, times sqrt(C): 1 for a uniform direction, 0 when
    all rows point one way. Blind to dimensional collapse: rank 3 of 64 still reads 0.92. Zero rows are left out; 0
    for a constant or an all-zero layer. Cancellation leaves about 1e-8 where rows differ in length only.
    """
    if stats.n_units < 2:
        raise NoValueError(f"{stats.n_units} rows have a direction, at least 2 are needed")
    mean = stats.unit_sum / stats.n_units
    variance = (stats.unit_squares / stats.n_units - mean.square()).clamp(min=0)
    return float(variance.sqrt().mean() * stats.channels**0.5)


@metric(
    unit="cosine",
    bounds=(-1, 1),
    collapse_when="high",
    sees=("complete", "mean"),
    source="(|sum of unit rows|^2 - n) / (n (n - 1))",
    rows="unit length",
    on_constant="computed",
)
def pair_cosine_raw(stats: LayerStats) -> float:
    """Mean cosine between two different rows. Near 1 when one common direction dominates. Zero rows are left out."""
    n = stats.n_units
    if n < 2:
        raise NoValueError(f"{n} rows have a direction, at least 2 are needed")
    return min(1.0, (stats.unit_sum.square().sum().item() - n) / (n * (n - 1)))


@metric(
    unit="cosine",
    bounds=(-1, 1),
    collapse_when="high",
    sees=("dominated", "mean"),
    source="pair_cosine_raw of kept rows less the mean of all rows",
    rows="centred, unit length",
)
def pair_cosine_centred(stats: LayerStats) -> float:
    """Mean cosine between two different rows once the mean of all rows is taken off: near 0 when directions are
    balanced, above when most rows lean to one side of a mean that few rows hold up.

    Needs kept rows (pooled sites and arrays have them): unit lengths around a mean cannot be summed before that mean
    is known. At most 4,096 of them, those of smallest hash.
    """
    smallest = stats.noise * stats.channels**0.5
    n, total = 0, torch.zeros_like(stats.mean)
    for part in in_float64(kept_rows(stats).values):
        y = part - stats.mean
        length = y.norm(dim=1)
        apart = length > smallest
        n += int(apart.sum())
        total += torch.where(apart, 1 / length, 0.0) @ y
    if n < 2:
        raise NoValueError(f"{n} kept rows differ from the mean, at least 2 are needed")
    return min(1.0, (float(total @ total) - n) / (n * (n - 1)))


def kept_rows(stats: LayerStats) -> KeptRows:
    """The kept rows; raises NoValueError where none were kept."""
    if stats.rows is None:
        raise NoValueError("no rows were kept of this site; use positions 'pooled' or keep_rows")
    return stats.rows


def in_float64(rows: Tensor) -> Iterator[Tensor]:
    """The rows in order, AT_ONCE at a time."""
    for part in rows.split(AT_ONCE):
        yield part.to(torch.float64)


def labelled_rows(stats: LayerStats) -> tuple[Tensor, Tensor]:
    """The kept rows that have a label (m, C), as they were kept, and the place (m,) of each one's class among the
    classes, ascending.

    Raises NoValueError without kept rows, or with fewer than two classes or two labelled rows a class on average.
    """
    kept = kept_rows(stats)
    labelled = kept.label >= 0
    classes, place = kept.label[labelled].unique(return_inverse=True)
    if len(classes) < 2 or len(place) < 2 * len(classes):
        raise NoValueError(
            f"{len(place)} kept rows have labels of {len(classes)} classes; at least 2 classes are needed, "
            f"and 2 rows a class: give labels with the images"
        )
    return kept.values if labelled.all() else kept.values[labelled], place


@metric(
    unit="share of variance",
    bounds=(0, 1),
    collapse_when=None,
    sees=(),
    source="between-class over total scatter of kept rows",
)
def class_variance_share(stats: LayerStats) -> float:
    """How much of the variance the labels explain: a low rank made of classes is structure, not collapse.

    Needs kept rows with labels of at least two classes, and two rows a class on average: labels that are nearly the
    images' names explain everything. By chance about (classes - 1) / (rows - 1).
    """
    x, place = labelled_rows(stats)
    mean = torch.stack([part.sum(dim=0) for part in in_float64(x)]).sum(dim=0) / len(x)
    count = place.bincount().double()
    sums, total = mean.new_zeros(len(count), len(mean)), 0.0
    for part, own in zip(in_float64(x), place.split(AT_ONCE), strict=True):
        y = part - mean
        sums.index_add_(0, own, y)
        total += float(y.flatten() @ y.flatten())
    if total <= 0:
        raise NoValueError("all labelled rows are the same")
    return min(1.0, float((sums.square().sum(dim=1) / count).sum()) / total)
