"""The tidy table: one row per (site, positions, metric), with status and interval; what everything later reads."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow
from pyarrow import parquet
from torch import nn

from collapse_lab.capture.budget import Budget
from collapse_lab.capture.ending import Ending
from collapse_lab.capture.hooks import observe
from collapse_lab.capture.layouts import Layout
from collapse_lab.capture.settings import Settings
from collapse_lab.capture.store import Capture, Replicates
from collapse_lab.findings import registered as registered  # every metric, for `analyze`
from collapse_lab.findings.influence import estimated_without_each
from collapse_lab.findings.leading import participation_ratio_interval, stable_rank_interval
from collapse_lab.findings.replicates import TIED, without_each
from collapse_lab.findings.shown import MetricTable
from collapse_lab.findings.uncertainty import NO_INTERVAL, Interval, interval_of
from collapse_lab.metrics._metric import METRICS, SERIES, Measurement, measure
from collapse_lab.runs import write_atomically
from collapse_lab.stats.layer import LayerStats, NoScatterError
from collapse_lab.stats.moments import Accumulation

SCHEMA = 1
"""Of the columns and their meaning, kept in every parquet file; one without it is of a version before, and as this."""
SCHEMA_KEY = b"collapse_lab.schema"
ORIGIN = {"run": "", "arm": "", "seed": 0, "step": 0}
"""Where a table comes from; `analyze` leaves these, a run fills them."""
COLUMNS = (
    *("run", "arm", "seed", "step", "site", "positions", "depth", "channels", "metric", "value", "status"),
    *("n_images", "n_rows", "n_effective", "replicates", "group_sizes", "images_hash"),
)
"""What every reader of a table may take for granted."""


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
    memory_limit: int | None = None,
    accumulation: Accumulation = "float64",
    on_budget: Callable[[Budget], object] | None = None,
    keep_groups: bool = False,
    save_to: Path | str | None = None,
    save_every: int = 0,
    across_ranks: bool = True,
    facts: Mapping[str, Any] | None = None,
) -> Capture:
    """Statistics of sites of any model, with the headline metrics' leave-one-group-out values.

    `batches`: images, (images, labels) or {"image", "label", "id", "removed"}. `sites` are patterns: see
    `capture.sites.match_sites`. `layout` says the axis order where the model does not. `memory_limit` bytes of
    statistics are kept to: with fewer groups of images, then with the channels alone of the widest sites, which is
    said in `facts["given_up"]`. `keep_groups` keeps what `merge_captures` needs; `save_to` and `save_every` let an
    interrupted pass go on; where torch.distributed is initialised all ranks capture together. `facts` are plain values
    that say how the images were made, such as their normalisation: they are recorded, and a pass of others neither goes
    on from this one nor is merged with it. See `capture.hooks.observe`.
    """
    settings = Settings(
        positions=(positions,) if isinstance(positions, str) else tuple(positions),
        seed=seed,
        groups=groups,
        keep_rows=keep_rows,
        keep_maps=keep_maps,
        layout=layout,
        memory_limit=memory_limit,
        accumulation=accumulation,
        on_budget=on_budget,
        save_to=save_to,
        save_every=save_every,
        across_ranks=across_ranks,
        facts=facts or {},
    )
    ending = Ending(summarise=without_each, estimate=estimated_without_each, keep_groups=keep_groups)
    return observe(model, batches, sites=sites, settings=settings, ending=ending)


def analyze(
    measured: Capture | LayerStats,
    *,
    metrics: Iterable[str] | None = None,
    on_site: Callable[[str, str], object] | None = None,
) -> pd.DataFrame:
    """Every metric of every site and position policy, one row each; `site` is "" for bare statistics.

    `value` is the plain value (NaN = none), `corrected` the bias-corrected one, [low, high] the 95 % interval around
    it, for the population: it need not contain `value`. Only headline metrics have one, and only where leave-one-out
    values were taken: by `capture`, of 64 images or more (of more than 1,024 channels, where rows were kept). A
    `biased` value has none. That of `stable_rank` reaches further up where the first direction is one of several
    equally strong (see `findings.leading`). `replicates` are the values without each of `group_sizes` groups of images.
    `metrics` are those to measure, all without it. `on_site` is called with site and positions when these are measured.
    Raises TypeError for anything but a capture or statistics, LookupError for an unknown metric.
    """
    whole, names = as_capture(measured), METRICS if metrics is None else tuple(metrics)
    rows = []
    for (site, positions), stats in whole.items():
        where = {**ORIGIN, "site": site, "positions": positions, "depth": whole.depth(site), "channels": stats.channels}
        for name in names:
            judged = measure(name, stats)
            interval = _interval(judged, stats, whole.replicates.get((site, positions)))
            rows.append({**where, **asdict(judged), **interval, "images_hash": stats.images_hash})
        if on_site is not None:
            on_site(site, positions)
    return MetricTable(rows)


def as_capture(measured: Capture | LayerStats) -> Capture:
    """Bare statistics as a capture of one site without a name; raises TypeError for what is neither."""
    if isinstance(measured, Capture):
        return measured
    if not isinstance(measured, LayerStats):
        raise TypeError(
            f"expected a capture or statistics, got {type(measured).__name__}; features become statistics by "
            f"cl.stats_of(features), a saved capture comes back by cl.load_capture(folder)"
        )
    return Capture({("", "all"): measured})


def series_table(measured: Capture) -> pd.DataFrame:
    """Every series (singular values, cumulative shares, channel variances) of every site and policy: columns series,
    index, value. The power law's alpha, R^2 and n are metrics.

    A series that has nothing to say of a site, as one of classes without labels, has no rows there.
    """
    parts = []
    for (site, positions), stats in measured.items():
        for name in SERIES:
            try:
                values = SERIES[name].function(stats).numpy()
            except NoScatterError:
                continue
            if not len(values):
                continue
            where = {
                **ORIGIN,
                "site": site,
                "positions": positions,
                "series": name,
                "floor": stats.floor if stats.has_scatter else math.nan,
            }
            parts.append(pd.DataFrame({**where, "index": range(len(values)), "value": values}))
    return pd.concat(parts, ignore_index=True)


def write_table(table: pd.DataFrame, path: Path) -> Path:
    """A table as parquet with its schema, whole or not at all."""
    whole = pyarrow.Table.from_pandas(table, preserve_index=False)
    marked = whole.replace_schema_metadata({**whole.schema.metadata, SCHEMA_KEY: str(SCHEMA).encode()})
    write_atomically(path, lambda part: parquet.write_table(marked, part))
    return path


def read_table(path: Path) -> pd.DataFrame:
    """A table back from parquet.

    Raises FileNotFoundError with what makes one, ValueError for a file that is no parquet or of a newer schema.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no table {path} (make one with 'collapse-lab capture' or 'analyze')")
    try:
        with parquet.ParquetFile(path) as file:  # parquet.read_table would read columns out of the path's names
            whole = file.read()
    except pyarrow.ArrowInvalid as error:
        raise ValueError(f"{path} is no table in parquet, or is cut short; make it again ({error})") from error
    found = (whole.schema.metadata or {}).get(SCHEMA_KEY, b"0").decode()
    if not found.isdigit() or int(found) > SCHEMA:
        raise ValueError(f"{path} has schema {found}, this version reads up to {SCHEMA}; read it with a newer one")
    table: pd.DataFrame = whole.to_pandas()
    return table


