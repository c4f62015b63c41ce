"""collapse-lab demo"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from collapse_lab.cli import output

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.progress import Progress as Bar

    from collapse_lab.study.run import Progress

EVERY = 20.0
"""Seconds between two lines where there is no terminal to redraw."""
STUDY = Path(__file__).parents[1] / "study" / "demo.toml"


def demo(
    out: Annotated[Path, typer.Option(help="Where the page is written.")] = Path("reports/demo"),
    runs: Annotated[Path, typer.Option(help="Where the runs lie.")] = Path("runs/demo"),
    at_once: Annotated[int, typer.Option(min=1, help="Runs at a time, one thread each.")] = 2,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """The example study: trains, measures, compares and writes a page. A second call reuses what is done."""
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    from collapse_lab.cli.compare import print_comparison
    from collapse_lab.report.page import report
    from collapse_lab.study.plan import read_study
    from collapse_lab.study.run import run_study

    study = read_study(STUDY)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=output.human()) as bar:
        comparison = run_study(study, runs, at_once=at_once, on_progress=_shown(bar))
        bar.console.print("writing the page ...")
    page = report(comparison, out=out / "index.html", title=study.title)
    if json:
        output.print_json("demo", page=page, rows=output.records(comparison.table[comparison.table.primary]))
        return
    print_comparison(comparison)
    print(page)


def _shown(bar: Bar) -> Callable[[Progress], None]:
    """A bar on a terminal; anywhere else a plain line now and then."""
    task = bar.add_task("runs", total=None)
    began = said = time.monotonic()
    before: float | None = None

    def on_progress(progress: Progress) -> None:
        nonlocal said, before
        before = progress.done if before is None else before
        failed = f", {len(progress.failed)} failed" if progress.failed else ""
        text = f"{progress.finished} of {progress.runs} runs{failed}"
        bar.update(task, description=text, total=progress.cost, completed=progress.done)
        if not bar.console.is_terminal and time.monotonic() - said >= EVERY:
            said = time.monotonic()
            left = (said - began) / max(1.0, progress.done - before) * (progress.cost - progress.done)
            bar.console.print(f"{text}, {progress.done / progress.cost:.0%}, about {left:.0f} s left")

    return on_progress
