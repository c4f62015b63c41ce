"""Likeness of channels: the mean cosine between the maps of two channels of one image, averaged over images.

The distance of two channels is (1 - cosine) / 2, from 0 (copies) over .5 (orthogonal) to 1 (sign-flipped).
`_paper` is ConvNeXt V2's Fig. 4, kept for comparison and never to be read alone: it calls diverse what is all zero
(.5), sign-flipped (.5) or oversmoothed (.49).
"""

from __future__ import annotations

from collapse_lab.metrics._metric import NoValueError, metric
from collapse_lab.stats.layer import LayerStats

PAPER = "Woo et al., CVPR 2023, Fig. 4"


def _distance(cosines: float, images: int) -> float:
    if not images:
        raise NoValueError("no image has two positions and two channels with a direction")
    return (1 - cosines / images) / 2


@metric(
    unit="distance",
    bounds=(0, 0.5),
    collapse_when="low",
    sees=("redundant",),
    source=PAPER,
    rows="channel maps of unit length",
    on_constant="computed",
)
def channel_cosine_distance_paper(stats: LayerStats) -> float:
    """All C^2 pairs, a channel with itself among them, so it never exceeds .5: there the unit maps sum to nothing.

    A zero map counts as cosine 0: an all-zero layer reads .5.
    """
    return _distance(stats.images.channels_paper, stats.images.n_channels_paper)


@metric(
    unit="distance",
    bounds=(0, 1),
    collapse_when="low",
    sees=("redundant",),
    source=f"{PAPER}, over live channels only",
    rows="channel maps of unit length",
    on_constant="computed",
)
def channel_cosine_distance_live(stats: LayerStats) -> float:
    """Pairs of different channels that are live in the image (above 1e-6 of its largest); no value where under two.

    Dead channels are left out, not counted as diverse. M live maps that all point apart reach (1 + 1/(M-1)) / 2.
    """
    return _distance(stats.images.channels_live, stats.images.n_channels_live)


@metric(
    unit="distance",
    bounds=(0, 1),
    collapse_when="low",
    sees=("redundant",),
    source=f"{PAPER}, on mean-removed maps",
    rows="channel maps less their mean, of unit length",
)
def channel_cosine_distance_centred(stats: LayerStats) -> float:
    """As `_live`, each map less its own mean first: (1 - spatial correlation) / 2, blind to a channel's level."""
    return _distance(stats.images.channels_centred, stats.images.n_channels_centred)


@metric(
    unit="cosine",
    bounds=(0, 1),
    collapse_when="high",
    sees=("redundant",),
    source="1 - 2 channel_cosine_distance_paper",
    rows="channel maps of unit length",
    on_constant="computed",
)
def channel_cosine_similarity_paper(stats: LayerStats) -> float:
    """Mean cosine of `channel_cosine_distance_paper`."""
    return 1 - 2 * channel_cosine_distance_paper(stats)


@metric(
    unit="cosine",
    bounds=(-1, 1),
    collapse_when="high",
    sees=("redundant",),
    source="1 - 2 channel_cosine_distance_live",
    rows="channel maps of unit length",
    on_constant="computed",
)
def channel_cosine_similarity_live(stats: LayerStats) -> float:
    """Mean cosine of `channel_cosine_distance_live`."""
    return 1 - 2 * channel_cosine_distance_live(stats)


@metric(
    unit="cosine",
    bounds=(-1, 1),
    collapse_when="high",
    sees=("redundant",),
    source="1 - 2 channel_cosine_distance_centred",
    rows="channel maps less their mean, of unit length",
)
def channel_cosine_similarity_centred(stats: LayerStats) -> float:
    """Mean cosine of `channel_cosine_distance_centred`."""
    return 1 - 2 * channel_cosine_distance_centred(stats)
