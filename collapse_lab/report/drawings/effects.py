"""Factorial effects: what each factor changes, and both together, with intervals, one panel a metric."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from collapse_lab.findings.compare import SUMMARY, Comparison, compare
from collapse_lab.metrics._metric import HEADLINE, METRICS
from collapse_lab.report.colours import colour
from collapse_lab.report.drawings.readings import Arms, seeds_of
from collapse_lab.report.drawings.sheet import WIDTHS, balanced, letters, note, sheet, wrapped
from collapse_lab.report.sources import arms_of
from collapse_lab.report.words import spoken

KINDS = ("effect", "interaction")


def effects(arms: Arms, *, metrics: Sequence[str] = HEADLINE, step: int | None = None, columns: int = 1) -> Figure:
    """Dots are bias-corrected effects over the last third of depth, filled where a difference is called.

    Raises ValueError where the runs are no full factorial, LookupError for a metric that is no headline one.
    """
    for metric in metrics:
        if metric not in HEADLINE:
            METRICS[metric]  # an unknown name raises with the nearest one
            raise LookupError(f"{metric} is compared in no test; effects are drawn of: {', '.join(HEADLINE)}")
    comparison = compared(arms, step)
    rows = comparison.last[(comparison.last.site == SUMMARY) & comparison.last.kind.isin(KINDS)]
    names = list(dict.fromkeys(rows.contrast))
    across = balanced(len(metrics), 2 * columns)
    figure, axes = sheet(len(metrics), columns=columns, across=across, height=0.75 + 0.16 * len(names), sharey=True)
    fitting = letters((WIDTHS[columns] - 0.9) / across - 0.1)  # beside the names of the contrasts
    for axis, metric in zip(axes, metrics, strict=True):
        _panel(axis, rows[rows.metric == metric].set_index("contrast"), names)
        axis.set_title(wrapped(spoken(metric), fitting), loc="left")
        axis.set_xlabel(wrapped(METRICS[metric].unit, fitting))
    seeds, images = seeds_of(int(rows.n_seeds.min())), int(rows.n_images.min())
    note(
        figure,
        f"On less off, last third of depth, step {rows.step.max()}, {seeds} an arm, "
        f"{images} images; 95 % intervals; filled: called after Holm's adjustment, hollow: not called.",
    )
    return figure


def compared(arms: Arms, step: int | None = None) -> Comparison:
    """Arms and their factors compared; raises ValueError where not every combination of the factors is there."""
    folders, factors = arms_of([source for own in arms.values() for source in own])
    if not factors:
        raise ValueError(
            "these runs are no full factorial: each combination of the factors must be an arm "
            "('factors' of a study's arms say which is which)"
        )
    at = "last" if step is None else step
    return compare(folders, baseline=next(iter(folders)), factors=factors, at=at)


def _panel(axis: Axes, rows: pd.DataFrame, names: Sequence[str]) -> None:
    axis.axvline(0, color="#999999", linewidth=0.7)
    for place, name in enumerate(names):
        if name not in rows.index or pd.isna(rows.corrected[name]):
            continue
        row = rows.loc[name]
        shade = colour(place)
        axis.plot([row.low, row.high], [place, place], color=shade, solid_capstyle="butt", label=f"{name} interval")
        filled = shade if row.called else "white"
        axis.plot([row.corrected], [place], "o", markersize=4, color=shade, markerfacecolor=filled, label=name)
    axis.set_yticks(range(len(names)), [wrapped(name, 22, lines=2) for name in names])
    axis.set_ylim(len(names) - 0.5, -0.5)
    axis.margins(x=0.08)
    axis.xaxis.set_major_locator(MaxNLocator(nbins=3, steps=[1, 2, 5, 10]))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}".replace("-", "−")))
