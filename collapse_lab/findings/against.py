"""Every headline metric beside what it would be of features in which nothing was learned, or nothing goes together."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from collapse_lab.capture.store import Capture, Replicates
from collapse_lab.findings.nulls import SEED, shuffled_null
from collapse_lab.findings.uncertainty import jackknife
from collapse_lab.metrics._metric import HEADLINE, METRICS, Measurement, Status, measure
from collapse_lab.metrics.spectrum import exp_entropy
from collapse_lab.stats.accumulate import stats_of
from collapse_lab.stats.layer import KeptRows, LayerStats

SHUFFLES, WIDEST = 8, 2048
"""How often kept rows are shuffled, and the channels of all shuffles together, where that leaves one."""

BROKEN: tuple[Status, ...] = ("degenerate", "insufficient", "non_finite")

SPECTRAL: Mapping[str, Callable[[Tensor], float]] = {
    "effective_rank": lambda values: exp_entropy(values.sqrt()),
    "participation_ratio": lambda values: float(values.sum() ** 2 / values.square().sum()),
    "stable_rank": lambda values: float(values.sum() / values[0]),
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


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One metric of one site beside one null; NaN stands for no number. See `against_nulls`."""

    metric: str
    value: float
    null: str
    null_value: float
    share: float
    corrected: float = math.nan
    low: float = math.nan
    high: float = math.nan
    n_images: int
    n_rows: int
    status: Status
    reason: str


def against_nulls(measured: Capture | LayerStats, *, untrained: Capture | LayerStats | None = None) -> pd.DataFrame:
    """A row per (site, positions, headline metric, null): the value, what the null has, and their ratio `share`.

    "shuffled moments": the channels' variances without any correlation, at n_effective (`nulls.shuffled_null`).
    "shuffled rows", where rows were kept: each channel of these permuted on its own, averaged over up to 8 shuffles; of
    several rows an image the first, so that rows are independent; `value` is taken of the same rows. "untrained", where
    given: the same architecture before training, on the same images; with the replicates of both, `corrected` is the
    bias-corrected share and [low, high] its 95 % interval over images, paired group by group.

    `n_images` and `n_rows` are those of both sides. Where a layer or its null is broken, or no share has a meaning,
    `share` is NaN, `status` tells which, and `reason` says why. A `biased` value has a share: both sides are biased at
    equal n. Raises ValueError for an untrained capture of other images or channels, or without a common site.
    """
    whole, twin = _as_capture(measured), None if untrained is None else _as_capture(untrained)
    if twin is not None:
        _check_twin(whole, twin)
    rows = []
    for key, stats in whole.items():
        where = {"site": key[0], "positions": key[1], "depth": whole.depth(key[0])}
        readings = [*_shuffled_moments(stats), *_shuffled_rows(stats)]
        if twin is not None and key in twin:
            pair = [each.replicates.get(key) for each in (whole, twin)]
            readings += _untrained(stats, twin[key], pair)
        rows += [{**where, **asdict(reading)} for reading in readings]
    return pd.DataFrame(rows, columns=["site", "positions", "depth", *(each.name for each in fields(Reading))])


def _as_capture(measured: Capture | LayerStats) -> Capture:
    return measured if isinstance(measured, Capture) else Capture({("", "all"): measured})


def _reading(observed: Measurement, null: str, null_value: float, *, no_share: str = "") -> Reading:
    """The share, unless the layer is broken, the null is not above 0, or `no_share` says why there is none."""
    status, reason, share = observed.status, observed.reason, math.nan
    if status not in BROKEN:
        no_share = no_share or ("" if null_value > 0 else f"the null is {null_value:.3g}: a share needs one above 0")
        if no_share:
            status, reason = "insufficient", no_share
        else:
            share = observed.value / null_value
    return Reading(
        metric=observed.metric,
        value=observed.value,
        null=null,
        null_value=null_value,
        share=share,
        n_images=observed.n_images,
        n_rows=observed.n_rows,
        status=status,
        reason=reason,
    )


def _shuffled_moments(stats: LayerStats) -> Iterator[Reading]:
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
        yield _reading(observed, "shuffled moments", null_value, no_share=no_share)


def _shuffled_rows(stats: LayerStats) -> Iterator[Reading]:
    """Nothing where no rows were kept."""
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
        yield _reading(observed, "shuffled rows", null_value, no_share=NO_SHARE_OF_ZERO if name in ZERO else "")


def _one_an_image(rows: KeptRows) -> Tensor:
    """(images, C) the row of smallest hash of every image, in the order in which they were kept."""
    first = np.sort(np.unique(rows.id.numpy(), return_index=True)[1])
    return rows.values[torch.from_numpy(first)]


def _of_rows(values: Tensor, stats: LayerStats) -> LayerStats:
    """Statistics of rows that were kept of a layer: with its rounding, and as broken as it is."""
    own = stats_of(values, layout="image channel")
    return replace(own, eps=stats.eps, bad_values=stats.bad_values, bad_rows=stats.bad_rows)


def _check_twin(whole: Capture, twin: Capture) -> None:
    common = [key for key in whole if key in twin]
    if not common:
        raise ValueError(
            f"the untrained capture has no site and positions in common: it has {', '.join(twin.sites[:5])} ..., "
            f"the other {', '.join(whole.sites[:5])} ...; capture the same sites and positions of both"
        )
    for key in common:
        own, other = whole[key], twin[key]
        if own.images_hash != other.images_hash:
            raise ValueError(
                f"site {key[0]!r} was measured on other images than its untrained twin ({own.n_images} and "
                f"{other.n_images} images); capture both on the same images, under the same ids"
            )
        if own.channels != other.channels:
            raise ValueError(
                f"site {key[0]!r} has {own.channels} channels and its untrained twin {other.channels}: "
                f"the twin must be of the same architecture"
            )


def _untrained(stats: LayerStats, twin: LayerStats, replicates: Sequence[Replicates | None]) -> Iterator[Reading]:
    for name in HEADLINE:
        observed, null = measure(name, stats), measure(name, twin)
        if observed.status not in BROKEN and null.status != "ok" and (null.status in BROKEN or observed.status == "ok"):
            observed = replace(observed, status=null.status, reason=f"of the untrained twin: {null.reason}")
        equal = stats.n_rows == twin.n_rows
        no_share = "" if equal else f"taken of {stats.n_rows} rows and of {twin.n_rows}: not at equal n"
        yield _with_interval(_reading(observed, "untrained", null.value, no_share=no_share), replicates)


def _with_interval(reading: Reading, replicates: Sequence[Replicates | None]) -> Reading:
    """With the jackknife's interval where both sides left out the same groups of images."""
    pair = [each for each in replicates if each is not None and reading.metric in each.values]
    if len(pair) < 2 or pair[0].sizes != pair[1].sizes or math.isnan(reading.share):
        return reading
    values, nulls = (each.values[reading.metric] for each in pair)
    left_out = [value / null if null > 0 else math.nan for value, null in zip(values, nulls, strict=True)]
    estimate = jackknife(reading.share, left_out, pair[0].sizes)
    low, high = estimate.interval()
    bound = METRICS[reading.metric].bounds[0]
    if isinstance(bound, int | float) and bound >= 0:  # then no share is below 0
        low = 0.0 if low < 0 else low
    return replace(reading, corrected=estimate.corrected, low=low, high=high)
