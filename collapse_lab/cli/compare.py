"""collapse-lab compare"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from collapse_lab.cli import output

if TYPE_CHECKING:
    from collapse_lab.findings.compare import Comparison

COLUMNS = ("contrast", "metric", "value", "low", "high", "p_holm", "called", "n_seeds", "n_images", "paired", "status")


def compare(
    runs: Annotated[list[Path], typer.Argument(help="Run folders; each belongs to the arm that its run.json names.")],
    baseline: Annotated[str | None, typer.Option(help="The arm to compare with; the first without it.")] = None,
    at: Annotated[str, typer.Option(help="A step, or last.")] = "last",
    out: Annotated[Path | None, typer.Option(help="Write the whole comparison there, as parquet.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """What differs between arms, and whether enough seeds stand behind it."""
    comparison = compare_runs(runs, baseline, at)
    if out:
        from collapse_lab.findings.table import write_table

        write_table(comparison.table, out)
    if json:
        output.print_json("comparison", baseline=comparison.baseline, rows=output.records(comparison.table))
    else:
        print_comparison(comparison)


def compare_runs(runs: Iterable[Path], baseline: str | None, at: str = "last") -> Comparison:
    """Runs sorted into the arms that they belong to, and compared."""
    from collapse_lab.findings.compare import compare as compare_arms
    from collapse_lab.report.sources import arms_of, read_sources

    arms, factors = arms_of(read_sources(runs))
    if at != "last" and not at.isdigit():
        raise ValueError(f"--at takes a step or 'last', got {at!r}")
    return compare_arms(
        arms, baseline=baseline or next(iter(arms)), factors=factors, at=at if at == "last" else int(at)
    )


def print_comparison(comparison: Comparison) -> None:
    """The primary tests, one line each."""
    table = comparison.table
    rows = table[table.primary].sort_values(["contrast", "metric"])
    title = f"Last third of depth, step {comparison.step}, 95 % intervals over seeds and images"
    output.print_table(title, COLUMNS, rows[list(COLUMNS)].itertuples(index=False))
