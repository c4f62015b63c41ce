"""The rules of an alert, in words; every rule is read here. When one goes on and off stands in `alarm`."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from collapse_lab.capture.sites import matches_path
from collapse_lab.findings import registered as registered  # every metric, for METRICS
from collapse_lab.metrics._metric import METRICS
from collapse_lab.registry import nearest

Reference = Literal["its own maximum", "its own minimum", "the untrained value"]

GRAMMAR = (
    "METRIC of SITES, then one of: 'fell X % below its own maximum', 'fell X % below the untrained value', "
    "'rose X % above its own minimum', 'rose X % above the untrained value', 'is below NUMBER', 'is above NUMBER'; "
    "then, if wanted, ', for N checks' and ', stop'. For example: "
    "'effective_rank of stages.2.* fell 30 % below its own maximum, for 2 checks, stop'"
)

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?"
_RULE = re.compile(
    rf"(?P<metric>\w+) of (?P<sites>\S+) "
    rf"(?:is (?P<side>below|above) (?P<level>{_NUMBER})"
    rf"|(?P<move>fell|rose) (?P<percent>{_NUMBER}) ?% (?P<way>below|above) (?P<reference>[a-z ]+?))"
    rf"(?: ?, for (?P<checks>\d+) checks?)?(?P<stop> ?, stop)?"
)
_REFERENCES: dict[tuple[str, str], tuple[Reference, ...]] = {
    ("fell", "below"): ("its own maximum", "the untrained value"),
    ("rose", "above"): ("its own minimum", "the untrained value"),
}


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What an alert waits for: `metric` of `sites`, a pattern, beyond a threshold for `checks` checks in a row.

    `falls` says on which side of the threshold it holds. The threshold is `level`, a number, or it lies `percent`
    away from `reference`; the other two are then None. `stop` asks for the end of the training.
    """

    text: str
    metric: str
    sites: str
    falls: bool
    level: float | None
    percent: float | None
    reference: Reference | None
    checks: int
    stop: bool

    def fits(self, site: str) -> bool:
        """Whether the pattern takes this site; `.*` at its end is everything below, since sites were chosen before."""
        return matches_path(self.sites, site) or (self.sites.endswith(".*") and matches_path(self.sites + "*", site))

    def threshold(self, reference: float) -> float:
        """Beyond it the rule holds; NaN without a reference. A percentage is one of the reference's size."""
        if self.level is not None:
            return self.level
        share = (self.percent or 0.0) / 100
        return reference + (-share if self.falls else share) * abs(reference)

    def beyond(self, value: float, bound: float) -> bool:
        """Whether a value lies past a bound, in the direction in which the rule holds. NaN never does."""
        return value < bound if self.falls else value > bound


def read_rule(text: str) -> Rule:
    """One rule from its words, see GRAMMAR.

    Raises ValueError showing the grammar for other words, or for a percentage out of range; LookupError for an unknown
    metric, with the nearest. Warns of a rule against the metric's direction of collapse.
    """
    words = " ".join(text.split())
    found = _RULE.fullmatch(words)
    if found is None:
        raise ValueError(f"{words!r} is no rule. A rule is {GRAMMAR}")
    said = found.groupdict()
    falls = "below" in (said["side"], said["way"])
    known = _REFERENCES.get((said["move"], said["way"]), ())
    reference = next((each for each in known if each == said["reference"]), None)
    if said["move"] and reference is None:
        raise ValueError(f"{words!r} compares with nothing that is known. A rule is {GRAMMAR}")
    percent = None if said["percent"] is None else float(said["percent"])
    if percent is not None and not 0 < percent < (100 if said["move"] == "fell" else math.inf):
        raise ValueError(f"{words!r}: X lies above 0, and below 100 for a fall. A rule is {GRAMMAR}")
    if said["checks"] is not None and not int(said["checks"]):
        raise ValueError(f"{words!r}: N is 1 or more. A rule is {GRAMMAR}")
    rule = Rule(
        text=words,
        metric=said["metric"],
        sites=said["sites"],
        falls=falls,
        level=None if said["level"] is None else float(said["level"]),
        percent=percent,
        reference=reference,
        checks=int(said["checks"] or 1),
        stop=said["stop"] is not None,
    )
    _warn_of_direction(rule)
    return rule


def _warn_of_direction(rule: Rule) -> None:
    collapse = METRICS[rule.metric].collapse_when
    if collapse is not None and (collapse == "low") != rule.falls:
        way = "falls" if rule.falls else "rises"
        note = f"{rule.text!r} holds when {rule.metric} {way}, but it collapses when it is {collapse}"
        warnings.warn(note, stacklevel=4)


def read_rules(texts: Iterable[str], sites: Sequence[str]) -> tuple[Rule, ...]:
    """All rules; raises LookupError for one whose pattern takes none of the watched `sites`."""
    rules = tuple(map(read_rule, [texts] if isinstance(texts, str) else texts))
    for rule in rules:
        if not any(map(rule.fits, sites)):
            why = nearest(rule.sites, sites)
            if rule.sites.startswith("class:"):
                why = "; a rule goes by name, such as *.act or kind:act"
            raise LookupError(f"{rule.text!r}: no watched site matches {rule.sites!r}{why}")
    return rules
