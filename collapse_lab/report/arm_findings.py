"""What the runs of one arm have in common that is worth saying: findings of single runs, taken together over seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from collapse_lab.findings.diagnose import Finding
from collapse_lab.findings.rules import KINDS, RULES, Rule, text_of
from collapse_lab.findings.severity import STRUCTURE, Values
from collapse_lab.findings.uncertainty import half_width
from collapse_lab.metrics._metric import METRICS
from collapse_lab.report.sources import Source
from collapse_lab.report.words import counted, interval, spoken

RULE_OF = {(rule.kind, rule.fault): rule for rule in RULES}


@dataclass(frozen=True, kw_only=True)
class ArmFinding:
    """A finding of one arm. `sites`: site -> in how many of its `of` runs it holds there; `severity` the sum over sites
    of the mean over runs, with 0 for a run in which it does not hold; `site` the worst by that mean; `text` and
    `measured` are of the mean over all runs there, with a 95 % interval over seeds, of a single one over images;
    `since` when it began, the earliest of any."""

    kind: str
    fault: bool
    severity: float
    sites: dict[str, int]
    of: int
    since: str
    site: str
    text: str
    measured: str
    advice: str

    @property
    def always(self) -> int:
        """At how many sites it holds in all runs."""
        return sum(seeds == self.of for seeds in self.sites.values())

    @property
    def where(self) -> str:
        """At how many sites, and in how many of the seeds."""
        sites = counted(len(self.sites), "site")
        if self.of == 1:
            return f"{sites} in 1 seed"
        if self.always == len(self.sites):
            return f"{sites} in all {self.of} seeds"
        return f"{sites} in at least one of {self.of} seeds, at {self.always or 'none'} in all"


def arm_findings(sources: Sequence[Source], found: Sequence[list[Finding]]) -> list[ArmFinding]:
    """Every kind once, of the runs of one arm and their findings: faults first, of these what holds at some site in all
    runs, of these the worst kind."""
    gathered: dict[tuple[str, bool], list[Finding]] = {}
    for own in found:
        for finding in own:
            gathered.setdefault((finding.kind, finding.fault), []).append(finding)
    tables = [source.last for source in sources if len(source.last)]
    last = pd.concat(tables) if gathered else pd.DataFrame()
    first = min((int(source.layers.step.min()) for source in sources if len(source.layers)), default=0)
    merged = [_merged(RULE_OF[key], each, last, len(tables), first) for key, each in gathered.items()]
    return sorted(merged, key=lambda each: (not each.fault, each.always == 0, KINDS.index(each.kind)))


def _merged(rule: Rule, found: Sequence[Finding], last: pd.DataFrame, runs: int, first: int) -> ArmFinding:
    by_site: dict[str, list[Finding]] = {}
    for finding in found:
        by_site.setdefault(finding.site, []).append(finding)
    severity = {site: sum(each.severity for each in own) / runs for site, own in by_site.items()}
    site = max(severity, key=lambda name: severity[name])
    worst = max(by_site[site], key=lambda finding: finding.severity)
    rows = _rows(rule, worst, last)
    return ArmFinding(
        kind=rule.kind,
        fault=rule.fault,
        severity=sum(severity.values()),
        sites={name: len(own) for name, own in by_site.items()},
        of=runs,
        since=_since(min(finding.onset for finding in found), first),
        site=site,
        text=worst.text if runs == 1 else text_of(rule, _values(rule, rows)),
        measured=_measured(rule, rows),
        advice=rule.advice,
    )


def _since(onset: int, first: int) -> str:
    if onset == 0:
        return "before training"
    return f"step {onset}" + (", the first that was measured" if onset == first else "")


def _rows(rule: Rule, finding: Finding, last: pd.DataFrame) -> pd.DataFrame:
    """The rows that the finding rests on, of all runs, whether it holds there or not."""
    policies = dict(zip(finding.evidence.metric, finding.evidence.positions, strict=True))
    own: pd.DataFrame = last[(last.site == finding.site) & last.metric.isin(rule.metrics)]
    return own[own.positions == own.metric.map(policies)]


def _values(rule: Rule, rows: pd.DataFrame) -> Values:
    """What the rule reads, as means over the runs."""
    values: dict[str, Any] = {str(metric): value for metric, value in rows.groupby("metric").value.mean().items()}
    values |= {f"reason {metric}": _first(rows[rows.metric == metric].reason) for metric in STRUCTURE}
    counts = {name: float(rows[name].mean()) for name in ("channels", "n_images", "n_effective")}
    return {**dict.fromkeys(rule.metrics, math.nan), **counts, **values}


def _first(reasons: pd.Series[str]) -> str:
    told = [reason for reason in reasons if reason]
    return told[0] if told else "it was not measured"


def _measured(rule: Rule, rows: pd.DataFrame) -> str:
    """The number that the finding rests on: of several metrics the first with an interval over images, else the
    first."""
    valued = rows[rows.value.notna()]
    images = counted(int(rows.n_images.min()), "image") if len(rows) else "no image"
    if valued.empty:
        return images
    ranked = sorted(
        valued.metric.unique(),
        key=lambda metric: (valued[valued.metric == metric].low.isna().all(), rule.metrics.index(metric)),
    )
    own = valued[valued.metric == ranked[0]]
    return f"{spoken(ranked[0])} {interval(_mean(own), METRICS[ranked[0]].unit)}{_over(len(own))}, {images}"


def _mean(rows: pd.DataFrame) -> pd.Series[Any]:
    """corrected, low and high of one metric at one site: over seeds where there are several."""
    corrected = rows.corrected.fillna(rows.value)
    mean = float(corrected.mean())
    if len(rows) == 1:
        return pd.Series({"corrected": mean, "low": float(rows.low.iloc[0]), "high": float(rows.high.iloc[0])})
    half = half_width(float(corrected.var()) / len(rows), len(rows) - 1.0)
    ends = (METRICS[rows.metric.iloc[0]].clip(mean + sign * half) for sign in (-1, 1))
    return pd.Series(dict(zip(("corrected", "low", "high"), (mean, *ends), strict=True)))


def _over(seeds: int) -> str:
    return f" over {seeds} seeds" if seeds > 1 else ""
