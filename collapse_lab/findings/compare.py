"""Arms against each other: what differs, by how much, and whether enough seeds stand behind it.

One primary test a headline metric, fixed beforehand: the mean over the sites of the last third of depth at the chosen
step, of the kind in PRIMARY where any were captured, Holm-adjusted over the headline metrics. Rows of single sites, and
of the last third of the other kinds, carry unadjusted intervals and are exploratory. How variances are taken:
`findings.contrast`.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from collapse_lab.capture.sites import kind_of
from collapse_lab.findings.contrast import (
    COMPARED,
    STATUSES,
    ArmValues,
    Contrast,
    Factors,
    against,
    evaluate,
    factorial,
)
from collapse_lab.findings.table import read_table
from collapse_lab.findings.uncertainty import LEVEL, half_width
from collapse_lab.metrics._metric import HEADLINE, METRICS
from collapse_lab.runs import Run

FEWEST_SEEDS = 3
LAST_THIRD = 2 / 3
SUMMARY = "last third"
PROBE = "linear_probe_accuracy"
PRIMARY = {"dead_channels": "act", "channel_cosine_distance_live": "act"}
"""The kind of site of a metric's primary test: block outputs, but for what happens to channels in the expanding MLP."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """`table`: one row per (contrast, metric, site or "last third"); `metrics`: the tidy rows it was made from;
    `runs`: the folders they came from, if any.

    Columns: contrast, kind, metric, site, positions, channels, value (of the plain values), corrected, low, high, p,
    p_holm, called, smallest (the smallest difference that could have been called), n_seeds, n_images, paired,
    images_counted (False: no leave-one-out values, the interval is over seeds alone), status (the worst of the values
    behind it), equal_n (whether the arms have as many rows), primary. Nothing is called where a layer is broken, nor
    where values are biased by their number of rows and that differs.
    """

    table: pd.DataFrame
    metrics: pd.DataFrame
    baseline: str
    factors: Factors
    step: str
    runs: tuple[Path, ...] = ()

    def row(self, contrast: str, metric: str, site: str = SUMMARY) -> pd.Series[Any]:
        """One row of the table; raises LookupError where there is none."""
        table = self.table
        found = table[(table.contrast == contrast) & (table.metric == metric) & (table.site == site)]
        if found.empty:
            raise LookupError(
                f"no row of {metric!r} at {site!r} for {contrast!r}; contrasts: {list(table.contrast.unique())}"
            )
        return found.iloc[0]


def compare(
    arms: Mapping[str, Sequence[pd.DataFrame | Path | str]],
    *,
    baseline: str,
    factors: Factors | None = None,
    at: str | int = "last",
) -> Comparison:
    """Compare arms (name -> tables or run folders, one a seed) with `baseline`, and by `factors`.

    `factors` gives each arm of a full factorial its levels: {"v2": {"grn": True, "layer_scale": False}, ...}; an arm
    left out of it is compared with the baseline only. `at` is a step or "last". Seeds and images are paired where all
    arms have the same. Raises LookupError for an unknown baseline or factor arm, ValueError for arms without runs, a
    seed given twice, a step without a capture, no common site, or an incomplete factorial.
    """
    factors = dict(factors or {})
    for name in [baseline, *factors]:
        if name not in arms:
            raise LookupError(f"there is no arm {name!r}; arms: {', '.join(arms)}")
    rows = pd.concat([_at(_tables(name, runs), at) for name, runs in arms.items()], ignore_index=True)
    _warn_of_steps(rows)
    sites = _common_sites(rows)
    contrasts = [*against(list(arms), baseline), *factorial(factors)]
    found = []
    for metric in [name for name in (*HEADLINE, PROBE) if name in set(rows.metric)]:
        places = (
            {"": [""]} if metric == PROBE else {**_summaries(rows, sites, metric), **{site: [site] for site in sites}}
        )
        for label, chosen in places.items():
            found += _contrast_rows(rows[(rows.metric == metric) & rows.site.isin(chosen)], contrasts, metric, label)
    paths = tuple(Path(run) for runs in arms.values() for run in runs if not isinstance(run, pd.DataFrame))
    if all(math.isnan(row["value"]) for row in found):
        raise ValueError("nothing can be compared: no headline metric has a value in any arm")
    table = _holm(pd.DataFrame(found))
    return Comparison(table=table, metrics=rows, baseline=baseline, factors=factors, step=str(at), runs=paths)


def _tables(arm: str, runs: Sequence[pd.DataFrame | Path | str]) -> pd.DataFrame:
    if isinstance(runs, str | Path | pd.DataFrame):
        raise TypeError(
            f"arm {arm!r} takes a list of tables or run folders, one a seed; put {type(runs).__name__} in a list"
        )
    if not len(runs):
        raise ValueError(f"arm {arm!r} has no run")
    tables = []
    for place, run in enumerate(runs):
        table = run if isinstance(run, pd.DataFrame) else read_table(Run(Path(run)).metrics)
        bare = bool((table.run == "").all())  # of no run: seeds are numbered by place
        tables.append(table.assign(arm=arm, seed=place) if bare else table.assign(arm=arm))
    merged = pd.concat(tables, ignore_index=True)
    repeated = merged.duplicated(["seed", "step", "site", "positions", "metric"])
    if repeated.any():
        raise ValueError(f"arm {arm!r} has seed {merged.seed[repeated].iloc[0]} twice")
    return merged


def _at(table: pd.DataFrame, at: str | int) -> pd.DataFrame:
    """The rows of one step, or of each run's last."""
    last = table.groupby("seed").step.transform("max")
    chosen = table[table.step == (last if at == "last" else int(at))]
    if chosen.seed.nunique() < table.seed.nunique():
        raise ValueError(
            f"arm {table.arm.iloc[0]!r} has no capture at step {at}; steps: {sorted(table.step.unique().tolist())}"
        )
    return chosen


