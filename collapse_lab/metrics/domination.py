"""Domination by few images: does the spread of the rows belong to all of them?"""

from __future__ import annotations

import torch
from torch import Tensor

from collapse_lab.metrics._metric import NoValueError, metric
from collapse_lab.metrics.embedding import kept_rows
from collapse_lab.stats.layer import LayerStats

TOP = 100
"""One image of so many is looked at, and one at least."""

FEWEST_IMAGES = 20
"""On one line, the farthest of 20 normal images has half of the scatter once in 150 samples; of 10, once in 7."""


@metric(
    unit="share of scatter",
    bounds=(0, 1),
    collapse_when="high",
    sees=("dominated",),
    source="scatter around the mean of the images that hold most of it, a hundredth of all or one",
)
def top_images_share(stats: LayerStats) -> float:
    """Share of the kept rows' scatter around the mean of all that a hundredth of their images holds, one at least.

    Near 0.01 when all images spread alike, 1 when one lies far from all others; about 0.1 for tails of Student's t with
    4 degrees. Needs kept rows of 20 images. Where more images were seen than kept, one far away may be missed; if each
    has one row, the fourth moment of all tells of it: no less than sum |y|^4 / (sum |y|^2)^2 belongs to one image.
    """
    kept = kept_rows(stats)
    images, owner = kept.id.unique(return_inverse=True)
    if len(images) < FEWEST_IMAGES:
        raise NoValueError(f"{len(images)} images have kept rows, at least {FEWEST_IMAGES} are needed")
    scatter = (kept.values.to(torch.float64) - stats.mean).square().sum(dim=1)
    by_image = scatter.new_zeros(len(images)).index_add_(0, owner, scatter)
    top = by_image.topk(max(1, len(images) // TOP)).values.sum()
    if not top > 0:
        raise NoValueError("all kept rows lie at the mean")
    return min(1.0, max(float(top / by_image.sum()), _of_one(stats)))


def _of_one(stats: LayerStats) -> float:
    """What one image holds for certain, kept or not; 0 where an image has several rows."""
    total: Tensor = stats.energy.sum()
    return stats.fourth / float(total) ** 2 if stats.n_rows == stats.n_images and total > 0 else 0.0
