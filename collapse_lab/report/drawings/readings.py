"""What is drawn, as tidy rows: which sites, at which step, and the values there."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from collapse_lab.capture.sites import kind_of, matches_path
from collapse_lab.findings.compare import PRIMARY
from collapse_lab.metrics._metric import METRICS
from collapse_lab.report.sources import Source

Arms = Mapping[str, Sequence[Source]]
"""Arm -> its runs, one a seed."""


def through_depth(arms: Arms, metric: str, sites: Sequence[str] = (), step: int | None = None) -> pd.DataFrame:
    """Columns arm, seed, site, place (0 the first site shown, 1 the last), positions, value, low, high, status, reason,
    n_images, step.

    Sites without a pattern are those of the metric's primary kind. Raises LookupError for a metric or pattern that
    fits nothing, ValueError for a step that a run has not, or no value anywhere.
    """
    parts = [_at_sites(source, metric, sites, at_step(source, source.metrics, step)) for source in _each(arms)]
    rows: pd.DataFrame = pd.concat(parts, ignore_index=True)
    _require_values(rows, metric)
    return rows


def over_training(arms: Arms, metric: str, sites: Sequence[str] = ()) -> pd.DataFrame:
    """As `through_depth`, of every step."""
    parts = [
        _at_sites(source, metric, sites, source.metrics[source.metrics.step == step])
        for source in _each(arms)
        for step in sorted(source.metrics.step.unique())
    ]
    rows: pd.DataFrame = pd.concat(parts, ignore_index=True)
    _require_values(rows, metric)
    return rows


def at_step(source: Source, table: pd.DataFrame, step: int | None) -> pd.DataFrame:
    """The rows of a step, the last of the run without one; raises ValueError naming the steps there are."""
    chosen = table.step.max() if step is None else step
    rows: pd.DataFrame = table[table.step == chosen]
    if rows.empty:
        there = ", ".join(map(str, sorted(table.step.unique())))
        raise ValueError(f"{source.run.path} was not measured at step {step}; it was at {there}")
    return rows


def chosen_sites(known: Sequence[str], patterns: Sequence[str]) -> list[str]:
    """Those that any pattern fits, in their order; raises LookupError naming some of what there is."""
    for pattern in patterns:
        if not any(matches_path(pattern, site) for site in known):
            shown = ", ".join(known[:5]) + (" ..." if len(known) > 5 else "")
            raise LookupError(f"no site matches {pattern!r}; these runs have: {shown} ({len(known)} sites)")
    return [site for site in known if any(matches_path(pattern, site) for pattern in patterns)]


def sites_in(table: pd.DataFrame) -> list[str]:
    """Every site of a table, shallow to deep."""
    return list(dict.fromkeys(table[table.site != ""].sort_values("depth", kind="stable").site))


def at_each_site(rows: pd.DataFrame) -> pd.DataFrame:
    """Index site; of the rows of one metric and step that under the first policy that gives a value, if any does."""
    best = rows.assign(missing=rows.value.isna()).sort_values("missing", kind="stable").drop_duplicates("site")
    return best.set_index("site")


def short(sites: Sequence[str]) -> list[str]:
    """The numbers in the sites' names, which tell those of a kind apart: stages.2.blocks.1.act is 2.1.

    Whole names where the numbers do not.
    """
    numbers = [".".join(part for part in site.split(".") if part.isdigit()) for site in sites]
    return numbers if all(numbers) and len(set(numbers)) == len(sites) else list(sites)


def across_seeds(rows: pd.DataFrame, x: str) -> pd.DataFrame:
    """Index `x`; columns mean, low and high: the range of the seeds, or the interval over images of a single one."""
    grouped = rows.groupby(x, sort=True)
    spread = grouped.value.agg(["mean", "min", "max"]).set_axis(["mean", "low", "high"], axis=1)
    if rows.seed.nunique() == 1:
        spread["low"], spread["high"] = grouped.low.first(), grouped.high.first()
    return spread


def labels(arms: Arms) -> list[str]:
    """Each arm as a legend says it: with its number of seeds, where that is not the same for all."""
    if len({len(own) for own in arms.values()}) == 1:
        return list(arms)
    return [f"{arm} ({seeds_of(len(own))})" for arm, own in arms.items()]


def n_told(arms: Arms, rows: pd.DataFrame) -> str:
    """Step, seeds, images and positions, as a note says them."""
    steps = sorted({int(step) for step in rows.step})
    at = f"step {steps[0]}" if len(steps) == 1 else f"steps {steps[0]} to {steps[-1]}"
    counts = {len(own) for own in arms.values()}
    seeds = f", {seeds_of(counts.pop())} an arm" if len(counts) == 1 else ""
    images = f", {images_told(rows)}" if "n_images" in rows else ""
    policies = " and ".join(dict.fromkeys(rows.positions)) if "positions" in rows else ""
    return f"{at}{seeds}{images}{policies and f' ({policies})'}"


def bands_told(arms: Arms) -> str:
    """What the bands around the lines are."""
    counts = {len(own) for own in arms.values()}
    if min(counts) > 1:
        return "bands: range of the seeds"
    if max(counts) == 1:
        return "bands: 95 % intervals over images"
    return "bands: range of the seeds, or the 95 % interval over images of a single one"


def seeds_of(count: int) -> str:
    return f"{count} seed{'s' if count != 1 else ''}"


def images_told(rows: pd.DataFrame) -> str:
    few, many = int(rows.n_images.min()), int(rows.n_images.max())
    return f"{few} images" if few == many else f"{few} to {many} images"


def _each(arms: Arms) -> list[Source]:
    return [source for own in arms.values() for source in own]


def _at_sites(source: Source, metric: str, patterns: Sequence[str], rows: pd.DataFrame) -> pd.DataFrame:
    """One row a site: under the first position policy that gives a value, NaN where none does."""
    rows = rows[(rows.metric == metric) & (rows.site != "")]
    if rows.empty:
        METRICS[metric]  # an unknown name raises with the nearest one
        raise LookupError(f"{source.run.path} holds no {metric}; it was captured before there was one: capture it anew")
    known = sites_in(rows)
    primary = [site for site in known if kind_of(site) == PRIMARY.get(metric, "block")] or known
    sites = chosen_sites(known, patterns) if patterns else primary
    best = at_each_site(rows).loc[sites].reset_index()
    places = np.arange(len(sites)) / max(1, len(sites) - 1) if len(sites) > 1 else [1.0]
    columns = ["site", "positions", "value", "low", "high", "status", "reason", "n_images", "step"]
    return best.reindex(columns=columns).assign(arm=source.arm, seed=source.seed, place=places)


def _require_values(rows: pd.DataFrame, metric: str) -> None:
    if all(map(math.isnan, rows.value)):
        reasons = rows.status + rows.reason.fillna("").map(lambda reason: f": {reason}" if reason else "")
        raise ValueError(f"{metric} has no value at any of these sites ({reasons.iloc[0]}): there is nothing to draw")
