"""Class selectivity in the form of Woo et al. 2023, Fig. 7: a histogram of the channels' indices, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from collapse_lab.capture.sites import kind_of
from collapse_lab.report.drawings.readings import Arms, at_step, chosen_sites, labels, n_told
from collapse_lab.report.drawings.sheet import WIDTHS, balanced, legend, letters, note, sheet, stroke, wrapped

SERIES = "class_selectivity"
BINS = 25
MOST = 6
"""Layers, evenly through depth, unless sites are named."""


def selectivity(arms: Arms, *, sites: Sequence[str] = (), step: int | None = None, columns: int = 1) -> Figure:
    """One panel a layer, one line an arm: the density of the index over the channels of all seeds.

    Raises ValueError where no labelled rows were kept.
    """
    rows = indices(arms, step)
    known = list(dict.fromkeys(rows.site))
    shown = chosen_sites(known, sites) if sites else _spread([s for s in known if kind_of(s) == "block"] or known)
    across = balanced(len(shown), columns + 1)
    figure, axes = sheet(len(shown), columns=columns, across=across, height=1.35, sharex=True)
    edges = np.linspace(0, 1, BINS + 1)
    for axis, site in zip(axes, shown, strict=True):
        for place, arm in enumerate(arms):
            values = rows[(rows.arm == arm) & (rows.site == site)].value.dropna()
            if len(values):
                density, _ = np.histogram(values, edges, density=True)
                axis.stairs(density, edges, linewidth=1.0, label=arm, **stroke(place, marker=False))
        axis.set_title(wrapped(site, letters(WIDTHS[columns] / across - 0.4)), loc="left")
        axis.set(xlim=(0, 1), ylim=(0, None))
    for axis in axes[-across:]:
        axis.set_xlabel("class selectivity index")
        axis.tick_params(labelbottom=True)
    for axis in axes[::across]:
        axis.set_ylabel("density of channels")
    legend(figure, labels(arms), marker=False)
    silent = " Channels that are zero on every image have no index." if rows.value.isna().any() else ""
    note(figure, f"At {n_told(arms, rows)}; the channels of all seeds together, {BINS} bins.{silent}")
    return figure


def indices(arms: Arms, step: int | None = None) -> pd.DataFrame:
    """Columns arm, seed, step, site, positions, value: the index of every channel, of pooled rows if any."""
    parts = []
    for source in (source for own in arms.values() for source in own):
        table = pd.DataFrame() if source.series.empty else at_step(source, source.series, step)
        table = table if table.empty else table[table.series == SERIES]
        if table.empty:
            raise ValueError(
                f"{source.run.path} keeps no class selectivity: it needs labelled images and kept rows "
                f"('collapse-lab capture {source.run.path} --keep-rows 4096')"
            )
        policies = list(dict.fromkeys(table.positions))
        policy = "pooled" if "pooled" in policies else policies[0]
        table = table[table.positions == policy]
        parts.append(table[["step", "site", "positions", "value"]].assign(arm=source.arm, seed=source.seed))
    return pd.concat(parts, ignore_index=True)


def _spread(sites: Sequence[str]) -> list[str]:
    places = np.unique(np.linspace(0, len(sites) - 1, min(MOST, len(sites))).round().astype(int))
    return [sites[place] for place in places]
