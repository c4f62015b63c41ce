"""collapse-lab figure"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from collapse_lab.cli import output

NAMES = "depth, cosine, maps, spectra, training, effects or selectivity"


def figure(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help=f"{NAMES}; 'collapse-lab list figures' says what each is.")
    ],
    runs: Annotated[list[Path], typer.Argument(help="Run folders; each belongs to the arm that its run.json names.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="A .pdf or .svg, fonts embedded, or a .png.")],
    metric: Annotated[list[str] | None, typer.Option("--metric", help="Of depth and effects repeatable.")] = None,
    site: Annotated[list[str] | None, typer.Option("--site", help="A pattern, repeatable; of maps one site.")] = None,
    step: Annotated[int | None, typer.Option(help="The last one that was captured, without it.")] = None,
    columns: Annotated[int, typer.Option(min=1, max=2, help="1 (3.25 inches wide) or 2 (6.75 inches).")] = 1,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """A figure for a paper: arms as lines or panels, at the width of a column, as a vector file."""
    from collapse_lab.report.figures import figure as draw

    drawn = draw(name, runs, out=out, metrics=metric or (), sites=site or (), step=step, columns=columns)
    width, height = (round(float(side), 2) for side in drawn.get_size_inches())
    if json:
        output.print_json("figure", path=out, name=name, inches=[width, height])
    else:
        output.human().print(f"{width} x {height} inches")
        print(out)
