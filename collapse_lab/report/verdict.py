"""The verdict: what was found, arm by arm in one sentence each, the worst first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from collapse_lab.findings.compare import FEWEST_SEEDS
from collapse_lab.findings.diagnose import Finding, diagnose, unjudged
from collapse_lab.findings.rules import KINDS
from collapse_lab.report.arm_findings import ArmFinding, arm_findings
from collapse_lab.report.sources import Source
from collapse_lab.report.words import counted, spoken


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
    return sorted(told, key=_badness, reverse=True)


def lines_of(sources: Sequence[Source]) -> list[str]:
    """The verdict on each arm as a line of text, the worst first."""
    arms = list(dict.fromkeys(source.arm for source in sources))
    return [f"{each.arm}: {each.sentence}" for each in verdicts(arms, sources, findings_of(sources))]


def _badness(verdict: ArmVerdict) -> tuple[bool, bool, int, float]:
    """Whether there is a fault; whether in all runs; how bad its kind is; and how bad it is there."""
    worst = next((each for each in verdict.findings if each.fault), None)
    if worst is None:
        return False, False, 0, 0.0
    return True, worst.always > 0, -KINDS.index(worst.kind), worst.severity


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
            f"no fault found at {counted(sites, 'site')} in {counted(len(tables), 'seed')}, {images} images"
            f"{_few(len(tables))}."
        )
    return ArmVerdict(arm=arm, place=place, sentence=sentence, healthy=not faults, findings=merged, unjudged=missing)


def _faulty(faults: Sequence[ArmFinding]) -> str:
    """The worst fault with its place, its number and its interval; the others by name."""
    worst, *others = faults
    mean = " in the mean" if worst.of > 1 else ""
    text = (
        f"{spoken(worst.kind)} at {worst.where}, since {worst.since}; worst{mean} at {worst.site}, which {worst.text}: "
        f"{worst.measured}{_few(worst.of)}."
    )
    if others:
        listed = ", ".join(f"{spoken(each.kind)} ({counted(len(each.sites), 'site')})" for each in others)
        text += f" Also {listed}."
    return text


def _few(seeds: int) -> str:
    return "; not enough seeds to say whether the arm makes it so" if seeds < FEWEST_SEEDS else ""


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
