"""Arms against each other: what differs, by how much, and whether enough seeds stand behind it.

One primary test a headline metric, fixed beforehand: the mean over the sites of the last third of depth at the chosen
step, or the last of several, of the kind in PRIMARY where any were captured, Holm-adjusted over the headline metrics.
Rows of single sites, of earlier steps, and of the last third of the other kinds, carry unadjusted intervals and are
exploratory. How variances are taken: `findings.contrast`.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from collapse_lab.findings.arms import Runs, at_steps, tables_of
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
from collapse_lab.findings.places import Align, Place, places_of
from collapse_lab.findings.scores import PROBES, metrics_of
from collapse_lab.findings.shown import comparison_html
from collapse_lab.findings.uncertainty import LEVEL, half_width
from collapse_lab.metrics._metric import HEADLINE, METRICS

FEWEST_SEEDS = 3
LAST_THIRD = 2 / 3
SUMMARY = "last third"
SCORES = metrics_of(PROBES)
"""What probes give; of them that of the linear one is told in words."""
PROBE = "linear_probe_accuracy"
PRIMARY = {"dead_channels": "act", "channel_cosine_distance_live": "act"}
"""The kind of site of a metric's primary test: block outputs, but for what happens to channels in the expanding MLP."""
READ = (
    *("arm", "seed", "site", "positions", "channels", "value", "status", "n_images", "n_rows"),
    *("replicates", "group_sizes", "images_hash"),
)
DIMENSIONS = "dimensions"
"""The unit of ranks: of layers of unequal width they have unequal ends, and their difference is not called."""

