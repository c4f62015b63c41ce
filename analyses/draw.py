"""Figures that several analyses draw."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#6B6B6B", "#000000")
"""Okabe & Ito's, readable with any kind of colour blindness."""
COLUMNS = 3


def panels_of(count: int, *, columns: int = COLUMNS) -> tuple[Figure, list[Axes]]:
    """A figure of so many panels."""
    columns = min(columns, count)
    rows = -(-count // columns)
    figure = Figure(figsize=(3.6 * columns, 2.7 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).flatten().tolist()
    for unused in axes[count:]:
        unused.set_visible(False)
    return figure, axes[:count]


def curves(table: pd.DataFrame, *, x: str, x_label: str, panel: str, y_label: str = "") -> Figure:
    """One panel a value of the column `panel`: each arm's mean of `value` over seeds, their range a band."""
    names: Sequence[str] = list(dict.fromkeys(table[panel]))
    figure, axes = panels_of(len(names))
    for name, axis in zip(names, axes, strict=True):
        own = table[table[panel] == name]
        for place, (arm, rows) in enumerate(own.groupby("arm", sort=False)):
            spread = rows.groupby(x).value.agg(["mean", "min", "max"])
            colour = COLOURS[place % len(COLOURS)]
            axis.plot(spread.index, spread["mean"], color=colour, marker="o", markersize=3, label=arm)
            axis.fill_between(spread.index, spread["min"], spread["max"], color=colour, alpha=0.15, linewidth=0)
        axis.set_title(name, loc="left", fontsize=9)
        axis.set_xlabel(x_label)
        axis.set_ylabel(y_label)
        axis.spines[["top", "right"]].set_visible(False)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=7)
    return figure
