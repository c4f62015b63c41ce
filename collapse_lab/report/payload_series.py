"""Spectra and channel variances as 64 numbers each, on a logarithmic scale of 16 bits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from collapse_lab.report.layout import Layout
from collapse_lab.report.packing import Array, log_codes, packed

POINTS = 64
CURVES = ("singular_values", "channel_variance")


def ranks(count: int, points: int = POINTS) -> Array:
    """At most so many of 1 ... count, about evenly spread on a logarithmic axis, the first and the last among them."""
    return np.unique(np.round(np.geomspace(1, count, points)).astype(int)) if count else np.zeros(0, dtype=int)


def series_arrays(layout: Layout) -> dict[str, Any]:
    """rank: uint32 (detailed site, 64), 0 = no more; spectra: codes (run, step, site, 64) of the singular values, with
    `floor` float32 (run, step, site); variances: codes (run, site, 64) of the channels' variances at the last step,
    largest first. `ends` of codes are one pair of logarithms each."""
    sites, steps = layout.chosen, list(layout.steps)
    widths = [layout.channels[place] for place in layout.detailed]
    chosen = [ranks(width) for width in widths]
    rank = np.zeros((len(sites), POINTS), dtype=np.uint32)
    for place, own in enumerate(chosen):
        rank[place, : len(own)] = own
    shape = (len(layout.sources), len(steps), len(sites))
    spectra, floor = np.full((*shape, POINTS), np.nan), np.full(shape, np.nan, dtype=np.float32)
    variances = np.full((shape[0], shape[2], POINTS), np.nan)
    for run, source in enumerate(layout.sources):
        last = int(source.series.step.max()) if len(source.series) else 0
        for (name, at, site), (values, least) in _curves(source.series, sites).items():
            place = sites.index(site)
            own = chosen[place][chosen[place] <= len(values)]
            if name == "singular_values" and at in steps:
                spectra[run, steps.index(at), place, : len(own)] = values[own - 1]
                floor[run, steps.index(at), place] = least
            elif name == "channel_variance" and at == last:
                variances[run, place, : len(own)] = np.sort(values)[::-1][own - 1]
    (spectrum_codes, spectrum_ends), (variance_codes, variance_ends) = log_codes(spectra), log_codes(variances)
    return {
        "rank": packed(rank, "u4"),
        "spectra": packed(spectrum_codes, "u2"),
        "spectra_ends": spectrum_ends,
        "floor": packed(floor, "f4"),
        "variances": packed(variance_codes, "u2"),
        "variances_ends": variance_ends,
    }


def _curves(table: pd.DataFrame, sites: Sequence[str]) -> dict[tuple[str, int, str], tuple[Array, float]]:
    """(series, step, site) -> its values in order and the floor, under the first position policy of the table."""
    if table.empty:
        return {}
    # Rows of one curve stand together and in order, as `series_table` writes them: the first of each tells which it is.
    starts = np.flatnonzero(table["index"].to_numpy() == 0)
    ends = np.append(starts[1:], len(table))
    heads = table[["series", "step", "site", "positions", "floor"]].iloc[starts]
    wanted = heads.series.isin(CURVES) & heads.site.isin(sites) & (heads.positions == heads.positions.iloc[0])
    value, kept = table.value.to_numpy(), np.flatnonzero(wanted.to_numpy())
    names, steps, places, floors = (heads[name].to_numpy()[kept] for name in ("series", "step", "site", "floor"))
    return {
        (str(name), int(step), str(site)): (value[starts[own] : ends[own]], float(floor))
        for own, name, step, site, floor in zip(kept, names, steps, places, floors, strict=True)
    }
