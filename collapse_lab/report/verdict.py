"""The verdict: what was found, arm by arm in one sentence each, the worst first."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from collapse_lab.findings.compare import FEWEST_SEEDS
from collapse_lab.findings.diagnose import Finding, diagnose, unjudged
from collapse_lab.findings.rules import RULES
from collapse_lab.metrics._metric import METRICS
from collapse_lab.report.sources import Source
from collapse_lab.report.words import interval, spoken

METRICS_OF = {rule.kind: rule.metrics for rule in RULES}


@dataclass(frozen=True, kw_only=True)
class ArmFinding:
    """A finding of one arm, over its sites and seeds; `example` is the worst of them, `severity` how bad that is."""

    kind: str
    fault: bool
    severity: float
    sites: list[str]
    seeds: int
    of: int
    onset: int
    example: Finding


@dataclass(frozen=True, kw_only=True)
class ArmVerdict:
    """`sentence` is the verdict on one arm; `findings` all that it rests on, faults first; `unjudged` what could not
    be looked at: kind -> how many sites."""

    arm: str
    place: int
    sentence: str
    healthy: bool
    findings: list[ArmFinding]
    unjudged: dict[str, int]


def findings_of(sources: Sequence[Source]) -> list[list[Finding]]:
    """What was found in each run; nothing where nothing is measured yet."""
    return [diagnose(source.metrics) if len(source.layers) else [] for source in sources]


def verdicts(arms: Sequence[str], sources: Sequence[Source], found: Sequence[list[Finding]]) -> list[ArmVerdict]:
    """One for each arm, the worst first."""
    told = []
    for place, arm in enumerate(arms):
        own = [(source, each) for source, each in zip(sources, found, strict=True) if source.arm == arm]
        told.append(_verdict(arm, place, [source for source, _ in own], [each for _, each in own]))
    return sorted(told, key=lambda each: -_badness(each))


def lines_of(sources: Sequence[Source]) -> list[str]:
    """The verdict on each arm as a line of text, the worst first."""
    arms = list(dict.fromkeys(source.arm for source in sources))
    return [f"{each.arm}: {each.sentence}" for each in verdicts(arms, sources, findings_of(sources))]


def _badness(verdict: ArmVerdict) -> float:
    return max((each.fault + each.severity * each.seeds / each.of for each in verdict.findings), default=-1.0)


def _verdict(arm: str, place: int, sources: Sequence[Source], found: Sequence[list[Finding]]) -> ArmVerdict:
    merged = arm_findings(sources, found)
    faults = [each for each in merged if each.fault]
    tables = [source.last for source in sources if len(source.last)]
    missing: dict[str, int] = {}
    for table in tables[:1]:
        missing = {kind: len(sites) for kind, sites in unjudged(table).items()}
    if not tables:
        sentence = "nothing is measured yet: no capture was made of its runs."
    elif faults:
        sentence = _faulty(faults)
    else:
        images = min(int(table.n_images.min()) for table in tables)
        sites = len({site for table in tables for site in table.site.unique()})
        sentence = (
            f"no fault found at {_count(sites, 'site')} in {_count(len(tables), 'seed')}, {images} images"
            f"{_few(len(tables))}."
        )
    return ArmVerdict(arm=arm, place=place, sentence=sentence, healthy=not faults, findings=merged, unjudged=missing)


def _faulty(faults: Sequence[ArmFinding]) -> str:
    """The worst fault with its place, its number and its interval; the others by name."""
    worst, *others = faults
    since = "before training" if worst.onset == 0 else f"step {worst.onset}"
    text = (
        f"{spoken(worst.kind)} at {_count(len(worst.sites), 'site')} in {worst.seeds} of {_count(worst.of, 'seed')} "
        f"since {since}; worst at {worst.example.site}, which {worst.example.text}"
    )
    text += f" ({measured_of(worst.example)}){_few(worst.of)}."
    if others:
        listed = ", ".join(f"{spoken(each.kind)} ({_count(len(each.sites), 'site')})" for each in others)
        text += f" Also {listed}."
    return text


def measured_of(finding: Finding) -> str:
    """The number a finding rests on: metric, value with its interval, images; of several, one that has an interval."""
    rows = finding.evidence[finding.evidence.value.notna()]
    if rows.empty:
        return f"{int(finding.evidence.n_images.max())} images" if len(finding.evidence) else "no value"
    order = {metric: place for place, metric in enumerate(METRICS_OF[finding.kind])}
    ranked = sorted(range(len(rows)), key=lambda at: (math.isnan(rows.low.iloc[at]), order[rows.metric.iloc[at]]))
    row = rows.iloc[ranked[0]].copy()
    if math.isnan(row.corrected):
        row["corrected"] = row.value
    return f"{spoken(row.metric)} {interval(row, METRICS[row.metric].unit)}, {int(row.n_images)} images"


def _few(seeds: int) -> str:
    return "; not enough seeds to say whether the arm makes it so" if seeds < FEWEST_SEEDS else ""


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def arm_findings(sources: Sequence[Source], found: Sequence[list[Finding]]) -> list[ArmFinding]:
    """What the runs of one arm have in common that is worth saying, faults first, the worst first."""
    gathered: dict[tuple[str, bool], list[tuple[int, Finding]]] = {}
    for source, own in zip(sources, found, strict=True):
        for finding in own:
            gathered.setdefault((finding.kind, finding.fault), []).append((source.seed, finding))
    merged = []
    for (kind, fault), each in gathered.items():
        worst = max((finding for _, finding in each), key=lambda finding: finding.severity)
        merged.append(
            ArmFinding(
                kind=kind,
                fault=fault,
                severity=worst.severity,
                sites=list(dict.fromkeys(finding.site for _, finding in each)),
                seeds=len({seed for seed, _ in each}),
                of=len(sources),
                onset=min(finding.onset for _, finding in each),
                example=worst,
            )
        )
    return sorted(merged, key=lambda finding: (not finding.fault, -finding.severity))


def records(sources: Sequence[Source], found: Sequence[list[Finding]], sites: Mapping[str, int]) -> dict[str, Any]:
    """Every finding as plain data for the page's drill-down: `found` is a list of [run, site, kind, severity, onset,
    text], where run, site and kind are places; `kinds` say name, fault, advice and the metrics it rests on."""
    kinds: dict[tuple[str, bool], dict[str, Any]] = {}
    rows = []
    for run, own in enumerate(found):
        for each in own:
            if each.site not in sites:
                continue
            key = (each.kind, each.fault)
            known = kinds.setdefault(
                key, {"kind": each.kind, "fault": each.fault, "advice": each.advice, "metrics": []}
            )
            known["metrics"] = list(dict.fromkeys([*known["metrics"], *each.evidence.metric]))
            severity = round(each.severity, 4)
            rows.append([run, sites[each.site], list(kinds).index(key), severity, each.onset, each.text])
    return {"kinds": list(kinds.values()), "found": rows}
