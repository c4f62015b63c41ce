"""Charts as SVG text: one panel a figure, so that a page can lay them out for any width."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#6B6B6B")
"""Okabe & Ito's colours, readable with any kind of colour blindness; dashes tell repeated ones apart."""
DASHES = ("solid", "dashed", "dotted", "dashdot")
STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "collapse_lab",
    "text.parse_math": False,  # names are text, whatever they hold
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
    "axes.edgecolor": "#888888",
}
SIZE = (3.4, 2.4)


@dataclass(frozen=True, kw_only=True)
class Line:
    """One arm in one panel: `y` (seeds, points) over `x` (points); `arm` is its place among the arms."""

    arm: int
    x: Sequence[float]
    y: np.ndarray[Any, Any]


def colour(arm: int) -> str:
    return COLOURS[arm % len(COLOURS)]


def dash(arm: int) -> str:
    return DASHES[arm // len(COLOURS) % len(DASHES)]


def panel(
    lines: Sequence[Line],
    *,
    title: str,
    x: str,
    y: str = "",
    ticks: Sequence[str] = (),
    log: bool = False,
    floor: float | None = None,
) -> str:
    """Means over seeds with the range of the seeds as a band; `floor` is drawn as a grey line. SVG text."""
    from matplotlib.figure import Figure

    with _style():
        figure = Figure(figsize=SIZE, layout="constrained")
        axes = figure.subplots()
        for line in lines:
            mean = _mean(line.y)
            mark = "o" if len(line.x) < 12 else ""
            axes.plot(
                line.x, mean, color=colour(line.arm), linestyle=dash(line.arm), linewidth=1.5, marker=mark, markersize=3
            )
            low, high = _range(line.y)
            axes.fill_between(line.x, low, high, color=colour(line.arm), alpha=0.15, linewidth=0)
        if floor is not None:
            axes.axhline(floor, color="#888888", linewidth=0.8, linestyle="dashed")
        if log:
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")  # powers as formulas would need math parsed
        if ticks:
            axes.set_xticks(range(len(ticks)), ticks, rotation=45 if max(map(len, ticks)) > 4 else 0, ha="right")
        axes.set_title(title, loc="left")
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        return _svg(figure)


def _mean(y: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.asarray(np.ma.masked_invalid(y).mean(axis=0).filled(np.nan))


def _range(y: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    masked = np.ma.masked_invalid(y)
    return np.asarray(masked.min(axis=0).filled(np.nan)), np.asarray(masked.max(axis=0).filled(np.nan))


@contextmanager
def _style() -> Iterator[None]:
    import matplotlib

    with matplotlib.rc_context(STYLE):
        yield


def _svg(figure: Any) -> str:
    """The figure's own element, without the XML head; its size is left to the page."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    return re.sub(
        r'(<svg[^>]*?) width="[^"]*"', r"\1", re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1), count=1
    )
