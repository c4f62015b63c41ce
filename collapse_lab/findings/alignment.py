"""Whether two arms, or two layers, tell the same images apart in the same way: CKA and mutual nearest neighbours.

Both compare similarities between images, so layers of any two widths can be held against each other, and both are free
of rotation, scale and offset of either. They need kept rows (pooled sites and arrays have them) of the same images.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from itertools import combinations

import pandas as pd
from torch import Tensor

from collapse_lab.capture.ending import FEWEST_IMAGES
from collapse_lab.capture.sites import matches_path
from collapse_lab.capture.store import Capture
from collapse_lab.findings.gram import Gram, LeftOut, aligned, centred
from collapse_lab.findings.pairing import matched_rows
from collapse_lab.findings.uncertainty import jackknife
from collapse_lab.registry import nearest
from collapse_lab.stats.layer import LayerStats


def cka(one: LayerStats, other: LayerStats) -> float:
    """Linear centred kernel alignment of two layers over the same images, debiased; at most 1, about 0 if unrelated.

    HSIC(X, Y) / sqrt(HSIC(X, X) HSIC(Y, Y)), HSIC the unbiased estimator on Gram matrices without their diagonal (Song
    et al., JMLR 2012); CKA: Kornblith et al., ICML 2019; debiased in this form: Nguyen, Raghu & Kornblith, ICLR
    2021. Without it, unrelated rows read 0.8 at n = 64, C = 256. The ratio may be slightly negative. It is 1 for
    layers that are equal but for rotation, scale and offset; it is ruled by the directions of largest variance and
    blind to weak ones. Rows are taken as independent: several positions an image are not, prefer pooled ones.

    NaN where one layer is constant to rounding, or tells all images apart equally. Raises ValueError without kept rows,
    for fewer than 20 common images, or for rows of different positions; see `pairing.matched_rows`.
    """
    layers = (one, other)
    rows, images = matched_rows(layers)
    nothing = LeftOut.nothing(len(images))
    a, b = (Gram.of(x, stats, nothing) for x, stats in zip(rows, layers, strict=True))
    return aligned(a, b, nothing).item()


def knn_overlap(one: LayerStats, other: LayerStats, k: int = 10) -> float:
    """Mutual nearest neighbours: the share of an image's k nearest others that both layers agree on, from 0 to 1.

    Huh et al., ICML 2024, with Euclidean distance in place of cosine, as it does not depend on an offset. Unrelated
    layers agree on k / (n - 1) by chance; the value is for this n and k only. It looks at the nearest only and is blind
    to how far apart they are. Equal distances, as among copies, fall to the order of the images' hash, after rounding.

    NaN where one layer is constant to rounding. Raises ValueError as `cka` does, and unless 1 <= k < n.
    """
    layers = (one, other)
    rows, _ = matched_rows(layers)
    return _overlap(*(_nearest(x, stats, k) for x, stats in zip(rows, layers, strict=True)))


def similarity_table(
    captures: Mapping[str, Capture],
    sites: Iterable[str] = ("**",),
    *,
    positions: str = "pooled",
    k: int = 10,
    most: int = 1024,
) -> pd.DataFrame:
    """`cka` and `knn_overlap` of every two different (arm, site), all on the same images: a row a pair and measure.

    Columns arm, site, other_arm, other_site, positions, measure, value, corrected, low, high, chance (the value for
    unrelated layers), n_images. `sites` are patterns as for a capture, without "class:". The images are those that
    all chosen layers share, and of these the `most` rows (pooled: images) of smallest hash. `cka` has a 95 % interval
    over 16 groups of images (delete-m_j jackknife) from 64 images on; `knn_overlap` has none: with k fixed it depends
    on n, so there is no population value to cover.

    Memory is n x n x 8 bytes a layer. Raises LookupError for a pattern that no capture matches, KeyError for positions
    that were not captured, ValueError for fewer than two layers or as `knn_overlap` does.
    """
    layers = _chosen(captures, [sites] if isinstance(sites, str) else list(sites), positions)
    if len(layers) < 2:
        raise ValueError(f"{len(layers)} layers match; comparing needs two, of one capture or of several")
    rows, images = matched_rows(list(layers.values()), most)
    left = LeftOut.groups(images) if len(images.unique()) >= FEWEST_IMAGES else LeftOut.nothing(len(images))
    near = [_nearest(x, stats, k) for x, stats in zip(rows, layers.values(), strict=True)]
    grams = [Gram.of(x, stats, left) for x, stats in zip(rows, layers.values(), strict=True)]
    found = []
    for (i, (arm, site)), (j, (other_arm, other_site)) in combinations(enumerate(layers), 2):
        where = {"arm": arm, "site": site, "other_arm": other_arm, "other_site": other_site, "positions": positions}
        alike = _with_interval(aligned(grams[i], grams[j], left), left)
        shared = {"value": _overlap(near[i], near[j]), **dict.fromkeys(("corrected", "low", "high"), math.nan)}
        found.append({**where, "measure": "cka", **alike, "chance": 0.0})
        found.append({**where, "measure": "knn_overlap", **shared, "chance": k / (len(images) - 1)})
    return pd.DataFrame(found).assign(n_images=len(images.unique()))


def _chosen(captures: Mapping[str, Capture], patterns: list[str], positions: str) -> dict[tuple[str, str], LayerStats]:
    """(arm, site) -> statistics, of the sites that any pattern matches."""
    names = dict.fromkeys(site for capture in captures.values() for site in capture.sites)
    for pattern in patterns:
        if not any(matches_path(pattern, site) for site in names):
            raise LookupError(f"no captured site matches {pattern!r}{nearest(pattern, names)}")
    return {
        (arm, site): capture[site, positions]
        for arm, capture in captures.items()
        for site in capture.sites
        if any(matches_path(pattern, site) for pattern in patterns)
    }


def _with_interval(values: Tensor, left: LeftOut) -> dict[str, float]:
    whole, *others = values.tolist()
    estimate = jackknife(whole, others, left.sizes)
    ends = zip(("corrected", "low", "high"), (estimate.corrected, *estimate.interval()), strict=True)
    return {"value": whole, **{name: math.nan if math.isnan(end) else min(1.0, max(-1.0, end)) for name, end in ends}}


def _nearest(rows: Tensor, stats: LayerStats, k: int) -> Tensor | None:
    """(n, k) the nearest other rows of each, by Euclidean distance; None for a constant layer."""
    if not 1 <= k < len(rows):
        raise ValueError(f"k must be at least 1 and less than the {len(rows)} common rows, got {k}")
    y = centred(rows, stats)
    if y is None:
        return None
    distance = y.square().sum(dim=1) - 2 * (y @ y.T)  # (n, n); a row's own square changes no order within the row
    return distance.fill_diagonal_(math.inf).argsort(dim=1, stable=True)[:, :k]


def _overlap(one: Tensor | None, other: Tensor | None) -> float:
    if one is None or other is None:
        return math.nan
    return (one[:, :, None] == other[:, None, :]).any(dim=2).double().mean().item()
