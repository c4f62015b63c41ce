"""When a rule's alert goes on and off: a function of the rows measured so far, so a resumed run comes to the same."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from collapse_lab.findings.alerts import Rule
from collapse_lab.metrics._metric import METRICS

Row = Mapping[str, Any]
"""One row of the tidy table."""

BROKEN = ("degenerate", "non_finite")
"""Statuses of a layer that is constant or not finite: they count as the metric's worst value."""

_Place = tuple[str, str, str]
"""(site, positions, metric)."""


@dataclass(frozen=True, kw_only=True)
class Alert:
    """A rule that went "on" or "off" at a site.

    `value` is the metric's, NaN where it has none, with its `status`. `reference` is what it was compared with (the
    site's own maximum or minimum, or the untrained value; for a fixed number the best value so far) and `threshold`
    the value beyond which the rule holds; NaN where nothing was healthy to compare with. `text` has it all in words.
    """

    step: int
    rule: str
    site: str
    positions: str
    metric: str
    value: float
    status: str
    reference: float
    threshold: float
    n_images: int
    state: Literal["on", "off"]
    stop: bool
    text: str


@dataclass(kw_only=True)
class _Marks:
    """The untrained, lowest and highest value of one metric at one place; NaN until there is a healthy one."""

    untrained: float = math.nan
    lowest: float = math.nan
    highest: float = math.nan

    def take(self, value: float) -> None:
        self.lowest, self.highest = min(value, self.lowest), max(value, self.highest)  # value first: NaN gives way

    def reference(self, rule: Rule) -> float:
        if rule.reference == "the untrained value":
            return self.untrained
        return self.highest if rule.falls else self.lowest


@dataclass(kw_only=True)
class _Lamp:
    """For how many checks in a row a rule has held, and the alert while it is on."""

    held: int = 0
    alert: Alert | None = None


class Alarm:
    """Judges the rows of each check by every rule; what it knows is the rows it was given, in their order.

    An alert goes on when its rule has held for its number of checks in a row, and off when the value has come back
    half of the way from the threshold to the reference; in between it stays as it is. For a fixed number that is half
    of the way to the best value so far, or the number itself where no value was better. A broken value counts as the
    worst in the direction of collapse. An insufficient one says nothing: everything stays as it is.
    """

    def __init__(self, rules: Sequence[Rule], untrained: Iterable[Row] | None = None) -> None:
        """`untrained`: rows of the network before training; without them the first check's are taken."""
        self.rules = tuple(rules)
        self._marks: dict[_Place, _Marks] = {}
        self._lamps: dict[tuple[int, _Place], _Lamp] = {}
        self._first, self._proven = untrained is None, False
        for row in untrained or ():
            self._marks[_place(row)] = _Marks(untrained=row["value"] if _healthy(row) else math.nan)

    def judge(self, rows: Sequence[Row], *, again: bool = False) -> list[Alert]:
        """What one check changes, by rule and row; `again` for rows of before an interruption.

        Raises ValueError at the first check that is not for a rule that could never go on: its metric has no value at
        any of its sites, or it has no untrained value to compare with.
        """
        for row in filter(_healthy, rows):
            marks = self._marks.setdefault(_place(row), _Marks())
            marks.take(row["value"])
            if self._first:
                marks.untrained = row["value"]
        self._first = False
        if not again and not self._proven:
            self._refuse_blind(rows)
            self._proven = True
        changes = [self._turn(number, row) for number, rule in enumerate(self.rules) for row in _rows_of(rule, rows)]
        return [alert for alert in changes if alert is not None]

    def _turn(self, number: int, row: Row) -> Alert | None:
        rule, lamp = self.rules[number], self._lamps.setdefault((number, _place(row)), _Lamp())
        if _silent(row):
            return None
        reference = self._marks.get(_place(row), _Marks()).reference(rule)
        threshold = rule.threshold(reference)
        if _broken(row):
            holds = _breaks_towards(rule)
            recovered = not holds
        else:
            holds = rule.beyond(row["value"], threshold)
            recovered = not rule.beyond(row["value"], _release(rule, threshold, reference))
        lamp.held = lamp.held + 1 if holds else 0
        on = lamp.alert is not None
        if (on and not recovered) or (not on and lamp.held < rule.checks):
            return None
        change = _alert(rule, row, reference, threshold, on=not on)
        lamp.alert = None if on else change
        return change

    @property
    def stops(self) -> list[Alert]:
        """The alerts of rules with "stop" that are on."""
        lit = [lamp.alert for lamp in self._lamps.values() if lamp.alert is not None]
        return [alert for alert in lit if alert.stop]

    def _refuse_blind(self, rows: Sequence[Row]) -> None:
        for rule in self.rules:
            mine = _rows_of(rule, rows)
            if all(map(_silent, mine)):
                why = next((row["reason"] for row in mine), "it was not measured")
                raise ValueError(f"{rule.text!r} cannot be judged: {rule.metric} has no value at its sites ({why})")
            for row in filter(_healthy, mine):
                if math.isnan(rule.threshold(self._marks[_place(row)].reference(rule))):
                    where = f"{row['site']} ({row['positions']})"
                    raise ValueError(f"{rule.text!r} cannot be judged: there is no untrained value of {where}")


