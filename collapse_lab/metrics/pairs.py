"""What pairs of kept rows say: copies, spread over the sphere, clusters, and how near two views of an image lie.

No streaming sum serves them. Rows are kept of pooled sites and of arrays, at most 4,096, those of smallest hash; a site
without them gets no value. What needs all pairs takes the first 1,024 of these: any such part is a fair sample.
"""

from __future__ import annotations

import torch
from torch import Tensor

from collapse_lab.metrics._metric import NoValueError, metric
from collapse_lab.metrics.embedding import AT_ONCE, in_float64, kept_rows
from collapse_lab.stats.latest import latest
from collapse_lab.stats.layer import LayerStats
from collapse_lab.stats.sample import KeptRows

MOST_PAIRED = 1024
"""Rows of which all pairs are formed: half a million pairs, at C operations each."""

SHARPNESS = 2.0
"""t of the Gaussian potential exp(-t |z - z'|^2)."""

ISOLA = "Wang & Isola, ICML 2020"


@latest
def _cosines(stats: LayerStats) -> Tensor:
    """(n (n - 1) / 2,) cosines between the first n <= 1,024 kept rows that have a direction, each pair once."""
    x = kept_rows(stats).values[:MOST_PAIRED].to(torch.float64)
    length = x.norm(dim=1)
    z = x[length > 0] / length[length > 0, None]
    if len(z) < 2:
        raise NoValueError(f"{len(z)} kept rows have a direction, at least 2 are needed")
    pairs = []
    for start in range(0, len(z), AT_ONCE):  # whole products of all rows would form each pair twice
        gram = z[start : start + AT_ONCE] @ z[start:].T
        pairs.append(gram[torch.ones_like(gram, dtype=torch.bool).triu(1)])
    return torch.cat(pairs).clamp(-1, 1)


@metric(
    unit="share of kept rows",
    bounds=(0, 1),
    collapse_when="high",
    sees=("complete",),
    source="kept rows no further than rounding from a row of another image",
    rows="as they are",
    on_constant=1.0,
)
def duplicate_share(stats: LayerStats) -> float:
    """Kept rows that coincide with a row of another image: at a distance that rounding of the data explains.

    Sees what a spectrum hardly does: half of the images alike leave an effective rank of 55 of 64. Two photographs of
    one thing are no copies. Needs kept rows of two images; where more images were seen than rows are kept, copies that
    were not kept are missed. 1 for a constant layer.
    """
    kept = kept_rows(stats)
    if len(kept.id.unique()) < 2:
        raise NoValueError("the kept rows come from fewer than 2 images")
    return _copied(kept, 2 * stats.noise * stats.channels**0.5).double().mean().item()


def _copied(kept: KeptRows, nearest: float) -> Tensor:
    """(m,) bool: a row of another image lies within `nearest`.

    Rows are compared in the order of a projection onto a fixed random direction, which no distance exceeds: with the
    next row, the next but one, and so on while any such pair could still be near.
    """
    along = torch.randn(kept.values.shape[1], generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    along /= along.norm()
    place, order = torch.cat([part @ along for part in in_float64(kept.values)]).sort(stable=True)
    x, owner = kept.values[order], kept.id[order]
    slack = nearest + 1e-14 * float(place.abs().max())  # rounding of the projection itself
    copied = torch.zeros(len(place), dtype=torch.bool)
    for step in range(1, len(place)):
        near = (place[step:] - place[:-step] <= slack) & ~(copied[step:] & copied[:-step])
        if not near.any():
            break
        left = (near & (owner[step:] != owner[:-step])).nonzero()[:, 0]
        apart = x[left].to(torch.float64) - x[left + step].to(torch.float64)
        same = left[apart.norm(dim=1) <= nearest]
        copied[same] = copied[same + step] = True
    return copied


@metric(
    unit="log of a mean potential",
    bounds=(-4 * SHARPNESS, 0),
    collapse_when="high",
    sees=("complete", "mean"),
    source=f"{ISOLA}: log E exp(-2 |z - z'|^2)",
    rows="unit length",
    on_constant="computed",
)
def uniformity(stats: LayerStats) -> float:
    """Logarithm of the mean of exp(-2 |z - z'|^2) over pairs of different kept rows of unit length.

    0 when all rows point one way; about -4 for directions spread evenly in many dimensions, -8 only for two opposite
    rows. Nearly blind to dimensional collapse: rank 8 of 64 already reads -3.1. Needs kept rows, of which it takes at
    most 1,024; zero rows are left out.
    """
    squared = 2 - 2 * _cosines(stats)
    return min(0.0, (-SHARPNESS * squared).exp().mean().log().item())


@metric(
    unit="relative squared cosine",
    bounds=(-1, 1),
    collapse_when="high",
    sees=("complete", "dimensional", "mean"),
    source="Tsitsulin, Munkhoeva & Perozzi, arXiv 2305.16562 (SelfCluster)",
    rows="unit length",
    on_constant="computed",
)
def self_cluster(stats: LayerStats) -> float:
    """Mean squared cosine between different kept rows, from 0, its value for even directions (1 / C), to 1.

    (C m - 1) / (C - 1) with m that mean, the same as (C |Z Z'|^2 - n (C + n - 1)) / ((C - 1) (n - 1) n) of the paper.
    1 when all rows lie on one line through zero, near 1 / k for k even directions; down to -1 / (C - 1) when rows are
    more at right angles than chance makes them. Needs kept rows, of which it takes at most 1,024, and two channels;
    zero rows are left out.
    """
    if stats.channels < 2:
        raise NoValueError("rows of one channel have no angle")
    channels = stats.channels
    return (channels * _cosines(stats).square().mean().item() - 1) / (channels - 1)


def alignment(one: LayerStats, other: LayerStats) -> float:
    """Mean squared distance |z - z'|^2 between the unit-length rows of two views of the same images.

    Wang & Isola, ICML 2020, with exponent 2. 0 when both views of every image point one way, 2 for unrelated
    directions, 4 for opposite ones. Low is wanted, and complete collapse has 0: read it beside `uniformity`. Takes the
    images that both kept, one row each (positions "pooled", or one position an image); an image with a zero row has no
    direction and is left out. A function of two statistics is no entry of a table. Raises ValueError for different
    channels, no rows kept, several of one image, or no image in common.
    """
    if one.channels != other.channels:
        raise ValueError(f"views of {one.channels} and of {other.channels} channels have no distance")
    left, right = _by_image(one), _by_image(other)
    common = sorted(left.keys() & right.keys())
    if not common:
        raise ValueError("the two views kept no image in common; give both the same ids")
    x, y = (torch.stack([view[image] for image in common]) for view in (left, right))
    apart = x.norm(dim=1).gt(0) & y.norm(dim=1).gt(0)
    if not apart.any():
        raise ValueError("no common image has a direction in both views: its rows are zero")
    z, w = (view[apart] / view[apart].norm(dim=1, keepdim=True) for view in (x, y))
    return float((z - w).square().sum(dim=1).mean())


def _by_image(stats: LayerStats) -> dict[int, Tensor]:
    if stats.rows is None:
        raise ValueError("no rows were kept of a view; use positions 'pooled' or keep_rows")
    images = stats.rows.id.tolist()
    if len(set(images)) < len(images):
        raise ValueError("a view kept several rows of one image; use positions 'pooled'")
    return dict(zip(images, stats.rows.values.to(torch.float64), strict=True))