def checked(table: pd.DataFrame) -> pd.DataFrame:
    """The same table; raises ValueError naming the columns it lacks to be one that `analyze` makes."""
    missing = [name for name in COLUMNS if name not in table.columns]
    if missing:
        raise ValueError(f"this is no table of metrics, it lacks: {', '.join(missing)}; make one with cl.analyze(...)")
    return table


def _interval(judged: Measurement, stats: LayerStats, replicates: Replicates | None) -> dict[str, Any]:
    if replicates is None or judged.metric not in replicates.values:
        return {**asdict(NO_INTERVAL), "replicates": None, "group_sizes": None}
    left_out, clip = replicates.values[judged.metric], METRICS[judged.metric].clip
    # A biased value is no estimate of the population, so there is nothing to put an interval around.
    found = (
        NO_INTERVAL if judged.status == "biased" or math.isnan(judged.value) else estimated(judged, stats, replicates)
    )
    inside = {name: clip(end) for name, end in asdict(found).items()}
    return {**inside, "replicates": list(left_out), "group_sizes": list(replicates.sizes)}


def estimated(judged: Measurement, stats: LayerStats, replicates: Replicates) -> Interval:
    """The interval of a headline metric's value, whatever its status; see `uncertainty` and `leading`."""
    left_out = replicates.values[judged.metric]
    if judged.metric == "stable_rank":
        return stable_rank_interval(stats, left_out, replicates.values.get(TIED), replicates.sizes)
    if judged.metric == "participation_ratio":
        return participation_ratio_interval(stats, left_out, replicates.sizes)
    return interval_of(judged.value, left_out, replicates.sizes, log_scale=METRICS[judged.metric].log_scale)
