"""Headline metrics beside those of the same channels shuffled: from moments alone, and of kept rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from collapse_lab.findings.nulls import SEED, shuffled_null
from collapse_lab.findings.reading import BROKEN, Reading, beside
from collapse_lab.metrics._metric import HEADLINE, measure
from collapse_lab.metrics.spectrum import exp_entropy, over_strongest, participation
from collapse_lab.stats.accumulate import stats_of
from collapse_lab.stats.layer import LayerStats
from collapse_lab.stats.sample import KeptRows

SHUFFLES, WIDEST = 8, 2048
"""How often kept rows are shuffled, and the channels of all shuffles together, where that leaves one."""

SPECTRAL: Mapping[str, Callable[[Tensor], float]] = {
    "effective_rank": lambda values: exp_entropy(values.sqrt()),
    "participation_ratio": participation,
    "stable_rank": over_strongest,
}
"""Headline metrics that a spectrum determines, as functions of its eigenvalues (C,), descending."""

OF_ONE_CHANNEL = ("variance_share", "dead_channels")
"""Headline metrics that look at one channel at a time: no shuffle of a channel changes them."""

ZERO = ("pair_cosine_centred", "position_cosine_centred")
"""Headline metrics that are 0 but for chance where nothing goes together."""

OF_ROWS = (*SPECTRAL, *OF_ONE_CHANNEL, "pair_cosine_centred")
"""Headline metrics that kept rows determine."""

NO_SHARE_OF_ZERO = "where nothing goes together this cosine is 0 but for chance, and nothing is a share of that"
INSIDE_MAPS = "lies inside the maps of single images, and a shuffle of rows has none"


def shuffled_moments(stats: LayerStats) -> Iterator[Reading]:
    """Against the channels' variances without any correlation, at n_effective."""
    for name in HEADLINE:
        observed, null_value, no_share = measure(name, stats), math.nan, ""
        if name in SPECTRAL and observed.status not in BROKEN:
            drawn = shuffled_null(stats).eigenvalues
            null_value = float(np.mean([SPECTRAL[name](values) for values in drawn]))
        elif name in OF_ONE_CHANNEL:
            null_value = observed.value
        elif name in ZERO:
            null_value, no_share = 0.0, NO_SHARE_OF_ZERO
        else:
            no_share = INSIDE_MAPS
        yield beside(observed, "shuffled moments", null_value, no_share=no_share)


def shuffled_rows(stats: LayerStats) -> Iterator[Reading]:
    """Against kept rows of which each channel is permuted on its own; nothing where no rows were kept.

    Of several rows an image the first: rows of one image are alike, and a permutation must not take that for something
    that channels have in common. The value is taken of the same rows.
    """
    if stats.rows is None:
        return
    values = _one_an_image(stats.rows)
    kept = _of_rows(values, stats)
    random = np.random.default_rng(SEED)
    nulls: dict[str, list[float]] = {name: [] for name in OF_ROWS}
    for _ in range(max(1, min(SHUFFLES, WIDEST // stats.channels))):
        shuffled = _of_rows(torch.from_numpy(random.permuted(values.numpy(), axis=0)), stats)
        for name in OF_ROWS:
            nulls[name].append(measure(name, shuffled).value)
    for name in HEADLINE:
        observed = measure(name, kept)
        if name not in OF_ROWS and observed.status not in ("degenerate", "non_finite"):
            observed = replace(observed, status="insufficient", reason=INSIDE_MAPS)
        null_value = float(np.mean(nulls[name])) if name in nulls else math.nan
        yield beside(observed, "shuffled rows", null_value, no_share=NO_SHARE_OF_ZERO if name in ZERO else "")


def _one_an_image(rows: KeptRows) -> Tensor:
    """(images, C) the row of smallest hash of every image, in the order in which they were kept."""
    first = np.sort(np.unique(rows.id.numpy(), return_index=True)[1])
    return rows.values[torch.from_numpy(first)]


def _of_rows(values: Tensor, stats: LayerStats) -> LayerStats:
    """Statistics of rows that were kept of a layer: with its rounding, and as broken as it is."""
    own = stats_of(values, layout="image channel")
    return replace(own, eps=stats.eps, bad_values=stats.bad_values, bad_rows=stats.bad_rows)
