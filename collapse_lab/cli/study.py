"""collapse-lab study, collapse-lab demo"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from collapse_lab.cli import output

if TYPE_CHECKING:
    from collapse_lab.findings.compare import Comparison

At = Annotated[int, typer.Option("--at-once", min=1, help="Runs at a time, at most; they share the cores.")]
Cores = Annotated[int | None, typer.Option(min=1, help="Threads of all runs together; those of this process.")]
Memory = Annotated[str | None, typer.Option(help="Of all runs together, estimated, such as 8GB.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def study(
    file: Annotated[Path, typer.Argument(help="A TOML file: arms, seeds, when and where to look; or a name, as demo.")],
    out: Annotated[Path | None, typer.Option(help="Where page, table and records are written; reports/NAME.")] = None,
    runs: Annotated[Path | None, typer.Option(help="Where the runs lie; runs/NAME.")] = None,
    at_once: At = 2,
    cores: Cores = None,
    memory_limit: Memory = None,
    json: Json = False,
) -> None:
    """Train, measure and compare the arms of a study; write a page, its table and the runs' records.

    A run that is there is used, whatever study it was made for: studies that share --runs share the runs. A second call
    goes on where the first stopped. Exit code 1 where a run failed; the others are compared all the same.
    """
    _carry_out(file, "study", out, runs, at_once, cores, memory_limit, json)


def demo(
    out: Annotated[Path, typer.Option(help="Where page, table and records are written.")] = Path("reports/demo"),
    runs: Annotated[Path, typer.Option(help="Where the runs lie.")] = Path("runs/demo"),
    at_once: At = 2,
    json: Json = False,
) -> None:
    """The example study: `collapse-lab study demo`."""
    _carry_out(Path("demo"), "demo", out, runs, at_once, None, None, json)


def _carry_out(
    file: Path,
    kind: str,
    out: Path | None,
    runs: Path | None,
    at_once: int,
    cores: int | None,
    memory_limit: str | None,
    json: bool,
) -> None:
    from collapse_lab.capture.budget import read_size
    from collapse_lab.cli.board import board
    from collapse_lab.study.plan import read_study
    from collapse_lab.study.publish import publish
    from collapse_lab.study.run import FailedRunsWarning, run_study

    asked = read_study(file)
    with board() as shown, warnings.catch_warnings():
        warnings.simplefilter("ignore", FailedRunsWarning)  # the board lists them
        comparison = run_study(
            asked,
            runs or Path("runs", asked.name),
            at_once=at_once,
            cores=cores,
            memory_limit=None if memory_limit is None else read_size(memory_limit),
            on_progress=shown,
        )
    output.human().print("writing the page ...")
    page = publish(comparison, out or Path("reports", asked.name), title=asked.title)
    _say(comparison, kind, page, shown.failed, json)
    if shown.failed:
        raise typer.Exit(1)


def _say(comparison: Comparison, kind: str, page: Path, failed: dict[str, str], json: bool) -> None:
    from collapse_lab.cli.compare import print_comparison

    if json:
        primary = comparison.table[comparison.table.primary]
        output.print_json(kind, page=page, failed=failed, rows=output.records(primary))
        return
    print_comparison(comparison)
    if failed:
        seeds = {arm: len(paths) for arm, paths in comparison.folders.items()}
        told = ", ".join(f"{arm} {count}" for arm, count in seeds.items())
        output.human().print(f"{len(failed)} runs failed; compared are the runs that there are: {told}.", markup=False)
    print(page)
