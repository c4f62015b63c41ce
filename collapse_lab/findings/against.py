"""Every headline metric beside what it would be of features in which nothing was learned, or nothing goes together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, fields

import pandas as pd

from collapse_lab.capture.store import Capture
from collapse_lab.findings.reading import Reading
from collapse_lab.findings.shown import MetricTable
from collapse_lab.findings.shuffles import shuffled_moments, shuffled_rows
from collapse_lab.findings.table import as_capture
from collapse_lab.findings.twin import check_twin, untrained_twin
from collapse_lab.stats.layer import LayerStats


def against_nulls(
    measured: Capture | LayerStats,
    *,
    untrained: Capture | LayerStats | None = None,
    on_site: Callable[[str, str], object] | None = None,
) -> pd.DataFrame:
    """A row per (site, positions, headline metric, null): the value, what the null has, and their ratio `share`.

    "shuffled moments": the channels' variances without any correlation, at n_effective (`nulls.shuffled_null`).
    "shuffled rows", where rows were kept: each channel of these permuted on its own, averaged over up to 8 shuffles; of
    several rows an image the first, so that rows are independent; `value` is taken of the same rows. "untrained", where
    given: the same architecture before training, on the same images; with the replicates of both, `corrected` is the
    bias-corrected share and [low, high] its 95 % interval over images, paired group by group.

    `n_images` and `n_rows` are those of both sides. Where a layer or its null is broken, or no share has a meaning,
    `share` is NaN, `status` tells which, and `reason` says why. A `biased` value has a share: both sides are biased at
    equal n. Every shuffle of rows costs what an analysis of the site does. `on_site` is called with site and positions
    when these are done. Raises ValueError for an untrained capture of other images or channels, or of other sites.
    """
    whole, twin = as_capture(measured), None if untrained is None else as_capture(untrained)
    if twin is not None:
        check_twin(whole, twin)
    rows = []
    for key, stats in whole.items():
        where = {"site": key[0], "positions": key[1], "depth": whole.depth(key[0])}
        readings = [*shuffled_moments(stats), *shuffled_rows(stats)]
        if twin is not None and key in twin:
            pair = [each.replicates.get(key) for each in (whole, twin)]
            readings += untrained_twin(stats, twin[key], pair)
        rows += [{**where, **asdict(reading)} for reading in readings]
        if on_site is not None:
            on_site(*key)
    return MetricTable(rows, columns=["site", "positions", "depth", *(each.name for each in fields(Reading))])
