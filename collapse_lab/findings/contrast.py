"""Weighted sums of arms, and how far they can be trusted.

The variance of a contrast is its variance over seeds, divided by their number, plus the variance over images of its
mean over seeds (delete-m_j jackknife on paired replicates), with Welch-Satterthwaite degrees of freedom.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

import numpy as np
from scipy.stats import t as student

from collapse_lab.findings.uncertainty import Estimate, half_width, jackknife

Factors = Mapping[str, Mapping[str, bool]]
"""arm -> {factor: on or off}."""
STATUSES = ("ok", "capped", "biased", "insufficient", "degenerate", "non_finite")
"""From the best to the worst."""
EQUAL_N = 1.1
"""Numbers of rows up to this ratio count as equal, where a value depends on their number."""
COMPARED = ("difference", "effect", "interaction")
"""Contrasts whose weights sum to 0; those of "arm" and "level" sum to 1."""


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """A weighted sum of arms."""

    name: str
    kind: Literal["arm", "level", "difference", "effect", "interaction"]
    weights: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class ArmValues:
    """Values of one metric at one place: seed -> value, seed -> leave-one-group-out values (or none)."""

    values: Mapping[int, float]
    replicates: Mapping[int, np.ndarray[Any, Any]]
    sizes: tuple[int, ...]
    images: str
    n_images: int
    status: str = "ok"
    n_rows: float = 1.0
    channels: tuple[int, ...] = ()
    """Of each site that the values are a mean of."""


def against(arms: list[str], baseline: str) -> list[Contrast]:
    """Each arm by itself, and each but the baseline less the baseline."""
    single = [Contrast(name=arm, kind="arm", weights={arm: 1.0}) for arm in arms]
    against = [
        Contrast(name=f"{arm} - {baseline}", kind="difference", weights={arm: 1.0, baseline: -1.0})
        for arm in arms
        if arm != baseline
    ]
    return single + against


def factorial(factors: Factors) -> list[Contrast]:
    """Levels, main effects (on less off) and interactions (the effect of one with the other, less without).

    Each is averaged over the factors it does not name. Raises ValueError unless every combination has just one arm.
    """
    if not factors:
        return []
    names = list(next(iter(factors.values())))
    cells = {tuple(bool(levels.get(name)) for name in names) for levels in factors.values()}
    if (
        any(set(levels) != set(names) for levels in factors.values())
        or len(cells) != 2 ** len(names)
        or len(factors) != len(cells)
    ):
        raise ValueError(f"factors {names} need each combination of on and off in exactly one arm, got {dict(factors)}")
    half = len(factors) / 2
    found = []
    for name in names:
        for on in (True, False):
            weights = {arm: 1 / half for arm, levels in factors.items() if bool(levels[name]) is on}
            found.append(Contrast(name=f"{name} {'on' if on else 'off'}", kind="level", weights=weights))
        signs = {arm: (1 if levels[name] else -1) / half for arm, levels in factors.items()}
        found.append(Contrast(name=name, kind="effect", weights=signs))
    for one, two in combinations(names, 2):
        signs = {
            arm: (1 if bool(levels[one]) == bool(levels[two]) else -1) * 2 / half for arm, levels in factors.items()
        }
        found.append(Contrast(name=f"{one} x {two}", kind="interaction", weights=signs))
    return found


def evaluate(contrast: Contrast, arms: Mapping[str, ArmValues], paired: bool | None = None) -> dict[str, Any]:
    """Value, bias-corrected value with its 95 % interval, p where arms are compared, and the counts behind them.

    `paired` None pairs seeds and images where all arms have the same, False never does. With True, ValueError says
    which arms have not. `effect`: see `standardised`. `widths` names the channels of each arm where they differ.
    """
    used = {name: arms[name] for name in contrast.weights}
    reason = _unpaired(used)
    if paired and reason:
        raise ValueError(f"{contrast.name!r} cannot be paired: {reason}; compare them without paired=True")
    paired = not reason if paired is None else paired
    spread, seeds_freedom = _over_seeds(contrast, used, paired)
    value = sum(weight * _mean(used[name].values.values()) for name, weight in contrast.weights.items())
    images = _over_images(contrast, used, paired, value)
    over_images = [] if images is None else [(images.variance, images.freedom)]
    variance, freedom = _add([(spread, seeds_freedom), *over_images])
    corrected = value if images is None else images.corrected
    half = half_width(variance, freedom)
    n_seeds = min(len(arm.values) for arm in used.values())
    compared = contrast.kind in COMPARED
    widths = {name: "/".join(map(str, arm.channels)) for name, arm in used.items()}
    return {
        "value": value,
        "corrected": corrected,
        "low": corrected - half,
        "high": corrected + half,
        "variance": variance,
        "freedom": freedom,
        "p": _p_value(corrected, variance, freedom) if compared else math.nan,
        "effect": standardised(contrast, used) if compared else math.nan,
        "n_seeds": n_seeds,
        "n_images": min(arm.n_images for arm in used.values()),
        "paired": paired,
        "images_counted": images is not None,
        "status": max((arm.status for arm in used.values()), key=STATUSES.index),
        "equal_n": max(arm.n_rows for arm in used.values()) <= EQUAL_N * min(arm.n_rows for arm in used.values()),
        "widths": ", ".join(f"{name} {own}" for name, own in widths.items()) if len(set(widths.values())) > 1 else "",
    }


def standardised(contrast: Contrast, arms: Mapping[str, ArmValues]) -> float:
    """Hedges' g: the contrast of plain means over the pooled deviation between seeds of one arm, less its bias.

    The factor Gamma(m/2) / Gamma((m-1)/2) / sqrt(m/2), m = sum of (seeds - 1), takes off what few seeds exaggerate
    (Hedges, J. Educational Statistics 6, 1981). The deviation is within arms, paired or not, so that it does not
    depend on the design; images are not in it. NaN where an arm has fewer than 2 seeds, a seed has no value, or all
    seeds of each arm agree.
    """
    seeds = [list(arms[name].values.values()) for name in contrast.weights]
    freedom = sum(len(values) - 1 for values in seeds)
    pooled = sum(np.var(values, ddof=1) * (len(values) - 1) for values in seeds if len(values) > 1) / max(1, freedom)
    if any(len(values) < 2 for values in seeds) or not pooled > 0:
        return math.nan
    value = sum(weight * _mean(arms[name].values.values()) for name, weight in contrast.weights.items())
    unbiased = math.exp(math.lgamma(freedom / 2) - math.lgamma((freedom - 1) / 2)) / math.sqrt(freedom / 2)
    return float(unbiased * value / math.sqrt(pooled))


def _unpaired(arms: Mapping[str, ArmValues]) -> str:
    """Why seeds and images of these arms are not the same ones; "" where they are."""
    (name, first), *others = arms.items()
    for other, arm in others:
        if arm.values.keys() != first.values.keys():
            return f"{name!r} has seeds {sorted(first.values)} and {other!r} {sorted(arm.values)}"
        if arm.images != first.images:
            return f"{name!r} and {other!r} were measured on other images (images_hash {first.images}, {arm.images})"
    return ""


def _mean(values: Any) -> float:
    return float(np.mean(list(values)))


def _over_seeds(contrast: Contrast, arms: Mapping[str, ArmValues], paired: bool) -> tuple[float, float]:
    """Variance of the contrast's mean over seeds, and its degrees of freedom; NaN with one seed."""
    if paired:
        seeds = next(iter(arms.values())).values
        drawn = [sum(weight * arms[name].values[seed] for name, weight in contrast.weights.items()) for seed in seeds]
        return _variance_of_mean(drawn)
    parts = [(name, *_variance_of_mean(list(arms[name].values.values()))) for name in contrast.weights]
    return _add([(contrast.weights[name] ** 2 * variance, freedom) for name, variance, freedom in parts])


