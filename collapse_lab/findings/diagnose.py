"""From numbers to findings: every kind of collapse that the metrics see, with its evidence and what to try.

There is no score: the verdict is the list, the worst kind first. What holds when stands in `rules`, the thresholds in
thresholds.toml.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from collapse_lab import markup
from collapse_lab.capture.store import Capture
from collapse_lab.findings.rules import KINDS, RULES, Rule, text_of
from collapse_lab.findings.severity import STRUCTURE, Values, number
from collapse_lab.findings.shown import FINDING, Findings, advised, finding_cells
from collapse_lab.findings.table import analyze, checked
from collapse_lab.findings.thresholds import Limits, limits, published
from collapse_lab.stats.layer import LayerStats

EVIDENCE = ("metric", "positions", "value", "low", "high", "status")
"""What is shown of the rows that a finding rests on."""
READ = (
    *("site", "positions", "n_images", "n_effective", "channels", "metric", "value", "status", "reason"),
    *("low", "high"),
)
"""The columns that rules look at."""
JUDGED = frozenset(metric for rule in RULES for metric in rule.metrics)
"""The metrics that rules look at, besides statuses."""


@dataclass(frozen=True, kw_only=True)
class HeldAgainst:
    """The null of a finding: its `name`, and what it gives `metric` at the site's `n_effective` rows."""

    name: str
    metric: str
    value: float
    n_effective: float


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is wrong, or worth a note, at one site.

    `severity` runs from 0 (a note, or just past the threshold) to 1 (as bad as the quantity can be). `severity_low` and
    `severity_high` are those of the ends of the 95 % interval of the metric it rests on; the interval is for the
    population value and need not hold the plain one. NaN where the table has no interval, and for notes. `onset` is the
    first step from which the finding holds to the end; `evidence` are the table rows it rests on; `thresholds` the
    values it was judged by; `null` what it was held against, None where a fixed threshold is all; `source` says who
    advises so.
    """

    kind: str
    site: str
    severity: float
    severity_low: float
    severity_high: float
    onset: int
    evidence: pd.DataFrame
    thresholds: Limits
    null: HeldAgainst | None
    advice: str
    source: str
    fault: bool
    text: str

    def __repr__(self) -> str:
        mark = "!" if self.fault else "·"
        return f"<{mark} {self.kind}: {self.site or 'the features'} {self.text}>"

    def _repr_html_(self) -> str:
        """What was found, and the rows it rests on."""
        found = markup.table(FINDING, [finding_cells(self)], note=advised([self]))
        rows = self.evidence[list(EVIDENCE)].itertuples(index=False)
        return found + markup.table(EVIDENCE, rows, title="rests on")


@dataclass(frozen=True, kw_only=True)
class _Held:
    """A rule that holds at a site: how badly, under the policy that shows it worst."""

    severity: float
    positions: str
    values: Values


Holds = dict[tuple[int, str], _Held]
"""(place of the rule, site) -> what holds."""


def diagnose(
    measured: pd.DataFrame | Capture | LayerStats, *, thresholds: Mapping[str, float] | Path | str | None = None
) -> list[Finding]:
    """All findings of one run, the worst kind first; an empty list is healthy, as far as `unjudged` says nothing.

    Collapse of directions is held against the same channels without correlation, so unequal channels alone are none: a
    layer whose variance lies in one channel of 64 has no finding here; read `effective_rank` and `variance_imbalance`.

    A table of several steps gives each finding its onset; findings are those of the last step. Where no rows were kept,
    a low rank that comes from classes cannot be told from collapse, and the finding says so. `thresholds` replace
    published ones: values by name, or a TOML file of them (see `thresholds.limits`). Raises ValueError for a table of
    several runs, one without metrics or one that lacks columns, and what `limits` raises.
    """
    bounds = limits(thresholds)
    table = checked(measured) if isinstance(measured, pd.DataFrame) else analyze(measured)
    if table.empty:
        raise ValueError("the table is empty: there is nothing to diagnose")
    if len(table[["run", "arm", "seed"]].drop_duplicates()) > 1:
        raise ValueError("the table holds several runs; diagnose them one by one")
    table = table[table.channels > 0]  # the probe's row has none
    if table.empty:
        raise ValueError("the table holds no metric of a layer: there is nothing to diagnose")
    last = table[table.step == table.step.max()]
    holds = _held(last, bounds)
    onset = _onsets(table, list(holds), bounds)
    evidence = _evidence(last, holds)
    found = [
        _finding(RULES[place], site, held, bounds, onset[place, site], rows)
        for ((place, site), held), rows in zip(holds.items(), evidence, strict=True)
    ]
    return Findings(sorted(found, key=lambda each: (not each.fault, KINDS.index(each.kind), -each.severity, each.site)))


def unjudged(table: pd.DataFrame) -> dict[str, list[str]]:
    """Kind -> sites of the last step where the metric of its first threshold has no value.

    Kinds without a threshold are facts of the rows, and a constant layer or one that is not finite is judged by that.
    What has no value by its own rule, as the cosine of positions where there is one, is not judged either.
    """
    last = table[(table.step == table.step.max()) & (table.channels > 0)]
    broken = set(last[last.status.isin(["degenerate", "non_finite"])].site)
    valued = last[last.value.notna()].groupby("metric").site.agg(set)
    found: dict[str, list[str]] = {}
    for rule in [rule for rule in RULES if rule.thresholds]:
        known = broken | valued.get(published()[rule.thresholds[0]].metric, set())
        found.setdefault(rule.kind, [site for site in last.site.unique() if site not in known])
    return {kind: sites for kind, sites in found.items() if sites}


def _held(table: pd.DataFrame, bounds: Limits, rules: Iterable[int] = range(len(RULES))) -> Holds:
    """(rule, site) -> what holds of these rules, at one step."""
    held: Holds = {}
    found = _values(table)
    shared: dict[tuple[str, str], float] = {}
    for (site, _), values in found.items():
        for metric in STRUCTURE:
            if not math.isnan(value := number(values, metric)):
                shared[site, metric] = max(value, shared.get((site, metric), -math.inf))
    for (site, positions), values in found.items():
        for metric in STRUCTURE:
            if math.isnan(number(values, metric)):
                values[metric] = shared.get((site, metric), math.nan)
        for place in rules:
            severity = RULES[place].severity(values, bounds)
            key = (place, site)
            if severity is not None and (key not in held or severity > held[key].severity):
                held[key] = _Held(severity=severity, positions=positions, values=values)
    return held


def _values(table: pd.DataFrame) -> dict[tuple[str, str], dict[str, Any]]:
    """What rules read of each site and policy: metrics by name, "low NAME" and "high NAME" of those with an interval.

    Plain lists, as a frame is slow to cut a thousand times.
    """
    found: dict[tuple[str, str], dict[str, Any]] = {}
    columns = [table[name].tolist() for name in READ]
    for site, positions, images, effective, channels, metric, value, status, reason, low, high in zip(
        *columns, strict=True
    ):
        values = found.get((site, positions))
        if values is None:
            values = {"n_images": float(images), "n_effective": float(effective), "channels": float(channels)}
            found[site, positions] = values
        values[metric], values[f"status {status}"], values[f"reason {metric}"] = value, True, reason
        values[f"low {metric}"], values[f"high {metric}"] = low, high
    for values in found.values():
        # The null is a number, so the interval of the rank is one of its share.
        for end in ("low", "high"):
            values[f"{end} effective_rank_null_share"] = number(values, f"{end} effective_rank") / _null_rank(values)
    return found


def _null_rank(values: Values) -> float:
    share = number(values, "effective_rank_null_share")
    return number(values, "effective_rank") / share if share > 0 else math.nan


def _evidence(table: pd.DataFrame, holds: Holds) -> Iterator[pd.DataFrame]:
    """The rows that each of these rests on: cut out together, as a cut costs as much whatever its size."""
    columns = zip(*(table[name].tolist() for name in ("site", "metric", "positions", "value")), strict=True)
    rows: dict[str, list[tuple[int, str, str, float]]] = {}
    for place, (site, metric, positions, value) in enumerate(columns):
        rows.setdefault(site, []).append((place, metric, positions, value))
    chosen = []
    for (place, site), held in holds.items():
        metrics = RULES[place].metrics
        chosen.append(
            [
                row
                for row, metric, positions, value in rows[site]
                if metric in metrics
                and (positions == held.positions or (metric in STRUCTURE and not math.isnan(value)))
            ]
        )
    whole, start = table.iloc[[row for each in chosen for row in each]], 0
    for each in chosen:
        yield whole.iloc[start : start + len(each)]
        start += len(each)


def _finding(rule: Rule, site: str, held: _Held, bounds: Limits, onset: int, evidence: pd.DataFrame) -> Finding:
    low, high = _interval(rule, held.values, bounds)
    null = _null_rank(held.values)
    against = HeldAgainst(
        name="channels of the same variances, unrelated",
        metric="effective_rank",
        value=null,
        n_effective=held.values["n_effective"],
    )
    return Finding(
        kind=rule.kind,
        site=site,
        severity=_clamped(held.severity),
        severity_low=low,
        severity_high=high,
        onset=onset,
        evidence=evidence,
        thresholds={name: bounds[name] for name in rule.thresholds},
        null=against if "effective_rank_null_share" in rule.metrics and not math.isnan(null) else None,
        advice=rule.advice,
        source=rule.source,
        fault=rule.fault,
        text=text_of(rule, held.values),
    )


def _interval(rule: Rule, values: Values, bounds: Limits) -> tuple[float, float]:
    metric, *others = rule.metrics
    ends = [number(values, f"{end} {metric}") for end in ("low", "high")]
    alone = {**values, **dict.fromkeys(others, math.nan)}
    # Where another metric made it so bad, the interval of this one says nothing of the severity.
    decides = rule.severity(alone, bounds) == rule.severity(values, bounds)
    if not rule.fault or not decides or any(map(math.isnan, ends)):
        return math.nan, math.nan
    low, high = sorted(_clamped(rule.severity({**values, metric: end}, bounds) or 0.0) for end in ends)
    return low, high


def _clamped(severity: float) -> float:
    return min(1.0, max(0.0, severity))


def _onsets(table: pd.DataFrame, holds: list[tuple[int, str]], bounds: Limits) -> dict[tuple[int, str], int]:
    """The first step from which each (rule, site) that holds at the last one held throughout.

    From the last step backwards, at the sites that are still in question: a healthy site has no history to judge.
    """
    steps = sorted(table.step.unique().tolist(), reverse=True)
    onset, open_ = dict.fromkeys(holds, steps[0]), list(holds)
    judged = table.metric.isin(JUDGED) | table.status.isin(["degenerate", "non_finite"])
    part = table.loc[judged & table.site.isin({site for _, site in holds}), ["step", *READ]]
    for step in steps[1:]:
        if not open_:
            break
        own = part[(part.step == step) & part.site.isin({site for _, site in open_})]
        held = _held(own, bounds, {place for place, _ in open_})
        open_ = [key for key in open_ if key in held]
        onset |= dict.fromkeys(open_, step)
    return onset
