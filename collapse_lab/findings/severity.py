"""How badly a kind of collapse holds: functions of one site's values and the thresholds.

0 at the threshold, 1 where the quantity cannot get worse, None where the finding does not hold. A metric that has no
value speaks for nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from collapse_lab.findings.thresholds import Limits

Values = Mapping[str, Any]
"""One site under one position policy: metrics by name, and facts of its rows."""

Severity = Callable[[Values, Limits], float | None]

STRUCTURE = ("class_variance_share", "cluster_silhouette")
"""What tells structure by class from low rank. Rows are kept of pooled sites; it holds for their other policies too."""


def number(values: Values, metric: str) -> float:
    """The value of a metric; NaN where there is none."""
    return float(values.get(metric, math.nan))


def below(metric: str, threshold: str) -> Severity:
    def severity(values: Values, limits: Limits) -> float | None:
        value = number(values, metric)
        return 1 - value / limits[threshold] if value < limits[threshold] else None

    return severity


def above(metric: str, threshold: str) -> Severity:
    def severity(values: Values, limits: Limits) -> float | None:
        value = number(values, metric)
        return (value - limits[threshold]) / (1 - limits[threshold]) if value >= limits[threshold] else None

    return severity


def _worst_of(*parts: Severity) -> Severity:
    def severity(values: Values, limits: Limits) -> float | None:
        held = [each for part in parts if (each := part(values, limits)) is not None]
        return max(held) if held else None

    return severity


def pooled_alike(values: Values, _: Limits) -> float | None:
    return 1.0 if number(values, "image_variance_share") == 0 else None


complete = _worst_of(below("variance_share", "near_constant"), pooled_alike)
_few_directions = _worst_of(
    below("effective_rank_null_share", "few_directions"), above("starved_directions", "many_starved")
)
_by_class = _worst_of(above("class_variance_share", "classes_explain"), above("cluster_silhouette", "tight_clusters"))


def dimensional(values: Values, limits: Limits) -> float | None:
    excused = _by_class(values, limits) is not None or complete(values, limits) is not None
    return None if excused else _few_directions(values, limits)


def structured(values: Values, limits: Limits) -> float | None:
    if _few_directions(values, limits) is None or complete(values, limits) is not None:
        return None
    return None if _by_class(values, limits) is None else 0.0


def some_dead(values: Values, limits: Limits) -> float | None:
    return 0.0 if 0 < number(values, "dead_channels") < limits["many_dead"] else None


def mean_dominates(values: Values, limits: Limits) -> float | None:
    varies = number(values, "variance_share") >= limits["near_constant"]
    return above("pair_cosine_raw", "one_way")(values, limits) if varies else None


def too_few(values: Values, _: Limits) -> float | None:
    return 0.0 if values["n_images"] < 2 or values["n_effective"] < values["channels"] else None


def status(status: str, severity: float) -> Severity:
    return lambda values, _: severity if values.get(f"status {status}") else None
