"""What fits on a terminal: a metric's way through depth as a line of bars, and the rows of an overview."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from collapse_lab.capture.sites import kind_of
from collapse_lab.findings.compare import LAST_THIRD, PRIMARY, SUMMARY, Comparison
from collapse_lab.findings.contrast import COMPARED
from collapse_lab.metrics._metric import HEADLINE, METRICS
from collapse_lab.report.drawings.readings import at_each_site, short

BARS = "▁▂▃▄▅▆▇█"
GAP = "·"
"""In the place of a value that is none."""
WIDEST = 12
ROUNDING = 1e-9
"""Values that differ by less, over the largest, are drawn as all the same."""


@dataclass(frozen=True, kw_only=True)
class Course:
    """One metric at the sites of one kind, which `about` names and counts: bars over depth, and over the steps (of the
    mean over the last third of depth); the value of the last site; the value nearest to collapse with its site (NaN and
    "" of a metric that judges nothing); how many values are not ok, by status."""

    about: str
    metric: str
    depth: str
    last: float
    worst: tuple[float, str]
    steps: str
    status: str


def bars(values: Sequence[float], width: int = WIDEST) -> str:
    """A letter a value, the lowest ▁ and the highest █; of more than `width` values the means of neighbours.

    One that is no number is a dot; values that are all the same are drawn in the middle.
    """
    numbers = np.asarray(values, dtype=float)
    numbers = np.where(np.isfinite(numbers), numbers, np.nan)
    if len(numbers) > width:
        numbers = np.asarray([_mean(part) for part in np.array_split(numbers, width)])
    known = numbers[~np.isnan(numbers)]
    if not len(known):
        return GAP * len(numbers)
    low, span = known.min(), known.max() - known.min()
    last = len(BARS) - 1
    flat = span <= ROUNDING * np.abs(known).max()
    levels = np.where(np.isnan(numbers), np.nan, last / 2) if flat else (numbers - low) / span * last
    return "".join(GAP if math.isnan(level) else BARS[round(level)] for level in levels)


def courses(table: pd.DataFrame, metrics: Sequence[str]) -> Iterator[Course]:
    """Every metric at every kind of site, at the last step of a run's or a capture's table.

    Of several position policies the first that gives a value counts, site by site.
    """
    layers = table[table.site != ""] if (table.site != "").any() else table  # a probe of the last map is at no site
    steps = sorted(layers.step.unique())
    last = layers[layers.step == steps[-1]].sort_values("depth", kind="stable").drop_duplicates("site")
    kinds: dict[str, list[str]] = {}
    for site in last.site:
        kinds.setdefault(kind_of(site) if site else "features", []).append(site)
    for kind, sites in kinds.items():
        widths = last[last.site.isin(sites)].channels
        channels = f"{widths.min()}" if widths.min() == widths.max() else f"{widths.min()} to {widths.max()}"
        about = f"{kind}: {len(sites)} site{'s' if len(sites) > 1 else ''}, {channels} channels"
        for metric in metrics:
            rows = layers[(layers.metric == metric) & layers.site.isin(sites)]
            if len(rows):
                values = [_at_sites(rows[rows.step == step], sites) for step in steps]
                yield _course(about, metric, sites, values)


def _course(about: str, metric: str, sites: Sequence[str], steps: Sequence[pd.DataFrame]) -> Course:
    """`steps` are the rows of each, in the order of `sites`."""
    last, names = steps[-1], short(sites)
    late = np.asarray(last.depth >= LAST_THIRD) if (last.depth >= LAST_THIRD).any() else slice(None)
    bad = Counter(status for status in last.status.dropna() if status != "ok")
    return Course(
        about=about,
        metric=metric,
        depth=bars(list(last.value)),
        last=float(last.value.iloc[-1]),
        worst=_worst(list(last.value), names, METRICS[metric].collapse_when if metric in METRICS else None),
        steps=bars([_mean(own.value.to_numpy(dtype=float)[late]) for own in steps]) if len(steps) > 1 else "",
        status=", ".join(f"{count} {status}" for status, count in bad.items()),
    )


def _worst(values: Sequence[float], names: Sequence[str], collapse_when: str | None) -> tuple[float, str]:
    known = [(value, name) for value, name in zip(values, names, strict=True) if not math.isnan(value)]
    if collapse_when is None or not known:
        return math.nan, ""
    return (min if collapse_when == "low" else max)(known, key=lambda each: each[0])


def _at_sites(rows: pd.DataFrame, sites: Sequence[str]) -> pd.DataFrame:
    """Index site: value, status and depth under the first policy that gives a value; NaN for a site without a row."""
    return at_each_site(rows).reindex(list(sites))[["value", "status", "depth"]]


def differences(comparison: Comparison) -> Iterator[tuple[str, pd.DataFrame]]:
    """(contrast, its primary tests): a row a headline metric, with `over_depth` (bars over the single sites of the
    test's kind) and `over_steps` (bars of the summary at every step, "" for one step alone)."""
    table = comparison.table[comparison.table.kind.isin(COMPARED) & comparison.table.metric.isin(HEADLINE)]
    last = table[table.step == table.step.max()]
    for contrast, tests in last[last.site == SUMMARY].groupby("contrast", sort=False):
        own = table[table.contrast == contrast]
        yield (
            str(contrast),
            tests.assign(
                over_depth=[_over_depth(own, metric) for metric in tests.metric],
                over_steps=[_over_steps(own, metric) for metric in tests.metric],
            ),
        )


def _over_depth(rows: pd.DataFrame, metric: str) -> str:
    single = rows[(rows.metric == metric) & (rows.step == rows.step.max()) & ~rows.site.str.startswith(SUMMARY)]
    kind = PRIMARY.get(metric, "block")
    chosen = single[[_is_of(site, kind) for site in single.site]]
    return bars(list((chosen if len(chosen) else single).corrected))


def _is_of(site: str, kind: str) -> bool:
    """Of networks of unequal depth a place is called KIND @ DEPTH."""
    return site.startswith(f"{kind} @ ") or kind_of(site) == kind


def _over_steps(rows: pd.DataFrame, metric: str) -> str:
    summary = rows[(rows.metric == metric) & (rows.site == SUMMARY)].sort_values("step")
    return bars(list(summary.corrected)) if len(summary) > 1 else ""


def _mean(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan
