"""Headline metrics beside those of the same architecture before training, on the same images."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from collapse_lab.capture.store import Capture, Replicates
from collapse_lab.findings.reading import BROKEN, Reading, beside
from collapse_lab.findings.uncertainty import jackknife
from collapse_lab.metrics._metric import HEADLINE, METRICS, measure
from collapse_lab.stats.layer import LayerStats


def check_twin(whole: Capture, twin: Capture) -> None:
    """Raises ValueError unless both share a site, and have equal images and channels at every shared one."""
    common = [key for key in whole if key in twin]
    if not common:
        raise ValueError(
            f"the untrained capture has no site and positions in common: it has {', '.join(twin.sites[:5])} ..., "
            f"the other {', '.join(whole.sites[:5])} ...; capture the same sites and positions of both"
        )
    built = [each.facts.get("architecture") for each in (whole, twin)]
    if None not in built and built[0] != built[1]:
        raise ValueError(
            f"the untrained capture is of another architecture, {built[1]}, than {built[0]}: a twin differs in its "
            f"training alone"
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


def untrained_twin(stats: LayerStats, twin: LayerStats, replicates: Sequence[Replicates | None]) -> Iterator[Reading]:
    """Against the same metric of the untrained twin, at equal rows; `replicates` are those of both, where there are."""
    for name in HEADLINE:
        observed, null = measure(name, stats), measure(name, twin)
        if observed.status not in BROKEN and null.status != "ok" and (null.status in BROKEN or observed.status == "ok"):
            observed = replace(observed, status=null.status, reason=f"of the untrained twin: {null.reason}")
        equal = stats.n_rows == twin.n_rows
        no_share = "" if equal else f"taken of {stats.n_rows} rows and of {twin.n_rows}: not at equal n"
        yield _with_interval(beside(observed, "untrained", null.value, no_share=no_share), replicates)


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
