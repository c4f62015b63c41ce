"""Whether kept rows stand in tight clusters: structure by class that no label told of.

A mean silhouette above 0.5 does not show it. The halves of one normal line reach 0.56, those of a uniform one 0.63, and
the three farthest rows of a long tail, cut off from the rest, 0.8: low rank would pass for classes. What these lack is
a gap between the parts, so the rows next to a gap decide here, not the average row.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from torch import Tensor

from collapse_lab.metrics._metric import NoValueError, metric
from collapse_lab.metrics.embedding import kept_rows
from collapse_lab.stats.layer import LayerStats

MOST_CLUSTERED = 512
"""Rows of which all distances are formed, some 30 ms; classes of 10 rows each where there are 50."""

MOST_CLUSTERS = 50
SMALLEST = 5
"""Rows of a cluster; fewer are strays, which any tail has."""

STRAYS = 0.05
BORDER = 0.1
"""Of a cluster's size, so many rows may lie between it and its neighbours before the gap is none."""


@metric(
    unit="silhouette",
    bounds=(-1, 1),
    collapse_when=None,
    sees=(),
    source="silhouettes (Rousseeuw 1987) of Ward's clusters (1963), the worst tenth next to any gap",
    rows="centred",
)
def cluster_silhouette(stats: LayerStats) -> float:
    """How far the kept rows stand in 2 to 50 tight clusters with gaps between: above 0.5 they do.

    For a division into clusters and each cluster, take its rows and those whose nearest other cluster it is, and leave
    out the lowest, a tenth of the cluster's size: the smallest silhouette left. The worst cluster counts, and the best
    number of clusters. A silhouette is (b - a) / max(a, b) with a, b a row's mean distances to its own and to the
    nearest other cluster. Normal rows of any rank, long tails and rectified values stay below 0.4; classes with a
    twentieth of the variance inside them reach 0.6. Clusters of fewer than 5 rows are strays, left out up to 5 % of
    the rows.

    Needs 20 kept rows, of which it takes at most 512: classes of a hundredth of the images or less are not seen.
    """
    x = kept_rows(stats).values[:MOST_CLUSTERED].to(torch.float64) - stats.mean
    if len(x) < 4 * SMALLEST:
        raise NoValueError(f"{len(x)} kept rows, at least {4 * SMALLEST} are needed to see clusters")
    if torch.equal(x, x[:1].expand_as(x)):
        raise NoValueError("all kept rows are the same")
    distance = torch.cdist(x, x, compute_mode="use_mm_for_euclid_dist")  # of centred rows: no offset to lose digits to
    distance.fill_diagonal_(0)
    labels = _divisions(distance / distance.max())
    finest, first = np.unique(labels[-1], return_index=True)
    total = distance @ (torch.from_numpy(labels[-1])[:, None] == torch.from_numpy(finest)).to(distance.dtype)
    return max(_gaps(total, torch.from_numpy(label), torch.from_numpy(label[first])) for label in labels)


def _divisions(distance: Tensor) -> list[NDArray[np.int64]]:
    """(n,) the cluster of each row, for 2 clusters, 3, and so on, by Ward's merging: each lies inside those before."""
    tree = linkage(squareform(distance.numpy(), checks=False), "ward")
    most = min(MOST_CLUSTERS, len(distance) // SMALLEST)
    return [fcluster(tree, count, "maxclust").astype(np.int64) - 1 for count in range(2, most + 1)]


def _gaps(total: Tensor, label: Tensor, parent: Tensor) -> float:
    """The smallest silhouette next to a gap of one division, `label` (n,); -1 where it leaves fewer than two clusters.

    `total` (n, f) sums each row's distances to the f clusters of the finest division, which lie in `parent` (f,).
    """
    count = label.bincount()
    proper = (count >= SMALLEST).nonzero()[:, 0]
    member = label[:, None] == proper  # (n, k); a stray is in none
    kept = member.any(dim=1)
    if len(proper) < 2 or (~kept).double().mean() > STRAYS:
        return -1.0
    summed = total.new_zeros(len(total), len(count)).index_add_(1, parent, total)[:, proper]
    silhouette, neighbour = silhouettes(summed[kept], member[kept])
    lowest = silhouette.argsort()
    beside = (member[kept] | (neighbour[:, None] == torch.arange(len(proper))))[lowest]  # in ascending order
    enough = beside.cumsum(dim=0) > (BORDER * count[proper]).long()
    return float(silhouette[lowest][enough.int().argmax(dim=0)].min())


def silhouettes(summed: Tensor, member: Tensor) -> tuple[Tensor, Tensor]:
    """(n,) silhouette and (n,) nearest other cluster of each row; `summed` (n, k) its distances to the rows of each
    cluster, `member` (n, k) bool its own, of 2 rows or more. A row that coincides with both clusters has 0.
    """
    mean = summed / (member.sum(dim=0) - member.long())  # a row itself does not count
    own = mean.masked_fill(~member, 0.0).sum(dim=1)
    other, neighbour = mean.masked_fill(member, torch.inf).min(dim=1)
    larger = torch.maximum(own, other)
    return torch.where(larger > 0, (other - own) / larger, 0.0), neighbour
