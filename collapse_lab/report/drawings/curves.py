"""Curves through depth: any metric, and the mean cosine distance of channels in the form of Woo et al. 2023, Fig. 4."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from collapse_lab.capture.sites import kind_of
from collapse_lab.metrics._metric import METRICS
from collapse_lab.report.colours import colour
from collapse_lab.report.drawings.readings import (
    Arms,
    across_seeds,
    bands_told,
    labels,
    n_told,
    short,
    through_depth,
)
from collapse_lab.report.drawings.sheet import SMALL, WIDTHS, balanced, legend, note, sheet, stroke
from collapse_lab.report.words import spoken

PAPER = "channel_cosine_distance_paper"
UNRELATED = 0.5
"""The cosine distance of channels that have nothing to do with each other."""


def depth(
    arms: Arms,
    *,
    metrics: Sequence[str] = ("effective_rank",),
    sites: Sequence[str] = (),
    step: int | None = None,
    columns: int = 1,
) -> Figure:
    """One panel a metric, one line an arm: the mean over seeds at every site, shallow to deep."""
    drawn = {metric: through_depth(arms, metric, sites, step) for metric in metrics}
    across = balanced(len(drawn), columns)
    figure, axes = sheet(len(drawn), columns=columns, across=across, height=1.7)
    for axis, (metric, rows) in zip(axes, drawn.items(), strict=True):
        _lines(axis, arms, rows)
        _ticks(axis, rows, WIDTHS[columns] / across)
        axis.set_ylabel(_labelled(metric))
    legend(figure, labels(arms))
    note(figure, f"At {n_told(arms, pd.concat(drawn.values()))}; {bands_told(arms)}.")
    return figure


def cosine(
    arms: Arms,
    *,
    metrics: Sequence[str] = (PAPER,),
    sites: Sequence[str] = (),
    step: int | None = None,
    columns: int = 1,
) -> Figure:
    """Normalised layer index against the mean cosine distance of channels, one line an arm."""
    rows = through_depth(arms, metrics[0], sites, step)
    figure, (axis,) = sheet(1, columns=columns, across=1, height=1.9)
    axis.axhline(UNRELATED, color="#999999", linewidth=0.7, linestyle="dotted")
    _lines(axis, arms, rows)
    axis.set(xlim=(-0.02, 1.02), ylim=(0, max(1.1 * UNRELATED, 1.05 * max(rows.value.max(), rows.high.max()))))
    axis.set_xlabel("normalised layer index")
    axis.set_ylabel("mean cosine distance")
    legend(figure, labels(arms))
    kinds = ", ".join(dict.fromkeys(map(kind_of, rows.site)))
    told = f"{n_told(arms, rows)}; {bands_told(arms)}; dotted: unrelated channels."
    note(figure, f"{spoken(metrics[0]).capitalize()} at each {kinds}, {told}")
    return figure


def _lines(axis: Axes, arms: Arms, rows: pd.DataFrame) -> None:
    """Lines have gaps where there is no value."""
    for place, arm in enumerate(arms):
        spread = across_seeds(rows[rows.arm == arm], "place")
        axis.plot(spread.index, spread["mean"], label=arm, zorder=3, **stroke(place))
        axis.fill_between(spread.index, spread.low, spread.high, color=colour(place), alpha=0.15, linewidth=0)


def _ticks(axis: Axes, rows: pd.DataFrame, width: float) -> None:
    """The sites by name where all arms have the same, as many as fit `width` inches; else the normalised index."""
    sites = list(dict.fromkeys(rows.site))
    kinds = ", ".join(dict.fromkeys(map(kind_of, sites)))
    if len(sites) != rows.place.nunique():
        axis.set_xlabel(f"normalised index of each {kinds}")
        return
    names = short(sites)
    every = math.ceil(len(names) * (max(map(len, names)) + 1.5) * 0.56 * SMALL / 72 / (0.8 * width))
    turned = every > 3 and len(names) <= 12  # whole names: turned they all fit
    shown = names if turned else [name if place % every == 0 else "" for place, name in enumerate(names)]
    places = sorted(rows.place.unique())
    axis.set_xticks(places, shown, rotation=40 if turned else 0, ha="right" if turned else "center")
    axis.set_xlabel(f"{kinds}, shallow to deep")


def _labelled(metric: str) -> str:
    return f"{spoken(metric)}\n({METRICS[metric].unit})"
