"""Oversmoothing: do the positions of one image still differ? Every present position counts, whatever the rows are."""

from __future__ import annotations

from collapse_lab.metrics._metric import NoValueError, metric
from collapse_lab.stats.layer import LayerStats


@metric(
    unit="cosine",
    bounds=(-1, 1),
    collapse_when="high",
    sees=("spatial", "mean"),
    source="mean cosine of an image's positions, averaged over images",
    rows="unit length",
    on_constant="computed",
)
def position_cosine_raw(stats: LayerStats) -> float:
    """Mean cosine between two positions of one image; a common offset alone brings it near 1. Zero rows left out."""
    if not stats.images.n_positions:
        raise NoValueError("no image has two positions with a direction")
    return min(1.0, stats.images.positions / stats.images.n_positions)


@metric(
    unit="cosine",
    bounds=(-1, 1),
    collapse_when="high",
    sees=("spatial",),
    source="ratio of means over pairs of positions: an intra-class correlation (Shrout & Fleiss 1979)",
)
def position_cosine_centred(stats: LayerStats) -> float:
    """Cosine between two positions of one image less the mean of all images, as a ratio of means over images:
    mean of y_p . y_q over mean of |y_p|^2. 1 when every image is the same everywhere, about 0 when its positions are
    as different as those of different images. Needs two images with two positions.
    """
    sums = stats.images
    if sums.n_spread < 2:
        raise NoValueError("fewer than two images have two positions")
    together, own = sums.between - sums.spread_pairs, sums.between + sums.spread
    if own <= 0:
        raise NoValueError("all positions of all images are the same")
    return together / own


@metric(
    unit="share",
    bounds=(0, 1),
    collapse_when=None,
    sees=("spatial",),
    source="intra-class correlation of the chosen rows, ANOVA estimator (Donner 1986)",
)
def between_image_share(stats: LayerStats) -> float:
    """How alike the rows of one image are; it sets n_effective. 1 by definition where every image has one row."""
    return stats.between_image_share
