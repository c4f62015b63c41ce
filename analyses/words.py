"""Answers in words: what differs, with its interval, its seeds, and whether it can be called.

Nothing is written in advance: every sentence is made from the numbers, and a null result reads as one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import pandas as pd
from scipy.stats import t as student

import collapse_lab as cl

FEWEST_SEEDS = 3
PROBE = "linear_probe_accuracy"
SHARES = ("dead_channels", "saturated_channels", "variance_share", "top1", PROBE)
LATE = "last third"
"""The site of a comparison's primary rows."""


def told(comparison: cl.Comparison, metrics: Sequence[str], contrasts: Sequence[str] = ()) -> str:
    """Metric by metric the contrasts of a comparison over the last third of depth, then what stands behind them.

    Without `contrasts` all of them: effects and interactions where there are factors, else differences from the
    baseline. Values are bias-corrected; one that a comparison does not have is left out.
    """
    kinds = ["effect", "interaction"] if comparison.factors else ["difference"]
    rows = comparison.last[comparison.last.kind.isin(kinds if not contrasts else comparison.last.kind)]
    chosen = list(contrasts) or list(dict.fromkeys(rows.contrast))
    said = []
    for metric in metrics:
        own = rows[(rows.metric == metric) & (rows.site == ("" if metric == PROBE else LATE))]
        parts = [_row_told(own[own.contrast == name], name, metric) for name in chosen if name in set(own.contrast)]
        said.append(f"{metric}: {', '.join(parts) or 'no value'}")
    return f"{'; '.join(said)}. {_seeds_told(int(rows.n_seeds.min()))}"


def told_values(values: pd.DataFrame, pairs: Iterable[tuple[str, str]], metrics: Iterable[str] = ()) -> str:
    """Metric by metric the differences of pairs of arms in a table of values of runs, with paired t intervals.

    `values` has the columns arm, seed, metric, value. A metric that no pair has is left out. The intervals count seeds
    and no images.
    """
    said, fewest, listed = [], FEWEST_SEEDS, list(pairs)
    for metric in list(metrics) or list(dict.fromkeys(values.metric)):
        parts = []
        for arm, baseline in listed:
            mean, low, high, seeds = paired(values, metric, arm, baseline)
            if seeds:
                parts.append(f"{arm} - {baseline} {interval(mean, low, high, metric)}")
                fewest = min(fewest, seeds)
        said += [f"{metric}: {', '.join(parts)}"] if parts else []
    return f"{'; '.join(said) or 'no pair to compare'}. {_seeds_told(fewest)} Intervals over seeds alone, exploratory."


def named_best(values: pd.DataFrame, metric: str, outcome: str) -> str:
    """In how many seeds the arm with the highest value of a metric has the highest outcome as well."""
    before, after = (
        values[values.metric == name].pivot_table(index="seed", columns="arm", values="value").dropna()
        for name in (metric, outcome)
    )
    seeds = before.index.intersection(after.index)
    right = int((before.loc[seeds].idxmax(axis=1) == after.loc[seeds].idxmax(axis=1)).sum())
    count = len(before.columns)
    return f"{metric}: the highest of {count} arms has the highest {outcome} in {right} of {len(seeds)} seeds"


def paired(values: pd.DataFrame, metric: str, arm: str, baseline: str) -> tuple[float, float, float, int]:
    """Mean difference over the seeds that both arms have, its 95 % t interval (NaN with one seed), and their number."""
    table = values[values.metric == metric].pivot_table(index="seed", columns="arm", values="value", dropna=False)
    if not {arm, baseline} <= set(table.columns):
        return math.nan, math.nan, math.nan, 0
    differences = (table[arm] - table[baseline]).dropna().to_numpy(dtype=float)
    n = len(differences)
    if not n:
        return math.nan, math.nan, math.nan, 0
    mean = float(differences.mean())
    half = float(student.ppf(0.975, n - 1)) * float(differences.std(ddof=1)) / n**0.5 if n > 1 else math.nan
    return mean, mean - half, mean + half, n


def interval(value: float, low: float, high: float, metric: str) -> str:
    """A value with its interval, shares in percentage points."""
    share = metric.removesuffix(" before") in SHARES or metric.startswith("share of")
    scale, unit = (100, " points") if share else (1, "")
    ends = "" if math.isnan(low) else f" [{scale * low:.3g}, {scale * high:.3g}]"
    return f"{scale * value:.3g}{ends}{unit}"


def mean_of(values: pd.DataFrame, metric: str) -> str:
    """A metric's mean over the seeds, with their range and number."""
    own = values[values.metric == metric].value.dropna()
    if own.empty:
        return "no value"
    if len(own) == 1:
        return f"{own.mean():.3g} (1 seed)"
    return f"{own.mean():.3g} ({own.min():.3g} to {own.max():.3g}, {len(own)} seeds)"


def _row_told(rows: pd.DataFrame, name: str, metric: str) -> str:
    row = rows.iloc[0]
    text = f"{name} {interval(row.corrected, row.low, row.high, metric)}"
    if row.n_seeds < FEWEST_SEEDS:
        return text
    return f"{text} ({'exploratory' if not row.primary else 'called' if row.called else 'not called'})"


def _seeds_told(fewest: int) -> str:
    if fewest < FEWEST_SEEDS:
        return f"{fewest} seed{'s' if fewest != 1 else ''} an arm: no difference is called with fewer than 3."
    return f"{fewest} seeds an arm, or more." if fewest > FEWEST_SEEDS else "3 seeds an arm."
