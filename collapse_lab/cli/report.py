"""collapse-lab report"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from collapse_lab.cli import output


def report(
    runs: Annotated[list[Path], typer.Argument(help="Run folders.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The page.")] = Path("reports/page.html"),
    baseline: Annotated[str | None, typer.Option(help="The arm to compare with; the first without it.")] = None,
    title: Annotated[str, typer.Option(help="What the page is called.")] = "Feature collapse",
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """One self-contained HTML page about the runs."""
    from collapse_lab.report.page import report as write_report

    path = write_report(runs, out=out, baseline=baseline, title=title)
    if json:
        output.print_json("report", path=path)
    else:
        print(path)
