"""The metrics of all runs as arrays: headline ones at every step with intervals, all of them at the last step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from collapse_lab.findings.compare import PRIMARY
from collapse_lab.metrics._metric import HEADLINE, METRICS
from collapse_lab.report.layout import Layout
from collapse_lab.report.packing import Array, packed

STATUSES = ("", "ok", "biased", "capped", "degenerate", "insufficient", "non_finite")
"""The first: not measured."""


def facts_of(layout: Layout) -> list[dict[str, Any]]:
    """What a reader must know of each metric, headline ones first: the order of the first axis of all arrays."""
    return [
        {
            "name": name,
            "unit": METRICS[name].unit,
            "bounds": list(METRICS[name].bounds),
            "collapse": METRICS[name].collapse_when or "",
            "sees": list(METRICS[name].sees),
            "rows": METRICS[name].rows,
            "source": METRICS[name].source,
            "headline": name in HEADLINE,
            "policy": layout.policy.get(name, ""),
            "kind": PRIMARY.get(name, "block"),
        }
        for name in names_of(layout)
    ]


def names_of(layout: Layout) -> list[str]:
    return [*layout.policy, *layout.others]


def headline_arrays(layout: Layout) -> dict[str, Any]:
    """value, low and high: float32 (metric, run, step, detailed site), NaN = none; status: a place in STATUSES."""
    metrics, steps, sites = list(layout.policy), list(layout.steps), layout.chosen
    shape = (len(metrics), len(layout.sources), len(steps), len(sites))
    numbers = {name: np.full(shape, np.nan, dtype=np.float32) for name in ("value", "low", "high")}
    status = np.zeros(shape, dtype=np.uint8)
    for run, source in enumerate(layout.sources):
        rows = source.layers[source.layers.metric.isin(metrics)]
        if rows.empty:
            continue
        metric = places_among(rows.metric, metrics)
        wanted = np.asarray([layout.policy[name] for name in metrics])[metric] == rows.positions.to_numpy()
        site, step = places_among(rows.site, sites), places_among(rows.step, steps)
        kept = wanted & (site >= 0)
        where = (metric[kept], run, step[kept], site[kept])
        for name, array in numbers.items():
            array[where] = rows[name].to_numpy(dtype=np.float32, na_value=np.nan)[kept]
        status[where] = places_among(rows.status, STATUSES)[kept]
    arrays: dict[str, Any] = {name: packed(array, "f4") for name, array in numbers.items()}
    return arrays | {"status": packed(status, "u1")}


@dataclass(frozen=True, kw_only=True)
class Last:
    """At each run's last step: `value` float32, `status` (a place in STATUSES) and `reason` (a place in `reasons`), all
    (metric, policy, run, detailed site); `rest` float32 (headline metric, run, site): the value of every site."""

    value: Array
    status: Array
    reason: Array
    reasons: list[str]
    rest: Array


def last_values(layout: Layout) -> Last:
    """Every metric of every run at its last step."""
    metrics, sites, policies = names_of(layout), layout.chosen, list(layout.policies)
    shape = (len(metrics), len(policies), len(layout.sources), len(sites))
    value, status = np.full(shape, np.nan, dtype=np.float32), np.zeros(shape, dtype=np.uint8)
    reason, reasons = np.zeros(shape, dtype=np.uint16), {"": 0}
    rest = np.full((len(layout.policy), len(layout.sources), len(layout.sites)), np.nan, dtype=np.float32)
    for run, source in enumerate(layout.sources):
        rows = source.last
        if rows.empty:
            continue
        metric, site, policy = (
            places_among(rows.metric, metrics),
            places_among(rows.site, sites),
            places_among(rows.positions, policies),
        )
        values = rows.value.to_numpy(dtype=np.float32)
        kept = (metric >= 0) & (site >= 0)
        where = (metric[kept], policy[kept], run, site[kept])
        value[where], status[where] = values[kept], places_among(rows.status, STATUSES)[kept]
        reason[where] = _numbered(rows.reason, reasons)[kept]
        drawn = [policies.index(layout.policy[name]) for name in layout.policy]
        main = (metric >= 0) & (metric < len(drawn))
        main[main] = np.asarray(drawn, dtype=int)[metric[main]] == policy[main]
        rest[metric[main], run, places_among(rows.site, layout.sites)[main]] = values[main]
    return Last(value=value, status=status, reason=reason, reasons=list(reasons), rest=rest)


def last_arrays(last: Last) -> dict[str, Any]:
    """The same, packed."""
    kinds = {"value": "f4", "status": "u1", "reason": "u1" if len(last.reasons) < 256 else "u2", "rest": "f4"}
    return {name: packed(getattr(last, name), kind) for name, kind in kinds.items()} | {"reasons": last.reasons}


def places_among(column: pd.Series[Any], among: Sequence[Any]) -> Array:
    """The place of each entry of a column among these, -1 for none."""
    codes, kinds = pd.factorize(column)
    known = {name: place for place, name in enumerate(among)}
    return np.asarray([known.get(name, -1) for name in kinds] or [-1])[codes]


def _numbered(column: pd.Series[Any], known: dict[str, int]) -> Array:
    """The number of each text, new ones added; of more than 65,535 the rest have none."""
    codes, kinds = pd.factorize(column)
    numbers = [known.setdefault(str(text), len(known)) if len(known) < 65_535 else 0 for text in kinds]
    return np.asarray(numbers or [0], dtype=np.uint16)[codes]