Row = dict[str, Any]
Held = dict[tuple[str, str], list[Row]]
"""(arm, site) -> the rows of one metric at one step: plain values, as a frame is slow to cut a thousand times."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """`table`: one row per (step, contrast, metric, site or "last third"); `metrics`: the tidy rows it was made from;
    `folders`: arm -> the run folders that its rows came from, if any; `runs` are all of them.

    Columns: contrast, kind, metric, step, site, sites (those behind the row, of each arm where they differ), positions,
    channels (the most of any), widths (the channels of each arm where they differ, else ""), value (of the plain
    values), corrected, low, high, p, p_holm, called, smallest (the smallest difference that could have been called),
    effect (Hedges' g, see `contrast.standardised`), n_seeds, n_images, paired, images_counted (False: no leave-one-out
    values, the interval is over seeds alone), status (the worst of the values behind it), equal_n (whether the arms
    have as many rows), primary. Nothing is called where a layer is broken, where values are biased by their number of
    rows and that differs, nor of a metric in dimensions where widths differ.
    """

    table: pd.DataFrame
    metrics: pd.DataFrame
    baseline: str
    factors: Factors
    step: str
    folders: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)

    @property
    def runs(self) -> tuple[Path, ...]:
        return tuple(path for paths in self.folders.values() for path in paths)

    @property
    def last(self) -> pd.DataFrame:
        """The rows of the last step: all of them, unless several steps were compared."""
        rows: pd.DataFrame = self.table[self.table.step == self.table.step.max()]
        return rows

    def __repr__(self) -> str:
        arms = self.metrics.groupby("arm", sort=False).seed.nunique()
        listed = ", ".join(f"{arm} ({count})" for arm, count in arms.items())
        return f"{len(arms)} arms (seeds): {listed}; against {self.baseline}, step {self.table.step.max()}"

    def _repr_html_(self) -> str:
        """The primary tests, as a notebook shows them."""
        return comparison_html(self.last, repr(self), FEWEST_SEEDS)

    def row(self, contrast: str, metric: str, site: str = SUMMARY, step: int | None = None) -> pd.Series[Any]:
        """One row of the table, of the last step unless another is given; raises LookupError where there is none."""
        table = self.last if step is None else self.table[self.table.step == step]
        found = table[(table.contrast == contrast) & (table.metric == metric) & (table.site == site)]
        if found.empty:
            raise LookupError(
                f"no row of {metric!r} at {site!r} for {contrast!r}; contrasts: {list(table.contrast.unique())}, "
                f"steps: {sorted(self.table.step.unique().tolist())}"
            )
        return found.iloc[0]


def compare(
    arms: Mapping[str, Runs],
    *,
    baseline: str,
    factors: Factors | None = None,
    at: str | int = "last",
    align: Align = "site",
    paired: bool | None = None,
) -> Comparison:
    """Compare arms (name -> tables or run folders, one a seed) with `baseline`, and by `factors`.

    Tables as `analyze` leaves them, of no run and of seed 0, get their place in the list as seed.

    `factors` gives each arm of a full factorial its levels: {"v2": {"grn": True, "layer_scale": False}, ...}; an arm
    left out of it is compared with the baseline only. `at` is a step, "last", or "all" for every step that all runs
    have. `align` "depth" holds networks of different depth against each other, see `places.places_of`. Seeds and images
    are paired where the arms of a contrast have the same; `paired=False` never pairs, `paired=True` insists.

    Raises LookupError for an unknown baseline or factor arm, ValueError for arms without runs, a seed given twice, a
    step without a capture, no common site, arms that cannot be paired as asked, no value anywhere, or an incomplete
    factorial.
    """
    factors = dict(factors or {})
    for name in [baseline, *factors]:
        if name not in arms:
            raise LookupError(f"there is no arm {name!r}; arms: {', '.join(arms)}")
    steps = at_steps(tables_of(arms), at)
    contrasts = [*against(list(arms), baseline), *factorial(factors)]
    found = []
    for step, rows in steps.items():
        found += [{"step": step, **row} for row in _step_rows(rows, contrasts, places_of(rows, align), paired)]
    if all(math.isnan(row["value"]) for row in found):
        raise ValueError("nothing can be compared: no headline metric has a value in any arm")
    paths = {arm: tuple(Path(run) for run in runs if not isinstance(run, pd.DataFrame)) for arm, runs in arms.items()}
    rows = pd.concat(list(steps.values()), ignore_index=True)
    label = str(max(steps)) if at == "all" else str(at)
    return Comparison(
        table=_holm(pd.DataFrame(found)), metrics=rows, baseline=baseline, factors=factors, step=label, folders=paths
    )


def _step_rows(
    rows: pd.DataFrame, contrasts: list[Contrast], places: list[Place], paired: bool | None
) -> Iterator[Row]:
    """Every contrast of every metric at every place and over the last third, at one step."""
    for metric in [name for name in (*HEADLINE, *SCORES) if name in set(rows.metric)]:
        held: Held = defaultdict(list)
        for row in rows[rows.metric == metric][list(READ)].to_dict("records"):
            held[str(row["arm"]), row["site"]].append({str(name): value for name, value in row.items()})
        if metric in SCORES:  # of the last map, which is no site; and of sites
            nowhere = Place(label="", kind="", depth=1.0, sites=dict.fromkeys((arm for arm, _ in held), ""))
            chosen = {"": [nowhere]}
        else:
            chosen = _summaries(places, metric)
        for label, behind in (chosen | {place.label: [place] for place in places}).items():
            yield from _contrast_rows(held, contrasts, metric, label, behind, paired)


def _summaries(places: list[Place], metric: str) -> dict[str, list[Place]]:
    """SUMMARY -> the places of the metric's primary test; "last third: KIND" -> those of each other kind."""
    late = [place for place in places if place.depth >= LAST_THIRD] or places
    kinds = {kind: [p for p in late if p.kind == kind] for kind in dict.fromkeys(place.kind for place in late)}
    primary = kinds.pop(PRIMARY.get(metric, "block"), late)
    return {SUMMARY: primary, **{f"{SUMMARY}: {kind}": own for kind, own in kinds.items()}}


