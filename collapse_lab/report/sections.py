"""The tables of the page, as text: what a reader without JavaScript, or with a printer, gets."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from collapse_lab.capture.sites import kind_of
from collapse_lab.findings.baselines import summary as baseline_summary
from collapse_lab.findings.compare import LAST_THIRD, PRIMARY, PROBE, SCORES, SUMMARY, Comparison
from collapse_lab.findings.contrast import COMPARED
from collapse_lab.findings.worth import worth
from collapse_lab.metrics._metric import HEADLINE, METRICS
from collapse_lab.report import words
from collapse_lab.report.layout import Layout
from collapse_lab.report.packing import Array
from collapse_lab.report.payload_metrics import Last, names_of

RANK = "effective_rank"
IDLE = ("dead_channels", "saturated_channels", "redundant_channels", "lazy_channels")
"""Channels that do no work of their own."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of text under `columns`; `numbers` says which columns are set in figures."""

    columns: list[str]
    rows: list[list[str]]
    numbers: frozenset[int] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Bar:
    """An interval on a line of 100 units with 50 in the middle for no difference: `low` and `high` NaN where none."""

    low: float
    value: float
    high: float


def summary(comparison: Comparison) -> Table:
    """Each headline metric, and the probe, with its value in every arm, over the last third of depth."""
    last = comparison.last
    table = last[(last.kind == "arm") & last.site.isin([SUMMARY, ""])]
    arms = list(last[last.kind == "arm"].contrast.unique())
    units = {**{name: METRICS[name].unit for name in HEADLINE}, PROBE: "share"}
    rows = []
    for metric, unit in units.items():
        cells = {row.contrast: words.marked(row, unit) for _, row in table[table.metric == metric].iterrows()}
        if cells:
            rows.append([metric, *(cells.get(arm, "–") for arm in arms)])
    return Table(columns=["metric", *arms], rows=rows)


def contrasts(comparison: Comparison) -> list[dict[str, Any]]:
    """Every primary test, those that can be called first, with its interval as a bar on one scale a metric."""
    table = comparison.last
    rows = table[table.primary & table.kind.isin(COMPARED)]
    ends = rows[["corrected", "low", "high"]].abs().max(axis=1)
    scale = ends.groupby(rows.metric).max()
    told = [
        {
            "contrast": row.contrast,
            "kind": row.kind,
            "metric": row.metric,
            "value": words.interval(row, METRICS[row.metric].unit),
            "bar": _bar(row, float(scale[row.metric])),
            "verdict": words.verdict(row),
            "called": bool(row.called),
            "seeds": f"{row.n_seeds} ({'paired' if row.paired else 'not paired'})",
            "images": int(row.n_images),
        }
        for _, row in rows.iterrows()
    ]
    return sorted(told, key=lambda row: not row["called"])


def _bar(row: pd.Series[Any], scale: float) -> Bar | None:
    if not scale > 0 or math.isnan(row.corrected):
        return None
    at = [50 + 48 * float(row[name]) / scale for name in ("low", "corrected", "high")]
    return Bar(low=at[0], value=at[1], high=at[2])


def probes(layout: Layout) -> Table | None:
    """Scores of probes by arm and layer beside the effective rank of that layer; None where nothing was probed."""
    arms: dict[str, list[pd.DataFrame]] = {}
    for source in layout.sources:
        if len(source.metrics) and source.metrics.metric.isin(SCORES).any():
            arms.setdefault(source.arm, []).append(source.metrics)
    if not arms:
        return None
    rows = [
        [
            row.arm,
            row.site or "the last map",
            row.metric,
            words.interval(row.where(row.index != "corrected", _or_value(row)), "share"),
            "–" if math.isnan(row.effective_rank) else f"{words.number(row.effective_rank)} of {row.channels}",
            str(row.n_seeds),
            str(row.n_images),
        ]
        for _, row in worth(arms).iterrows()
    ]
    columns = ["arm", "layer", "score", "value", "effective rank", "seeds", "images"]
    return Table(columns=columns, rows=rows, numbers=frozenset({3, 4, 5, 6}))


def _or_value(row: pd.Series[Any]) -> float:
    return float(row.value if math.isnan(row.corrected) else row.corrected)


