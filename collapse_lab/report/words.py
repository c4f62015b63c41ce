"""The finding in words, built from whatever the comparison holds; nothing is written in advance."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterator
from typing import Any

import pandas as pd

from collapse_lab.findings.compare import DIMENSIONS, FEWEST_SEEDS, PROBE, SUMMARY, Comparison
from collapse_lab.metrics._metric import METRICS

RANK = "effective_rank"
DEAD = "dead_channels"
Row = pd.Series  # of Comparison.table
RIGHT_TO_LEFT = frozenset({"R", "AL", "AN", "RLE", "RLO", "RLI"})
"""Classes of Unicode's bidirectional algorithm."""


def sentences(comparison: Comparison) -> list[str]:
    """What differs, factor by factor and then arm by arm, each with its interval and whether it can be called."""
    told = [*_scale(comparison)]
    for factor in dict.fromkeys(name for levels in comparison.factors.values() for name in levels):
        told.append(_factor(comparison, factor))
    told += _interactions(comparison)
    told += [_arm(comparison, arm) for arm in _outside(comparison)]
    told += _probe(comparison)
    return told


def number(value: float, unit: str = "") -> str:
    """Two to three digits that a reader can take in; shares as percent."""
    if math.isnan(value):
        return "no value"
    if unit.startswith("share"):
        return f"{_digits(100 * value)} %"
    return _digits(value)


def spoken(name: str) -> str:
    """A metric's or a finding's name as a reader says it."""
    return name.replace("_", " ")


def isolated(name: str) -> str:
    """A name that turns no sentence around: one with letters that run from right to left stands between isolates."""
    turns = any(unicodedata.bidirectional(letter) in RIGHT_TO_LEFT for letter in name)
    return f"\N{FIRST STRONG ISOLATE}{name}\N{POP DIRECTIONAL ISOLATE}" if turns else name