def _place(row: Row) -> _Place:
    return row["site"], row["positions"], row["metric"]


def _rows_of(rule: Rule, rows: Iterable[Row]) -> list[Row]:
    return [row for row in rows if row["metric"] == rule.metric and rule.fits(row["site"])]


def _broken(row: Row) -> bool:
    return row["status"] in BROKEN


def _silent(row: Row) -> bool:
    return not _broken(row) and math.isnan(row["value"])


def _healthy(row: Row) -> bool:
    return not _broken(row) and not _silent(row)


def _breaks_towards(rule: Rule) -> bool:
    """Whether the worst value lies beyond the rule's threshold; a metric without a direction breaks either way."""
    collapse = METRICS[rule.metric].collapse_when
    return collapse is None or (collapse == "low") == rule.falls


def _release(rule: Rule, threshold: float, reference: float) -> float:
    """Up to here a value is still not recovered; the threshold where the reference is no better than it."""
    if math.isnan(reference) or rule.beyond(reference, threshold):
        return threshold
    return (threshold + reference) / 2


def _alert(rule: Rule, row: Row, reference: float, threshold: float, *, on: bool) -> Alert:
    says: Callable[[Rule, Row, float, float], str] = _says_on if on else _says_off
    mark = f", {row['status']}" if row["status"] != "ok" else ""
    value = "without a value" if math.isnan(row["value"]) else f"{row['value']:.4g}"
    what = f"{rule.metric} of {row['site']} ({row['positions']}) is {value} at step {row['step']}"
    return Alert(
        step=int(row["step"]),
        rule=rule.text,
        site=row["site"],
        positions=row["positions"],
        metric=rule.metric,
        value=float(row["value"]),
        status=row["status"],
        reference=reference,
        threshold=threshold,
        n_images=int(row["n_images"]),
        state="on" if on else "off",
        stop=rule.stop and on,
        text=f"{what} ({row['n_images']} images{mark}): {says(rule, row, reference, threshold)}",
    )


def _says_on(rule: Rule, row: Row, reference: float, threshold: float) -> str:
    checks = f", for {rule.checks} checks" if rule.checks > 1 else ""
    if _broken(row):
        return f"this counts as the worst value{checks}, since {row['reason']}"
    side = "below" if rule.falls else "above"
    if rule.reference is None:
        return f"{side} {threshold:.4g}{checks}; the best so far is {reference:.4g}"
    asked = f"where the rule asks for {rule.percent:g} %{checks}"
    if not reference:
        return f"{side} {rule.reference}, 0, {asked}: from 0 anything is more"
    return f"{abs(row['value'] - reference) / abs(reference):.1%} {side} {rule.reference}, {reference:.4g}, {asked}"


def _says_off(rule: Rule, row: Row, reference: float, threshold: float) -> str:
    if _broken(row) or math.isnan(reference):
        return "the rule holds no longer"
    release = _release(rule, threshold, reference)
    return f"recovered past {release:.4g}, half of the way from {threshold:.4g} back to {reference:.4g}"
