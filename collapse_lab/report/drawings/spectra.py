"""Singular values of chosen sites, over the largest, on a logarithmic axis, with the floor of rounding."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from collapse_lab.capture.sites import kind_of
from collapse_lab.report.colours import colour
from collapse_lab.report.drawings.readings import Arms, at_step, bands_told, chosen_sites, labels, n_told, sites_in
from collapse_lab.report.drawings.sheet import GREY, WIDTHS, balanced, legend, letters, note, sheet, stroke, wrapped

SERIES = "singular_values"
RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def spectra(arms: Arms, *, sites: Sequence[str] = (), step: int | None = None, columns: int = 1) -> Figure:
    """One panel a site (the deepest of each kind without a pattern), one line an arm.

    Raises ValueError where no run kept a series, or no chosen site has a direction.
    """
    first = next(iter(arms.values()))[0]
    known = sites_in(first.metrics)
    shown = chosen_sites(known, sites) if sites else list({kind_of(site): site for site in known}.values())
    rows = singular_values(arms, shown, step)
    across = balanced(len(shown), 2 * columns - 1)
    figure, axes = sheet(len(shown), columns=columns, across=across, height=1.6, sharey=True)
    for axis, site in zip(axes, shown, strict=True):
        _panel(axis, arms, rows[rows.site == site])
        axis.set_title(wrapped(site, letters(WIDTHS[columns] / across - 0.4)), loc="left")
        axis.set_xlabel("direction")
    if len(floors := rows.floor[rows.floor > 0]):
        axes[0].set_ylim(bottom=floors.min() / 3)
    for axis in axes[::across]:
        axis.set_ylabel("singular value / largest")
    legend(figure, labels(arms), marker=False)
    images = rows.assign(n_images=int(first.metrics.n_images.max()))
    bands = f" {bands_told(arms)};" if max(map(len, arms.values())) > 1 else ""
    note(figure, f"At {n_told(arms, images)};{bands} dashed: floor of rounding.")
    return figure


def singular_values(arms: Arms, sites: Sequence[str], step: int | None = None) -> pd.DataFrame:
    """Columns arm, seed, site, step, positions, direction (from 1), value and floor over the largest; NaN below it."""
    parts = []
    for source in (source for own in arms.values() for source in own):
        if source.series.empty:
            raise ValueError(f"{source.run.path} keeps no spectra; make them with 'collapse-lab capture'")
        table = at_step(source, source.series, step)
        table = table[(table.series == SERIES) & table.site.isin(sites)]
        for site, own in table.groupby("site", sort=False):
            own = own[own.positions == own.positions.iloc[0]].sort_values("index")
            largest = own.value.iloc[0]
            if largest <= 0:
                continue
            values = (own.value / largest).where(own.value > 0)
            where = {"arm": source.arm, "seed": source.seed, "site": site}
            where |= {"step": own.step.iloc[0], "positions": own.positions.iloc[0]}
            floor = own.floor / largest
            parts.append(pd.DataFrame({**where, "direction": own["index"] + 1, "value": values, "floor": floor}))
    if not parts:
        raise ValueError(f"no run has a direction at {', '.join(sites)}: there is no spectrum to draw")
    return pd.concat(parts, ignore_index=True)


def _panel(axis: Axes, arms: Arms, rows: pd.DataFrame) -> None:
    for place, arm in enumerate(arms):
        grouped = rows[rows.arm == arm].groupby("direction").value
        mean = grouped.mean()
        axis.plot(mean.index, mean, label=arm, **stroke(place, marker=False))
        axis.fill_between(mean.index, grouped.min(), grouped.max(), color=colour(place), alpha=0.15, linewidth=0)
    axis.set_yscale("log")
    axis.yaxis.set_major_formatter(FuncFormatter(_power))  # matplotlib's own would need math parsed
    axis.yaxis.set_minor_formatter(NullFormatter())
    floor = rows.floor.max() if len(rows) else math.nan
    if math.isfinite(floor):
        axis.axhline(floor, color=GREY, linewidth=0.7, linestyle="dashed")


def _power(value: float, _: object) -> str:
    """10⁻³: the ticks of a logarithmic axis are powers of ten."""
    return f"10{str(round(math.log10(value))).translate(RAISED)}" if value > 0 else ""