def counted(number: int, what: str) -> str:
    """1 site, 2 sites."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def _digits(value: float) -> str:
    if value == 0:
        return "0"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.2g}"


def interval(row: Row[Any], unit: str = "") -> str:
    """The bias-corrected value with its 95 % interval, where there is one."""
    if math.isnan(row.low):
        return number(row.corrected, unit)
    scale = 100 if unit.startswith("share") else 1
    return f"{number(row.corrected, unit)} [{_digits(scale * row.low)}, {_digits(scale * row.high)}]"


def marked(row: Row[Any], unit: str = "") -> str:
    """The value with its interval, and its status where that is not ok."""
    return interval(row, unit) if row.status == "ok" else f"{interval(row, unit)} ({row.status})"


def verdict(row: Row[Any]) -> str:
    """Whether a difference can be called, and if not, why."""
    if row.n_seeds < FEWEST_SEEDS:
        return "not enough seeds to say"
    if row.called:
        return f"called, adjusted p = {row.p_holm:.2g}"
    if row.status in ("insufficient", "degenerate", "non_finite"):
        return f"cannot be called: a layer behind it is {row.status}"
    if row.status == "biased" and not row.equal_n:
        return "cannot be called: biased by the number of images, which differs"
    unit = METRICS[row.metric].unit if row.metric in METRICS else ""
    if row.widths and unit == DIMENSIONS:
        return f"cannot be called: dimensions of layers of different widths ({row.widths})"
    if row.low == row.high == 0:
        return "no difference at all"
    if math.isnan(row.smallest):
        return "no interval, so nothing can be called"
    return f"not called; the smallest difference that could have been is {number(row.smallest, unit)}"


def _scale(comparison: Comparison) -> Iterator[str]:
    arms = comparison.last[comparison.last.kind == "arm"]
    if arms.empty:
        return
    ranks = arms[(arms.metric == RANK) & (arms.site == SUMMARY)]
    arms = arms if ranks.empty else ranks
    seeds, images = int(arms.n_seeds.min()), int(arms.n_images.min())
    step = int(comparison.metrics.step.max())
    scope = f"{counted(arms.contrast.nunique(), 'arm')}, {counted(seeds, 'seed')} each"
    over = "seeds and images" if arms.images_counted.all() else "seeds, and over images where groups of them were kept"
    yield (
        f"{scope}, {images} images, step {step}; means over the last third of depth, bias-corrected"
        f"{f', with 95 % intervals over {over}' if seeds > 1 else ''}."
    )
    if seeds < FEWEST_SEEDS:
        yield f"With fewer than {FEWEST_SEEDS} seeds an arm no difference can be called; one seed has no interval."


def _factor(comparison: Comparison, factor: str) -> str:
    on, off, effect = (_maybe(comparison, name, RANK) for name in (f"{factor} on", f"{factor} off", factor))
    if on is None or off is None or effect is None:
        return f"{factor}: nothing was measured of the effective rank."
    text = (
        f"Blocks with {factor} use {marked(on)} of {_widths(comparison, on)} dimensions, without it {marked(off)}: "
        f"{factor} changes the effective rank by {interval(effect)} ({verdict(effect)})."
    )
    return text + _factor_dead(comparison, factor)


def _factor_dead(comparison: Comparison, factor: str) -> str:
    """Nothing where no channel is dead with the factor or without: that is said once, of all arms."""
    rows = [_maybe(comparison, name, DEAD) for name in (f"{factor} on", f"{factor} off", factor)]
    on, off, effect = rows
    if on is None or off is None or effect is None or on.value == off.value == 0:
        return ""
    return (
        f" It leaves {interval(on, 'share')} of the channels after the activation dead, without it "
        f"{interval(off, 'share')} ({verdict(effect)})."
    )


def _interactions(comparison: Comparison) -> Iterator[str]:
    table = comparison.last
    chosen = table[(table.kind == "interaction") & (table.metric == RANK) & (table.site == SUMMARY)]
    for _, row in chosen.iterrows():
        one, _, two = str(row.contrast).partition(" x ")
        text = f"The effect of {one} on the effective rank with {two}, less without it"
        yield f"{text}: {interval(row)} ({verdict(row)})."


def _outside(comparison: Comparison) -> list[str]:
    """Arms that no factor speaks of, the baseline aside."""
    arms = comparison.last[comparison.last.kind == "arm"].contrast.unique()
    return [str(arm) for arm in arms if arm not in comparison.factors and arm != comparison.baseline]


def _arm(comparison: Comparison, arm: str) -> str:
    contrast = f"{arm} - {comparison.baseline}"
    own, base, less = (_maybe(comparison, name, RANK) for name in (arm, comparison.baseline, contrast))
    if own is None or base is None or less is None:
        return f"{isolated(arm)}: nothing was measured of the effective rank."
    text = (
        f"{isolated(arm)}: {marked(own)} of {_widths(comparison, own)} dimensions, "
        f"{isolated(comparison.baseline)} {marked(base)}; difference {interval(less)} ({verdict(less)})."
    )
    dead, change = _maybe(comparison, arm, DEAD), _maybe(comparison, contrast, DEAD)
    if dead is not None and change is not None:
        text += f" It leaves {interval(dead, 'share')} of the channels after the activation dead ({verdict(change)})."
    return text


def _probe(comparison: Comparison) -> Iterator[str]:
    table = comparison.last
    arms = table[(table.metric == PROBE) & (table.kind == "arm") & (table.site == "")].sort_values(
        "value", ascending=False
    )
    if len(arms):
        listed = ", ".join(f"{isolated(row.contrast)} {interval(row, 'share')}" for _, row in arms.iterrows())
        yield f"Linear probe accuracy on the frozen features: {listed}."


def _widths(comparison: Comparison, row: Row[Any]) -> str:
    """The channels of the layers that a row is the mean of: 96, or 48 to 96."""
    table = comparison.metrics
    behind = table[table.site.isin(str(row.sites).split(", ")) & (table.metric == row.metric)].channels
    if behind.empty or behind.min() == row.channels:
        return str(row.channels)
    return f"{behind.min()} to {row.channels}"


def _maybe(comparison: Comparison, contrast: str, metric: str) -> Row[Any] | None:
    try:
        return comparison.row(contrast, metric)
    except LookupError:
        return None