def _warn_of_steps(rows: pd.DataFrame) -> None:
    steps = rows.groupby("arm", sort=False).step.agg(["min", "max"])
    if steps["min"].min() < steps["max"].max():
        listed = ", ".join(f"{arm} at {int(low)} to {int(high)}" for arm, low, high in steps.itertuples())
        warnings.warn(f"the runs are compared at different steps: {listed}; choose one with `at`", stacklevel=3)


def _common_sites(rows: pd.DataFrame) -> list[str]:
    per_arm = [set(part.site) for _, part in rows[rows.site != ""].groupby("arm")]
    common = set.intersection(*per_arm) if per_arm else set()
    if not common and (rows.site != "").any():
        raise ValueError("the arms have no site in common; capture the same sites of each")
    order = rows[rows.site.isin(common)].drop_duplicates("site").sort_values("depth").site
    return list(order) or [""]


def _summaries(rows: pd.DataFrame, sites: list[str], metric: str) -> dict[str, list[str]]:
    """SUMMARY -> the sites of the metric's primary test; "last third: KIND" -> those of each other kind."""
    depth = rows.drop_duplicates("site").set_index("site").depth
    late = [site for site in sites if depth[site] >= LAST_THIRD] or sites
    kinds = {kind: [site for site in late if kind_of(site) == kind] for kind in dict.fromkeys(map(kind_of, late))}
    primary = kinds.pop(PRIMARY.get(metric, "block"), late)
    return {SUMMARY: primary, **{f"{SUMMARY}: {kind}": own for kind, own in kinds.items()}}


def _contrast_rows(rows: pd.DataFrame, contrasts: list[Contrast], metric: str, site: str) -> list[dict[str, Any]]:
    """One row a contrast, under the position policy in which most arms have a value, the first of several."""
    if rows.empty:
        return []
    valued = rows[rows.value.notna()].groupby("positions", sort=False).arm.nunique()
    positions = str(valued.idxmax()) if len(valued) else str(rows.positions.iloc[0])
    part = rows[rows.positions == positions]
    arms = {str(arm): _gather(own) for arm, own in part.groupby("arm", sort=False)}
    where = {"metric": metric, "site": site, "positions": positions, "channels": int(part.channels.max())}
    known = [contrast for contrast in contrasts if set(contrast.weights) <= set(arms)]
    return [{"contrast": c.name, "kind": c.kind, **where, **_inside(metric, c, evaluate(c, arms))} for c in known]


def _inside(metric: str, contrast: Contrast, row: dict[str, Any]) -> dict[str, Any]:
    """An arm's or a level's interval cut to the metric's bounds, where its population value lies."""
    if contrast.kind in COMPARED or metric not in METRICS:
        return row
    return row | {name: METRICS[metric].clip(row[name]) for name in ("corrected", "low", "high")}


def _gather(rows: pd.DataFrame) -> ArmValues:
    """The mean over sites of the values, and of the replicates, of each seed."""
    values = {seed: float(part.value.mean(skipna=False)) for seed, part in _by_seed(rows)}
    grouped = {tuple(size) if _is_row(size) else () for size in rows.group_sizes}  # one, for runs on the same images
    sizes = grouped.pop() if len(grouped) == 1 else ()
    replicates = {}
    if sizes and all(_is_row(left) and len(left) == len(sizes) for left in rows.replicates):
        for seed, part in _by_seed(rows):
            replicates[seed] = np.mean([np.asarray(left, dtype=float) for left in part.replicates], axis=0)
    hashes = "+".join(sorted(rows.images_hash.unique()))
    return ArmValues(
        values=values,
        replicates=replicates,
        sizes=sizes,
        images=hashes,
        n_images=int(rows.n_images.min()),
        status=max(rows.status, key=STATUSES.index),
        n_rows=float(rows.n_rows.mean()),
    )


def _is_row(value: Any) -> bool:
    """Whether a cell holds several numbers: a list from `analyze`, an array from parquet; else it is empty."""
    return isinstance(value, list | tuple | np.ndarray)


def _by_seed(rows: pd.DataFrame) -> Iterator[tuple[int, pd.DataFrame]]:
    for seed in sorted(rows.seed.unique().tolist()):
        yield seed, rows[rows.seed == seed]


def _holm(table: pd.DataFrame) -> pd.DataFrame:
    """Mark the primary rows, adjust their p over the headline metrics of a contrast, and say what is called."""
    compared = table.kind.isin(COMPARED)
    table = table.assign(primary=(table.site == SUMMARY) & table.metric.isin(HEADLINE) & compared, p_holm=math.nan)
    table["smallest"] = math.nan
    for _, group in table[table.primary & table.p.notna()].groupby("contrast"):
        ordered, m = group.sort_values("p"), len(group)
        steps = [(m - place) * p for place, p in enumerate(ordered.p)]
        table.loc[ordered.index, "p_holm"] = np.minimum(1.0, np.maximum.accumulate(steps))
        level = 1 - (1 - LEVEL) / m
        table.loc[ordered.index, "smallest"] = [
            half_width(variance, freedom, level)
            for variance, freedom in zip(ordered.variance, ordered.freedom, strict=True)
        ]
    comparable = table.status.isin(["ok", "capped"]) | ((table.status == "biased") & table.equal_n)
    table["called"] = table.primary & comparable & (table.p_holm < 1 - LEVEL) & (table.n_seeds >= FEWEST_SEEDS)
    return table.drop(columns=["variance", "freedom"])
