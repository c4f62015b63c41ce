"""Feature maps in the form of Woo et al. 2023, Fig. 3: 64 channels as small squares, by example and arm."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from collapse_lab.capture.sites import kind_of
from collapse_lab.capture.store import Capture, load_capture
from collapse_lab.report.drawings.readings import Arms, chosen_sites
from collapse_lab.report.drawings.sheet import SMALL, TYPE, WIDTHS, letters, note, wrapped
from collapse_lab.report.sources import Source

Array = np.ndarray[Any, Any]
CHANNELS, SIDE = 64, 8
MOST = 4
"""Examples in one figure."""
LOW, HIGH = 0.01, 0.99
"""Quantiles of an arm's values between which its colours lie."""


@dataclass(frozen=True, kw_only=True)
class Shown:
    """The maps of one run at one site: `values` (examples, H, W, C) and the images' identities, a step and a seed."""

    values: Array
    ids: tuple[int, ...]
    seed: int
    step: int


def maps(arms: Arms, *, sites: Sequence[str] = (), step: int | None = None, columns: int = 1) -> Figure:
    """One row an example, one column an arm (its first run), of one site: the deepest activation without a pattern.

    Raises FileNotFoundError where no maps were kept, ValueError for several sites, images that the arms do not share,
    or positions that are no map.
    """
    kept = {arm: _captured(own[0], step) for arm, own in arms.items()}
    site = _site(kept, sites)
    shown = {arm: _shown(arms[arm][0], at, captured, site) for arm, (at, captured) in kept.items()}
    common = [key for key in next(iter(shown.values())).ids if all(key in each.ids for each in shown.values())][:MOST]
    if not common:
        raise ValueError("the arms keep maps of different images; capture them all with the same ones")
    alone = len(arms) == 1  # then the examples stand beside each other
    rows, across = (1, len(common)) if alone else (len(common), len(arms))
    side = WIDTHS[columns] / max(2, across)
    size = TYPE if side > 0.8 else SMALL
    figure = Figure(figsize=(WIDTHS[columns], 0.42 + side * 0.97 * rows), layout="constrained")
    axes = figure.subplots(rows, across, squeeze=False)
    axes = axes.T if alone else axes
    for column, (arm, each) in enumerate(shown.items()):
        chosen = each.values[[each.ids.index(key) for key in common]]
        low, high = np.nanquantile(chosen[..., :CHANNELS], [LOW, HIGH])
        for row, values in enumerate(chosen):
            axis = axes[row, column]
            # Without interpolation a vector file keeps one pixel a value.
            axis.imshow(mosaic(values), cmap="viridis", vmin=low, vmax=high, interpolation="none")
            axis.set_axis_off()
        scale = f"{low:.2g} to {high:.2g}".replace("-", "−")
        title = f"{wrapped(arm, letters(WIDTHS[columns] / len(arms) * TYPE / size) - 2)}\n{scale}"
        if alone:
            figure.suptitle(title, fontsize=size, x=0.01, ha="left")
        else:
            axes[0, column].set_title(title, fontsize=size)
    width = next(iter(shown.values())).values.shape[-1]
    steps = ", ".join(dict.fromkeys(f"step {each.step}" for each in shown.values()))
    seeds = ", ".join(dict.fromkeys(f"seed {each.seed}" for each in shown.values()))
    note(
        figure,
        f"{site}, {steps}, {seeds}: the first {min(CHANNELS, width)} of {width} channels, "
        f"one {'column' if alone else 'row'} an image; colours run from the 1st to the 99th percentile of an arm, "
        f"so that dead and saturated channels look flat.",
    )
    return figure


def mosaic(values: Array) -> Array:
    """The first 64 channels of (H, W, C), 8 x 8, a margin of NaN between; NaN where there are fewer."""
    height, width, channels = values.shape
    squares = np.full((SIDE, SIDE, height + 1, width + 1), np.nan)
    count = min(CHANNELS, channels)
    squares.reshape(CHANNELS, height + 1, width + 1)[:count, :height, :width] = values[..., :count].transpose(2, 0, 1)
    return squares.transpose(0, 2, 1, 3).reshape(SIDE * (height + 1), -1)[:-1, :-1]


def _captured(source: Source, step: int | None) -> tuple[int, Capture]:
    """The last capture of a run that keeps maps, or that of a step."""
    found = source.run.captures()
    for at in [step] if step is not None else sorted(found, reverse=True):
        captured = load_capture(found[at], groups=False) if at in found else None
        if captured is not None and captured.maps.values:
            return at, captured
    where = "" if step is None else f" --step {step}"
    raise FileNotFoundError(
        f"{source.run.path} keeps no maps{where and f' at step {step}'}; keep them with "
        f"'collapse-lab capture {source.run.path}{where} --keep-maps {MOST}'"
    )


def _site(kept: dict[str, tuple[int, Capture]], patterns: Sequence[str]) -> str:
    first = next(iter(kept.values()))[1]
    known = [site for site in first.sites if all(site in captured.maps.values for _, captured in kept.values())]
    if not known:
        raise ValueError("the arms keep maps of different sites; capture them all with the same --sites")
    if not patterns:
        return ([site for site in known if kind_of(site) == "act"] or known)[-1]
    chosen = chosen_sites(known, patterns)
    if len(chosen) > 1:
        raise ValueError(f"a figure of maps shows one site, {', '.join(patterns)} fits {len(chosen)}: {chosen[:4]}")
    return chosen[0]


def _shown(source: Source, step: int, captured: Capture, site: str) -> Shown:
    values = captured.maps.values[site].to(torch.float32).numpy()  # (m, P, C)
    height, width, first = _grid(captured, site, values.shape[1])
    return Shown(
        values=values[:, first:].reshape(len(values), height, width, -1),
        ids=tuple(captured.maps.id[site].tolist()),
        seed=source.seed,
        step=step,
    )


def _grid(captured: Capture, site: str, positions: int) -> tuple[int, int, int]:
    """Height and width of a site's map, and how many tokens stand before it."""
    axes = captured.facts.get("layouts", {}).get(site, "").split()
    axes = [axis for axis in axes if axis != "image"]  # shapes are those of one image
    shape = captured.facts.get("shapes", {}).get(site, [])
    if "height" in axes and "width" in axes and len(shape) == len(axes):
        height, width = shape[axes.index("height")], shape[axes.index("width")]
        if height * width == positions:
            return height, width, 0
    side = math.isqrt(positions)
    if side * side not in (positions, positions - 1):  # one token more: that of the class
        raise ValueError(f"the {positions} positions of {site} are no square map: there is no picture of them")
    return side, side, positions - side * side
