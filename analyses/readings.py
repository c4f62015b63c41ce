"""What a finished run left behind, read from its folder, and values of runs as a table."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from torch import Tensor, nn

import collapse_lab as cl
from analyses.words import LATE

BATCH = 512

Runs = Mapping[str, Sequence[Path]]
"""Arm -> folders of its runs, one a seed."""


def record_of(run: Path) -> dict[str, Any]:
    """run.json: status, seed, configuration, data, versions."""
    record: dict[str, Any] = json.loads((run / "run.json").read_text(encoding="utf-8"))
    return record


def last_logged(run: Path, name: str) -> float:
    """The last value of this name in the run's log; NaN where it was never logged."""
    lines = (run / "log.jsonl").read_text(encoding="utf-8").splitlines()
    values = [line[name] for line in map(json.loads, lines) if name in line]
    return float(values[-1]) if values else math.nan


def seconds_of(run: Path) -> float:
    """How long the run trained."""
    return float(record_of(run)["seconds"])


def batches_of(run: Path, data: str, split: str = "test") -> Iterator[dict[str, Tensor]]:
    """The images of a split as the run's network takes them, with labels and identities."""
    settings = record_of(run)["config"]["data"]
    for batch in cl.open_images(data, split, settings["size"]).batches(BATCH):
        yield {"image": _normalised(batch.image, settings), "label": batch.label, "id": batch.id}


def pixels_of(run: Path, data: str) -> Tensor:
    """(1, 3, side, side), one test image, the same whatever the order of the data, as the run's network takes it."""
    settings = record_of(run)["config"]["data"]
    images = cl.open_images(data, "test", settings["size"])
    return _normalised(images.batch(images.sample(1, seed=0)).image, settings)


def _normalised(image: Tensor, settings: Mapping[str, Any]) -> Tensor:
    return cl.normalise(image, settings["mean"], settings["std"])


def measured(model: nn.Module, run: Path, data: str, *, arm: str, sites: Sequence[str]) -> pd.DataFrame:
    """The table of a network that was made from a run's, as an arm of its own."""
    table = cl.analyze(cl.capture(model, batches_of(run, data), sites=sites))
    record = record_of(run)
    return table.assign(arm=arm, run=f"{run.name}, {arm}", seed=record["seed"], step=record["step"])


def values_of(runs: Runs, measures: Mapping[str, Callable[[Path], float]]) -> pd.DataFrame:
    """One row an arm, seed and measure: columns arm, seed, metric, value."""
    rows = [
        {"arm": arm, "seed": record_of(run)["seed"], "metric": metric, "value": measure(run)}
        for arm, own in runs.items()
        for run in own
        for metric, measure in measures.items()
    ]
    return pd.DataFrame(rows)


def series_of(runs: Runs, name: str) -> pd.DataFrame:
    """A series (one value a channel or direction) of every run, at its last step, with the arm of this study."""
    parts = []
    for arm, own in runs.items():
        for run in own:
            table = pd.read_parquet(run / "series.parquet")
            parts.append(table[(table.series == name) & (table.step == table.step.max())].assign(arm=arm))
    whole: pd.DataFrame = pd.concat(parts, ignore_index=True)
    return whole


def tables_of(comparison: cl.Comparison) -> dict[str, list[pd.DataFrame]]:
    """Arm -> the table of each of its runs, as `cl.compare` takes them: to compare them with others."""
    return {
        arm: [run for _, run in comparison.metrics[comparison.metrics.arm == arm].groupby("seed")]
        for arm in comparison.folders
    }


def means_of(table: pd.DataFrame, *columns: str) -> pd.DataFrame:
    """The mean `value` of all rows that agree in these columns."""
    return table.groupby(list(columns), sort=False).value.mean().reset_index()


def seed_values(comparison: cl.Comparison, metrics: Sequence[str]) -> pd.DataFrame:
    """Metrics of a comparison as values of runs: over the sites of the last third of depth, as its tests are."""
    rows = comparison.last[(comparison.last.kind == "arm") & comparison.last.site.isin([LATE, ""])]
    parts = []
    for row in rows[rows.metric.isin(metrics)].to_dict("records"):
        table = comparison.metrics
        table = table[(table.arm == row["contrast"]) & (table.metric == row["metric"])]
        table = table[table.site.isin(str(row["sites"]).split(", ")) & (table.positions == row["positions"])]
        parts.append(means_of(table, "arm", "seed", "metric"))
    return pd.concat(parts, ignore_index=True)


def by_arm(values: pd.DataFrame, rows: str = "arm") -> pd.DataFrame:
    """A row an arm (or whatever column `rows` is), a column a metric: mean over seeds, deviation and their number."""
    spread = values.groupby([rows, "metric"], sort=False).value.agg(["mean", "std", "count"])
    texts = [
        f"{mean:.3g} ± {std:.2g} ({count})" if count > 1 else f"{mean:.3g} ({count})"
        for mean, std, count in spread.itertuples(index=False)
    ]
    table = pd.Series(texts, index=spread.index).unstack("metric", sort=False)
    return table.rename_axis(columns=None).reset_index()
