"""The tidy table: one row per (site, positions, metric), with status and interval; what everything later reads."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
from torch import nn

from collapse_lab.capture.hooks import observe
from collapse_lab.capture.sites import Layout
from collapse_lab.capture.store import Capture, Replicates
from collapse_lab.findings import clusters as clusters  # registers its metric
from collapse_lab.findings import nulls as nulls  # registers the metrics that are held against a null
from collapse_lab.findings.uncertainty import Estimate, jackknife
from collapse_lab.metrics._metric import HEADLINE, METRICS, SERIES, Measurement, measure
from collapse_lab.runs import write_atomically
from collapse_lab.stats.layer import LayerStats

SCHEMA = "1"
ORIGIN = {"run": "", "arm": "", "seed": 0, "step": 0}
"""Where a table comes from; `analyze` leaves these, a run fills them."""


def headline(stats: LayerStats) -> dict[str, float]:
    """The values of the headline metrics."""
    return {name: measure(name, stats).value for name in HEADLINE}


def capture(
    model: nn.Module,
    batches: Iterable[Any],
    *,
    sites: Iterable[str],
    positions: Sequence[str] = ("sampled:8", "pooled"),
    seed: int = 0,
    groups: int = 16,
    keep_rows: int = 0,
    keep_maps: int = 0,
    layout: Layout = None,
) -> Capture:
    """Statistics of sites of any model, with the headline metrics' leave-one-group-out values.

    `batches`: images, (images, labels) or {"image", "label", "id", "removed"}. `sites` are patterns: see
    `capture.sites.match_sites`. `layout` says the axis order where the model does not. See `capture.hooks.observe`.
    """
    return observe(
        model,
        batches,
        sites=sites,
        positions=positions,
        seed=seed,
        groups=groups,
        keep_rows=keep_rows,
        keep_maps=keep_maps,
        layout=layout,
        summarise=headline,
    )


def analyze(measured: Capture | LayerStats) -> pd.DataFrame:
    """Every metric of every site and position policy, one row each; `site` is "" for bare statistics.

    `value` is the plain value (NaN = none), `corrected` the bias-corrected one that the 95 % interval [low, high] is
    centred on; the interval is for the population and need not contain `value`;
    a `biased` value has none. `replicates` are the values without
    each of `group_sizes` groups of images.
    """
    whole = measured if isinstance(measured, Capture) else Capture({("", "all"): measured})
    rows = []
    for (site, positions), stats in whole.items():
        where = {**ORIGIN, "site": site, "positions": positions, "depth": whole.depth(site), "channels": stats.channels}
        for name in METRICS:
            judged = measure(name, stats)
            interval = _interval(judged, whole.replicates.get((site, positions)))
            rows.append({**where, **asdict(judged), **interval, "images_hash": stats.images_hash})
    return pd.DataFrame(rows)


def series_table(measured: Capture) -> pd.DataFrame:
    """Every series (singular values, cumulative shares, channel variances) of every site and policy: columns series,
    index, value. The power law's alpha, R^2 and n are metrics.

    A series that has nothing to say of a site, as one of classes without labels, has no rows there.
    """
    parts = []
    for (site, positions), stats in measured.items():
        for name in SERIES:
            values = SERIES[name].function(stats).numpy()
            if not len(values):
                continue
            where = {**ORIGIN, "site": site, "positions": positions, "series": name, "floor": stats.floor}
            parts.append(pd.DataFrame({**where, "index": range(len(values)), "value": values}))
    return pd.concat(parts, ignore_index=True)


def write_table(table: pd.DataFrame, path: Path) -> Path:
    """A table as parquet, whole or not at all."""
    write_atomically(path, lambda part: table.to_parquet(part, index=False))
    return path


def read_table(path: Path) -> pd.DataFrame:
    """A table back from parquet; raises FileNotFoundError with what makes one."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no table {path} (make one with 'collapse-lab capture' or 'analyze')")
    return pd.read_parquet(path)


def _interval(judged: Measurement, replicates: Replicates | None) -> dict[str, Any]:
    if replicates is None or judged.metric not in replicates.values:
        return {"corrected": math.nan, "low": math.nan, "high": math.nan, "replicates": None, "group_sizes": None}
    left_out = replicates.values[judged.metric]
    estimate = jackknife(judged.value, left_out, replicates.sizes)
    if judged.status == "biased":  # no estimate of the population, so nothing to put an interval around
        estimate = Estimate(corrected=math.nan, variance=math.nan, freedom=math.nan)
    low, high = estimate.interval()
    clip = METRICS[judged.metric].clip
    inside = {"corrected": clip(estimate.corrected), "low": clip(low), "high": clip(high)}
    return {**inside, "replicates": list(left_out), "group_sizes": list(replicates.sizes)}
