"""collapse-lab study, collapse-lab demo"""

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
DEMO = Path(__file__).parents[1] / "study" / "demo.toml"


At = Annotated[int, typer.Option("--at-once", min=1, help="Runs at a time, which share the cores.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def study(
    file: Annotated[Path, typer.Argument(help="A TOML file: arms, seeds, when and where to look.")],
    out: Annotated[Path | None, typer.Option(help="Where page, table and records are written; reports/NAME.")] = None,
    runs: Annotated[Path | None, typer.Option(help="Where the runs lie; runs/NAME.")] = None,
    at_once: At = 2,
    json: Json = False,
) -> None:
    """Train, measure and compare the arms of a study; write a page, its table and the runs' records.

    A second call reuses what is done.
    """
    _carry_out(file, "study", out, runs, at_once, json)


def demo(
    out: Annotated[Path, typer.Option(help="Where page, table and records are written.")] = Path("reports/demo"),
    runs: Annotated[Path, typer.Option(help="Where the runs lie.")] = Path("runs/demo"),
    at_once: At = 2,
    json: Json = False,
) -> None:
    """The example study: trains, measures, compares and writes a page. A second call reuses what is done."""
    _carry_out(DEMO, "demo", out, runs, at_once, json)


def _carry_out(file: Path, kind: str, out: Path | None, runs: Path | None, at_once: int, json: bool) -> None:
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    from collapse_lab.cli.compare import print_comparison
    from collapse_lab.study.plan import read_study
    from collapse_lab.study.publish import publish
    from collapse_lab.study.run import run_study

    asked = read_study(file)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=output.human()) as bar:
        comparison = run_study(asked, runs or Path("runs", asked.name), at_once=at_once, on_progress=_shown(bar))
        bar.console.print("writing the page ...")
    page = publish(comparison, out or Path("reports", asked.name), title=asked.title)
    if json:
        output.print_json(kind, page=page, rows=output.records(comparison.table[comparison.table.primary]))
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
