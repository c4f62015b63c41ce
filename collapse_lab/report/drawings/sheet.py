"""What every figure has in common: widths, type, the legend above, the note on units and n below."""

from __future__ import annotations

import math
import textwrap
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from collapse_lab.report.colours import colour
from collapse_lab.report.drawings.fonts import families

WIDTHS: Mapping[int, float] = {1: 3.25, 2: 6.75}
"""Inches of one column and of both, as the usual conference templates have them."""
SMALL, TYPE = 6, 7
"""Points of notes and of all other text."""
GREY = "#707070"
DASHES = ((0, ()), (0, (4, 1.5)), (0, (1.2, 1.2)), (0, (5, 1.5, 1, 1.5)), (0, (2, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
"""Each arm has its own: prints in grey can be read, and a line under another one can be seen."""
STYLE: Any = {
    "pdf.fonttype": 42,  # TrueType: journals refuse Type 3
    "svg.fonttype": "path",
    "svg.hashsalt": "collapse_lab",
    "text.parse_math": False,  # names are text, whatever they hold
    "font.size": TYPE,
    "axes.titlesize": TYPE,
    "axes.labelsize": TYPE,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "legend.fontsize": TYPE,
    "axes.linewidth": 0.6,
    "axes.edgecolor": GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "lines.linewidth": 1.2,
    "lines.markersize": 2.5,
    "hatch.linewidth": 0.4,
}


@contextmanager
def style(names: str = "") -> Iterator[None]:
    """Drawing and writing both happen inside: a file format reads its settings when it is written.

    `names` are all that a figure shows of the runs, in any order: fonts are chosen that have their letters.
    """
    with matplotlib.rc_context({**STYLE, "font.family": families(names)}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # said once by `families`
        yield


def sheet(panels: int, *, columns: int, across: int, height: float, **options: Any) -> tuple[Figure, list[Axes]]:
    """A figure of so many panels, `across` beside each other, each `height` inches high."""
    rows = math.ceil(panels / across)
    figure = Figure(figsize=(WIDTHS[columns], rows * height), layout="constrained")
    axes = figure.subplots(rows, across, squeeze=False, **options).flatten().tolist()
    for unused in axes[panels:]:
        unused.remove()
    return figure, axes[:panels]


def balanced(panels: int, most: int) -> int:
    """How many panels stand beside each other, at most so many, that rows are about equally long."""
    return math.ceil(panels / math.ceil(panels / most))


def stroke(arm: int, *, marker: bool = True) -> dict[str, Any]:
    """How the line of an arm, by its place among them, is drawn."""
    own = {"color": colour(arm), "linestyle": DASHES[arm % len(DASHES)]}
    return {**own, "marker": MARKERS[arm % len(MARKERS)]} if marker else own


def legend(figure: Figure, labels: Sequence[str], *, marker: bool = True) -> None:
    """One entry an arm, above the panels, in as many columns as fit.

    The figure is made higher by it, so that the panels keep their size.
    """
    lines = [wrapped(label, 44) for label in labels]
    handles = [Line2D([], [], label=label, **stroke(arm, marker=marker)) for arm, label in enumerate(lines)]
    longest = max(len(line) for label in lines for line in label.split("\n"))
    entry = (0.56 * TYPE * longest + 4.5 * TYPE) / 72  # letters of this type are about 0.56 of its size wide
    across = max(1, min(len(lines), int(figure.get_figwidth() / entry)))
    rows = math.ceil(len(lines) / across)
    height = rows * max(label.count("\n") + 1 for label in lines) * TYPE * 1.35 / 72 + 0.05
    figure.set_figheight(figure.get_figheight() + height)
    figure.legend(
        handles=handles, loc="outside upper left", ncols=across, frameon=False, borderaxespad=0.2, handlelength=2.8
    )


def note(figure: Figure, text: str) -> None:
    """What a reader must know of the numbers, small, below the panels; the figure is made higher by it."""
    lines = textwrap.wrap(text, int(figure.get_figwidth() * 72 / (0.54 * SMALL)))
    figure.set_figheight(figure.get_figheight() + len(lines) * SMALL * 1.3 / 72 + 0.03)
    figure.supxlabel("\n".join(lines), x=0.01, ha="left", fontsize=SMALL, color=GREY)


def wrapped(text: str, width: int, lines: int = 3) -> str:
    """A name on a few lines of whole words where it has any, the rest cut off with an ellipsis."""
    return "\n".join(textwrap.wrap(text, width, max_lines=lines, placeholder=" …")) or text[: width - 1] + "…"


def letters(inches: float) -> int:
    """How many letters of the common type fit side by side into so many inches."""
    return max(8, int(inches * 72 / (0.56 * TYPE)))
