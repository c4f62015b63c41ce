"""What single channels say of the classes; needs kept rows with labels."""

from __future__ import annotations

import torch
from torch import Tensor

from collapse_lab.metrics._metric import NoValueError, metric, series
from collapse_lab.metrics.embedding import AT_ONCE, in_float64, labelled_rows
from collapse_lab.stats.latest import latest
from collapse_lab.stats.layer import LayerStats

MORCOS = "Morcos et al., ICLR 2018; Woo et al., CVPR 2023, Fig. 7"


@latest
def activity_by_class(stats: LayerStats) -> Tensor:
    """(classes, C) mean |x| of the kept rows of each class, classes ascending.

    Raises NoValueError where `labelled_rows` has none.
    """
    rows, place = labelled_rows(stats)
    count = place.bincount()
    sums = torch.zeros(len(count), stats.channels, dtype=torch.float64)
    for part, own in zip(in_float64(rows), place.split(AT_ONCE), strict=True):
        sums.index_add_(0, own, part.abs())
    return sums.div_(count[:, None])


def selectivity(activity: Tensor) -> Tensor:
    """(C,) index of each channel from (classes, C) mean activities; NaN for a channel without activity."""
    largest = activity.amax(dim=0)
    rest = (activity.sum(dim=0) - largest) / (len(activity) - 1)
    return (largest - rest).clamp(min=0) / (largest + rest)


@series(unit="index")
def class_selectivity(stats: LayerStats) -> Tensor:
    """(C,) (mu_max - mu_rest) / (mu_max + mu_rest), mu_max the largest class mean of the channel's activity and mu_rest
    the average of the other classes' means: 0 for a channel that answers all classes alike, 1 for one class alone.

    Activity is |x|. On non-negative activations, for which the index was defined, that is x itself; a signed channel is
    judged by its magnitude, as its sign is arbitrary. On GELU the small negative tail of a silent channel counts, which
    lowers the index. NaN for a channel that is zero on every labelled row; empty where `activity_by_class` has nothing.
    """
    try:
        return selectivity(activity_by_class(stats))
    except NoValueError:
        return torch.zeros(0, dtype=torch.float64)


def _of_active_channels(stats: LayerStats) -> Tensor:
    index = selectivity(activity_by_class(stats))
    active = index[~index.isnan()]
    if not len(active):
        raise NoValueError("no channel is active on any labelled row")
    return active


@metric(
    unit="index",
    bounds=(0, 1),
    collapse_when=None,
    sees=(),
    source=f"mean of the series class_selectivity; {MORCOS}",
    rows="as they are, kept ones with labels",
    on_constant="computed",
)
def class_selectivity_mean(stats: LayerStats) -> float:
    """Mean class selectivity of the channels that are active at all. 0 for a constant layer, no value if all are zero.

    The largest of noisy class means lies above the rest by chance, the more so the fewer rows a class: compare at equal
    rows and classes. Blind to channels that go together: copies of one selective channel are all selective.
    """
    return _of_active_channels(stats).mean().item()


@metric(
    unit="index",
    bounds=(0, 1),
    collapse_when=None,
    sees=(),
    source=f"tenth percentile of the series class_selectivity; {MORCOS}",
    rows="as they are, kept ones with labels",
    on_constant="computed",
)
def class_selectivity_q10(stats: LayerStats) -> float:
    """A tenth of the active channels are less selective than this; see `class_selectivity_mean`."""
    return _of_active_channels(stats).quantile(0.1).item()


@metric(
    unit="index",
    bounds=(0, 1),
    collapse_when=None,
    sees=(),
    source=f"ninetieth percentile of the series class_selectivity; {MORCOS}",
    rows="as they are, kept ones with labels",
    on_constant="computed",
)
def class_selectivity_q90(stats: LayerStats) -> float:
    """A tenth of the active channels are more selective than this; see `class_selectivity_mean`."""
    return _of_active_channels(stats).quantile(0.9).item()