def _contrast_rows(
    held: Held, contrasts: list[Contrast], metric: str, label: str, places: list[Place], paired: bool | None
) -> Iterator[Row]:
    """One row a contrast, under the position policy in which most arms have a value, the first of several."""
    sites = {arm: [place.sites[arm] for place in places] for arm in places[0].sites}
    rows = [row for arm, names in sites.items() for site in names for row in held.get((arm, site), [])]
    if not rows:
        return
    valued = {(row["positions"], row["arm"]): None for row in rows if not math.isnan(row["value"])}
    policies = Counter(policy for policy, _ in valued)  # most_common keeps the order of the table where they tie
    positions = policies.most_common(1)[0][0] if policies else rows[0]["positions"]
    part = [row for row in rows if row["positions"] == positions]
    arms = {arm: gathered(own) for arm in sites if (own := [row for row in part if row["arm"] == arm])}
    most = max(int(row["channels"]) for row in part)
    where = {"metric": metric, "site": label, "sites": _listed(sites), "positions": positions, "channels": most}
    for contrast in contrasts:
        if set(contrast.weights) <= set(arms):
            found = _inside(metric, contrast, evaluate(contrast, arms, paired))
            yield {"contrast": contrast.name, "kind": contrast.kind, **where, **found}


def _listed(sites: Mapping[str, list[str]]) -> str:
    """The sites behind a row, once where all arms have the same."""
    own = {arm: ", ".join(names) for arm, names in sites.items()}
    if len(set(own.values())) == 1:
        return next(iter(own.values()))
    return "; ".join(f"{arm}: {names}" for arm, names in own.items())


def _inside(metric: str, contrast: Contrast, row: Row) -> Row:
    """An arm's or a level's interval cut to the metric's bounds, where its population value lies."""
    if contrast.kind in COMPARED or metric not in METRICS:
        return row
    return row | {name: METRICS[metric].clip(row[name]) for name in ("corrected", "low", "high")}


def gathered(rows: list[Row]) -> ArmValues:
    """The mean over sites of the values, and of the replicates, of each seed of one arm."""
    seeds = {seed: [row for row in rows if row["seed"] == seed] for seed in sorted({row["seed"] for row in rows})}
    grouped = {tuple(row["group_sizes"]) if _is_row(row["group_sizes"]) else () for row in rows}
    sizes = grouped.pop() if len(grouped) == 1 else ()  # one, for runs on the same images
    replicates = {}
    if sizes and all(_is_row(row["replicates"]) and len(row["replicates"]) == len(sizes) for row in rows):
        for seed, own in seeds.items():
            replicates[seed] = np.mean([np.asarray(row["replicates"], dtype=float) for row in own], axis=0)
    return ArmValues(
        values={seed: float(np.mean([row["value"] for row in own])) for seed, own in seeds.items()},
        replicates=replicates,
        sizes=sizes,
        images="+".join(sorted({row["images_hash"] for row in rows})),
        n_images=int(min(row["n_images"] for row in rows)),
        status=max((row["status"] for row in rows), key=STATUSES.index),
        n_rows=float(np.mean([row["n_rows"] for row in rows])),
        channels=tuple({row["site"]: int(row["channels"]) for row in rows}.values()),
    )


def _is_row(value: Any) -> bool:
    """Whether a cell holds several numbers: a list from `analyze`, an array from parquet; else it is empty."""
    return isinstance(value, list | tuple | np.ndarray)


def _holm(table: pd.DataFrame) -> pd.DataFrame:
    """Mark the primary rows, adjust their p over the headline metrics of a contrast, and say what is called."""
    compared = table.kind.isin(COMPARED)
    chosen = (table.site == SUMMARY) & (table.step == table.step.max()) & table.metric.isin(HEADLINE)
    table = table.assign(primary=chosen & compared, p_holm=math.nan)
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
    dimensions = table.metric.map(lambda name: name in METRICS and METRICS[name].unit == DIMENSIONS)
    comparable &= (table.widths == "") | ~dimensions
    table["called"] = table.primary & comparable & (table.p_holm < 1 - LEVEL) & (table.n_seeds >= FEWEST_SEEDS)
    return table.drop(columns=["variance", "freedom"])