def _variance_of_mean(values: Sequence[float]) -> tuple[float, float]:
    n = len(values)
    return (float(np.var(values, ddof=1)) / n, n - 1.0) if n > 1 else (math.nan, 0.0)


def _over_images(contrast: Contrast, arms: Mapping[str, ArmValues], paired: bool, value: float) -> Estimate | None:
    """The bias-corrected value with its variance over images; None where an arm has no leave-one-out values."""
    if any(not arm.replicates for arm in arms.values()):
        return None
    left_out = {name: np.mean(list(arm.replicates.values()), axis=0) for name, arm in arms.items()}
    sizes = {name: arm.sizes for name, arm in arms.items()}
    if paired and len(set(sizes.values())) == 1:
        together = sum(weight * left_out[name] for name, weight in contrast.weights.items())
        estimate = jackknife(value, list(np.asarray(together)), next(iter(sizes.values())))
    else:
        own = {name: jackknife(_mean(arms[name].values.values()), list(left_out[name]), sizes[name]) for name in arms}
        weighted = [(weight, own[name]) for name, weight in contrast.weights.items()]
        variance, freedom = _add([(weight**2 * each.variance, each.freedom) for weight, each in weighted])
        corrected = sum(weight * each.corrected for weight, each in weighted)
        estimate = Estimate(corrected=corrected, variance=variance, freedom=freedom)
    return None if math.isnan(estimate.corrected) else estimate


def _add(parts: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """The variance of a sum of independent terms, with Welch-Satterthwaite degrees of freedom."""
    total = sum(variance for variance, _ in parts)
    below = sum(variance**2 / freedom for variance, freedom in parts if variance > 0 and freedom > 0)
    if math.isnan(total):
        return math.nan, 0.0
    return total, (total**2 / below if below > 0 else min(freedom for _, freedom in parts))


def _p_value(difference: float, variance: float, freedom: float) -> float:
    if not (variance >= 0 and freedom > 0) or math.isnan(difference):
        return math.nan
    if variance == 0:
        return 1.0 if difference == 0 else 0.0
    return float(2 * student.sf(abs(difference) / math.sqrt(variance), freedom))
