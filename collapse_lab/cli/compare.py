"""collapse-lab compare"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from collapse_lab.cli import output

if TYPE_CHECKING:
    import pandas as pd

    from collapse_lab.findings.compare import Comparison
    from collapse_lab.findings.places import Align

COLUMNS = (
    *("contrast", "metric", "value", "corrected", "low", "high", "effect", "p_holm", "called"),
    *("n_seeds", "n_images", "paired", "status"),
)


def compare(
    runs: Annotated[list[Path], typer.Argument(help="Run folders; each belongs to the arm that its run.json names.")],
    baseline: Annotated[str | None, typer.Option(help="The arm to compare with; the first without it.")] = None,
    at: Annotated[str, typer.Option(help="A step, last, or all for every step that all runs have.")] = "last",
    align: Annotated[
        str, typer.Option(help="site, or depth: sites of like kind at like relative depth, for unequal networks.")
    ] = "site",
    paired: Annotated[
        bool | None, typer.Option("--paired/--not-paired", help="Insist on equal seeds and images, or never pair.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write the whole comparison there, as parquet.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """What differs between arms, and whether enough seeds stand behind it."""
    comparison = compare_runs(runs, baseline, at, align, paired)
    if out:
        from collapse_lab.findings.table import write_table

        write_table(comparison.table, out)
    if json:
        output.print_json("comparison", baseline=comparison.baseline, rows=output.records(comparison.table))
    else:
        print_comparison(comparison)


def compare_runs(runs: Iterable[Path], baseline: str | None, at: str, align: str, paired: bool | None) -> Comparison:
    """Runs sorted into the arms that they belong to, and compared."""
    from collapse_lab.findings.compare import compare as compare_arms
    from collapse_lab.report.sources import arms_of, read_sources

    arms, factors = arms_of(read_sources(runs))
    first = baseline or next(iter(arms))
    return compare_arms(arms, baseline=first, factors=factors, at=at, align=cast("Align", align), paired=paired)


def print_comparison(comparison: Comparison) -> None:
    """The primary tests, one line each, with the same quantities at every earlier step that was compared.

    On a terminal a table a contrast, with bars over depth and steps, and what is found of each arm.
    """
    from collapse_lab.findings.compare import FEWEST_SEEDS, SUMMARY
    from collapse_lab.findings.contrast import COMPARED
    from collapse_lab.metrics._metric import HEADLINE

    table = comparison.table
    chosen = table.kind.isin(COMPARED) & (table.site == SUMMARY) & table.metric.isin(HEADLINE)
    rows = table[chosen].sort_values(["contrast", "metric", "step"])
    if output.on_terminal():
        _draw(comparison)
    else:
        columns = [*(["step"] if rows.step.nunique() > 1 else []), *COLUMNS, *(["widths"] if rows.widths.any() else [])]
        output.print_table("", columns, rows[columns].itertuples(index=False))
    if rows.empty:
        output.human().print("There is one arm alone: nothing to compare it with.")
    elif rows.n_seeds.min() < FEWEST_SEEDS:
        output.human().print(f"Of arms with fewer than {FEWEST_SEEDS} seeds no difference is called.")


def _draw(comparison: Comparison) -> None:
    """Tables on stdout, then in words what differs and what is found."""
    from collapse_lab.report import words
    from collapse_lab.report.sources import sources_of
    from collapse_lab.report.terminal import differences
    from collapse_lab.report.verdict import lines_of

    columns = ("metric", "difference [95 %]", "depth", "steps", "verdict")
    for contrast, rows in differences(comparison):
        first = rows.iloc[0]
        paired = "paired" if first.paired else "not paired"
        title = f"{contrast}\nlast third of depth, step {first.step}, {first.n_seeds} seeds, {paired}"
        output.draw_table(title, columns, [_cells(row) for _, row in rows.iterrows()])
    console = output.human()
    for sentence in words.sentences(comparison):
        console.print(sentence, markup=False)
    for line in lines_of(sources_of(comparison)):
        console.print(line, markup=False)


def _cells(row: pd.Series[Any]) -> tuple[Any, ...]:
    from collapse_lab.metrics._metric import METRICS
    from collapse_lab.report.words import interval, number, verdict

    unit, told = METRICS[row.metric].unit, verdict(row)
    if told.startswith("not called"):
        told = f"not called; from {number(row.smallest, unit)} on it would be"
    return row.metric, interval(row, unit), row.over_depth, row.over_steps, told
