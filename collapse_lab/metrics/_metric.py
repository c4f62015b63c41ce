"""Metrics and series by name, with the facts that are printed wherever their values are, and how one is measured."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from collapse_lab.registry import Registry
from collapse_lab.stats.layer import LayerStats, NoScatterError

Status = Literal["ok", "biased", "capped", "degenerate", "insufficient", "non_finite"]
Kind = Literal["complete", "dimensional", "dead", "redundant", "spatial", "dominated", "mean"]
Bound = float | Literal["channels"] | None

HEADLINE = (
    "effective_rank",
    "participation_ratio",
    "stable_rank",
    "variance_share",
    "dead_channels",
    "channel_cosine_distance_live",
    "pair_cosine_centred",
    "position_cosine_centred",
)
"""The metrics with replicates, intervals and a primary test; everything else is computed once."""

ENTROPY_RANK = 10.0
"""A rank of entropy or participation, or any other summary of a whole spectrum, estimates nothing but itself below
this many effective rows a channel: the 95 % interval of the effective rank holds the population's value in 93 to 98 %
of draws from there on, and in as few as 82 % at half as many (`benchmarks/coverage.py`)."""


class NoValueError(Exception):
    """Raised by a metric that its own rule leaves without a value; the message is the reason."""


def never_capped(stats: LayerStats) -> str:
    """No reason: the value does not depend on where the floor lies."""
    return ""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One metric: its function and what a reader must know to read its value."""

    name: str
    function: Callable[[LayerStats], float]
    unit: str
    bounds: tuple[Bound, Bound]
    collapse_when: Literal["low", "high"] | None
    sees: tuple[Kind, ...]
    source: str
    rows: str
    on_constant: float | Literal["no value", "computed"]
    biased_below: float
    capped: Callable[[LayerStats], str]
    log_scale: bool

    def clip(self, value: float) -> float:
        """Cut an estimate to the bounds (those in channels aside): the population value lies inside. NaN stays."""
        low, high = (bound if isinstance(bound, int | float) else None for bound in self.bounds)
        value = value if low is None or not value < low else low
        return value if high is None or not value > high else high


@dataclass(frozen=True, kw_only=True)
class Series:
    """A quantity a channel or a direction: its function and unit."""

    name: str
    function: Callable[[LayerStats], Tensor]
    unit: str


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """A value with what it takes to trust it; `reason` says why a status is not ok. NaN stands for no value."""

    metric: str
    value: float
    status: Status
    reason: str
    floor: float
    n_images: int
    n_rows: int
    n_effective: float


METRICS: Registry[Metric] = Registry("metric")
SERIES: Registry[Series] = Registry("series")


def metric(
    *,
    unit: str,
    bounds: tuple[Bound, Bound],
    collapse_when: Literal["low", "high"] | None,
    sees: tuple[Kind, ...],
    source: str,
    rows: str = "centred",
    on_constant: float | Literal["no value", "computed"] = "no value",
    biased_below: float = 0.0,
    capped: Callable[[LayerStats], str] = never_capped,
    log_scale: bool = False,
) -> Callable[[Callable[[LayerStats], float]], Callable[[LayerStats], float]]:
    """Register a function `stats -> float` under its own name, unchanged.

    `rows` says what the rows go through before ("centred", "as they are", "unit length"); `on_constant` what a
    constant or all-zero layer gets: a number, no value, or what the function computes; `biased_below` so many
    effective rows a channel the value is no estimate of the population; `capped` says why the floor decided the value,
    "" where it did not; `log_scale` takes the interval of the logarithm, for ratios of variances. Raises ValueError
    for a name that is taken.
    """

    def register(function: Callable[[LayerStats], float]) -> Callable[[LayerStats], float]:
        name = function.__name__
        facts = Metric(
            name=name,
            function=function,
            unit=unit,
            bounds=bounds,
            collapse_when=collapse_when,
            sees=sees,
            source=source,
            rows=rows,
            on_constant=on_constant,
            biased_below=biased_below,
            capped=capped,
            log_scale=log_scale,
        )
        METRICS.add(name, facts)
        return function

    return register


def series(*, unit: str) -> Callable[[Callable[[LayerStats], Tensor]], Callable[[LayerStats], Tensor]]:
    """Register a function `stats -> Tensor` of one axis, a value a channel or a direction, unchanged."""

    def register(function: Callable[[LayerStats], Tensor]) -> Callable[[LayerStats], Tensor]:
        SERIES.add(function.__name__, Series(name=function.__name__, function=function, unit=unit))
        return function

    return register


def measure(name: str, stats: LayerStats) -> Measurement:
    """The value of one metric with its status; never an exception from the data, never a healthy number for a
    broken layer. Raises LookupError for an unknown metric."""
    value, status, reason = _judge(METRICS[name], stats)
    return Measurement(
        metric=name,
        value=value,
        status=status,
        reason=reason,
        floor=stats.floor if stats.n_rows and stats.has_scatter else math.nan,
        n_images=stats.n_images,
        n_rows=stats.n_rows,
        n_effective=stats.n_effective if stats.n_rows else 0.0,
    )


def _judge(facts: Metric, stats: LayerStats) -> tuple[float, Status, str]:
    bad = f"{stats.bad_values} values of {stats.bad_rows} positions are not finite; these positions are left out"
    if stats.n_images < 2:
        reason = f"{stats.n_images} images, at least 2 are needed"
        return math.nan, *(("non_finite", bad) if stats.bad_values else ("insufficient", reason))
    try:
        value, status, reason = _value(facts, stats)
    except (NoValueError, NoScatterError) as why:
        value, status, reason = math.nan, "degenerate" if stats.degenerate else "insufficient", str(why)
    return (value, "non_finite", bad) if stats.bad_values else (value, status, reason)


def _value(facts: Metric, stats: LayerStats) -> tuple[float, Status, str]:
    if stats.degenerate:
        value = facts.function(stats) if facts.on_constant == "computed" else facts.on_constant
        reason = "all rows are the same, or differ by no more than rounding"
        return (math.nan if isinstance(value, str) else value), "degenerate", reason
    value = facts.function(stats)
    if limit := facts.capped(stats):
        return value, "capped", limit
    if stats.n_effective < facts.biased_below * stats.channels:
        reason = f"{stats.n_effective:.0f} effective rows for {stats.channels} channels: compare at equal n only"
        return value, "biased", reason
    return value, "ok", ""