def baseline_rows(table: pd.DataFrame) -> Table:
    """What the images are worth without a network: the table of `cl.baselines`, or its summary."""
    found = table if "n_seeds" in table else baseline_summary(table)
    rows = [
        [row.method, row.metric, words.interval(row, "share"), str(int(row.n_seeds)), str(int(row.n_images))]
        for _, row in found.iterrows()
    ]
    return Table(columns=["features", "score", "value", "seeds", "images"], rows=rows, numbers=frozenset({2, 3, 4}))


def layers_of(layout: Layout, last: Last, arm: str) -> Table:
    """Plain values of the headline metrics at the last step, means over seeds, of the detailed sites."""
    metrics = list(layout.policy)
    columns = [_means(layout, last, metric, arm) for metric in metrics]
    rows = [
        [site, str(layout.channels[place]), *(_cell(float(column[row])) for column in columns)]
        for row, (place, site) in enumerate(zip(layout.detailed, layout.chosen, strict=True))
    ]
    return Table(columns=["site", "channels", *metrics], rows=rows, numbers=frozenset(range(1, 2 + len(metrics))))


def idle_channels(layout: Layout, last: Last) -> Table:
    """Shares of channels without work at the last step, means over seeds, at the worst site of each arm."""
    known = [metric for metric in IDLE if metric in names_of(layout)]
    rows = []
    for arm in layout.arms:
        rows.append([arm, *(_worst(layout, _means(layout, last, metric, arm), metric) for metric in known)])
    return Table(columns=["arm", *known], rows=rows)


def over_training(layout: Layout) -> Table | None:
    """The effective rank at each step, means over seeds and the last third of depth; None where it was not measured."""
    policy = layout.policy.get(RANK)
    if policy is None:
        return None
    columns: dict[str, list[pd.Series[float]]] = {}
    for source in layout.sources:
        rows = source.layers[(source.layers.metric == RANK) & (source.layers.positions == policy)]
        columns.setdefault(source.arm, []).append(_late(rows).groupby("step").value.mean())
    means = {arm: pd.concat(own, axis=1).mean(axis=1) for arm, own in columns.items()}
    cells = [[str(step), *(_cell(float(means[arm].get(step, math.nan))) for arm in means)] for step in layout.steps]
    return Table(columns=["step", *means], rows=cells, numbers=frozenset(range(len(means) + 1)))


def _late(rows: pd.DataFrame) -> pd.DataFrame:
    """Of the sites of the kind that ranks are judged at, if any, those in the last third of depth, if any."""
    judged = rows[rows.site.map(kind_of) == PRIMARY.get(RANK, "block")]
    rows = judged if len(judged) else rows
    late = rows[rows.depth >= LAST_THIRD]
    return late if len(late) else rows


def _worst(layout: Layout, means: Array, metric: str) -> str:
    """The largest share and where, among the detailed sites of the kind that the metric is judged at, if any."""
    kinds = [layout.kinds[place] for place in layout.detailed]
    kind = PRIMARY.get(metric, "act")
    places = [place for place, own in enumerate(kinds) if own == kind] or list(range(len(kinds)))
    shares = [(float(means[place]), place) for place in places if not math.isnan(means[place])]
    if not shares:
        return "–"
    value, place = max(shares)
    return words.number(value, "share") + (f" at {layout.chosen[place]}" if value else "")


def _means(layout: Layout, last: Last, metric: str, arm: str) -> Array:
    """(detailed site,) means over the seeds of an arm, NaN where one of them has no value."""
    policy = layout.policy.get(metric) or layout.policies[0]
    runs = [run for run, source in enumerate(layout.sources) if source.arm == arm and len(source.last)]
    if not runs:
        return np.full(len(layout.detailed), np.nan)
    values = last.value[names_of(layout).index(metric), layout.policies.index(policy)]
    means: Array = values[runs].astype(float).mean(axis=0)
    return means


def _cell(value: float) -> str:
    return "–" if math.isnan(value) else words.number(value)


def metric_facts() -> Table:
    """What the headline numbers are."""
    facts = [METRICS[name] for name in HEADLINE]
    rows = [[each.name, each.unit, each.collapse_when or "–", each.rows, each.source] for each in facts]
    return Table(columns=["metric", "unit", "collapse when", "rows", "source"], rows=rows)
