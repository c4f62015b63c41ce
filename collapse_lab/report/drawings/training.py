"""Depth x step: when and where a metric changes, one panel an arm on one scale."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from collapse_lab.capture.sites import kind_of
from collapse_lab.metrics._metric import METRICS
from collapse_lab.report.drawings.readings import Arms, images_told, labels, over_training, seeds_of, short
from collapse_lab.report.drawings.sheet import TYPE, WIDTHS, balanced, letters, note, sheet, wrapped
from collapse_lab.report.words import spoken

EMPTY = "#d9d9d9"
MOST_TICKS = 12


def training(
    arms: Arms, *, metrics: Sequence[str] = ("effective_rank",), sites: Sequence[str] = (), columns: int = 1
) -> Figure:
    """Sites from top to bottom, captured steps from left to right, the mean over seeds as colour."""
    rows = over_training(arms, metrics[0], sites)
    across = balanced(len(arms), 2 * columns)
    tallest = max(own.site.nunique() for _, own in rows.groupby("arm"))
    titles = [wrapped(label, letters((WIDTHS[columns] - 0.8) / across - 0.35)) for label in labels(arms)]
    height = min(2.6, 0.75 + 0.11 * tallest) + max(title.count("\n") for title in titles) * TYPE * 1.2 / 72
    figure, axes = sheet(len(arms), columns=columns, across=across, height=height)
    scale = {"vmin": rows.value.min(), "vmax": rows.value.max(), "cmap": "viridis"}
    for place, (axis, arm, title) in enumerate(zip(axes, arms, titles, strict=True)):
        grid = means(rows[rows.arm == arm])
        mesh = axis.pcolormesh(
            np.ma.masked_invalid(grid.to_numpy(dtype=float)), edgecolors="face", linewidth=0.1, **scale
        )
        axis.set(facecolor=EMPTY)
        axis.grid(visible=False)
        axis.invert_yaxis()
        _ticks(axis.set_xticks, [str(step) for step in grid.columns], MOST_TICKS // 2)
        _ticks(axis.set_yticks, short(list(grid.index)), MOST_TICKS)
        axis.set_title(title, loc="left")
        if place % across == 0:
            axis.set_ylabel(", ".join(dict.fromkeys(map(kind_of, grid.index))))
        if place + across >= len(arms):
            axis.set_xlabel("step")
    bar = figure.colorbar(mesh, ax=axes, location="right", shrink=min(1.0, 1.5 / figure.get_figheight()), aspect=16)
    bar.set_label(f"{spoken(metrics[0])}\n({METRICS[metrics[0]].unit})")  # a figure may be low
    bar.outline.set_visible(False)
    if bar.solids is not None:
        bar.solids.set(rasterized=False, edgecolor="face", linewidth=0.1)  # as a picture it would be no vector
    positions = " and ".join(dict.fromkeys(rows.positions))
    missing = "; grey: no value" if rows.value.isna().any() else ""
    counts = {len(own) for own in arms.values()}
    seeds = f"{seeds_of(max(counts))} an arm" if len(counts) == 1 else "seeds"
    note(
        figure,
        f"{'Means over ' if max(counts) > 1 else ''}{seeds}, {images_told(rows)} ({positions}), "
        f"one scale for all arms{missing}.",
    )
    return figure


def means(rows: pd.DataFrame) -> pd.DataFrame:
    """Index site, shallow to deep; columns step; the mean over seeds."""
    order = list(dict.fromkeys(rows.sort_values("place", kind="stable").site))
    return rows.pivot_table(index="site", columns="step", values="value", aggfunc="mean", dropna=False).loc[order]


def _ticks(set_ticks: Callable[..., object], names: Sequence[str], most: int) -> None:
    """At the middle of the cells, at most so many."""
    every = math.ceil(len(names) / most)
    places = range(0, len(names), every)
    set_ticks([place + 0.5 for place in places], [names[place] for place in places])
