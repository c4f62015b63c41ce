"""collapse-lab analyze"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from collapse_lab.cli import gate, nulls, output

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from collapse_lab.findings.diagnose import Finding
    from collapse_lab.report.terminal import Course

ALWAYS = ("site", "positions", "metric", "value", "corrected", "low", "high", "status")


def analyze(
    path: Annotated[Path, typer.Argument(help="A run's folder, a capture's folder, or a metrics.parquet.")],
    metric: Annotated[list[str] | None, typer.Option("--metric", help="Show this one, repeatable.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every metric, not the headline ones alone.")] = False,
    null: Annotated[bool, typer.Option("--null", help="Also the headline metrics against their nulls.")] = False,
    untrained: Annotated[
        Path | None, typer.Option(help="A capture of the untrained network (capture RUN --step 0): also a null.")
    ] = None,
    thresholds: Annotated[Path | None, typer.Option(help="A TOML file of thresholds of your own.")] = None,
    fail_on: Annotated[
        list[str] | None, typer.Option(metavar="KIND[:SITES]", help="Exit with 5 if it is found, repeatable.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document (see analysis.schema.json).")] = False,
) -> None:
    """The metrics of the last step, and what they mean."""
    from collapse_lab.capture.store import load_capture
    from collapse_lab.findings.diagnose import diagnose, unjudged
    from collapse_lab.findings.table import checked
    from collapse_lab.metrics._metric import HEADLINE, METRICS

    table = checked(_table(path))
    for name in metric or []:
        if name not in set(table.metric):
            METRICS[name]  # an unknown name raises with the nearest one
            raise LookupError(f"{path} holds no {name}; it was made before, or of chosen metrics: analyse it anew")
    chosen = metric or (list(table.metric.unique()) if every else list(HEADLINE))
    last = table[table.step == table.step.max()]
    sites = list(last[last.channels > 0].site.unique())
    gates = gate.read_gates(fail_on or [], sites)
    last = last[last.metric.isin(chosen)]
    findings = diagnose(table, thresholds=thresholds)
    silent = unjudged(table)
    gate.check_judged(gates, silent)
    stopped = gate.failed(findings, gates)
    # Of a run `untrained` is no capture: its last one is of a trained network.
    twin = None if untrained is None else load_capture(untrained, groups=False)
    against = nulls.nulls_of(path, twin) if null or twin is not None else None
    before = nulls.found_of(twin, thresholds)
    if json:
        columns = [name for name in last.columns if name not in ("replicates", "group_sizes")]
        output.print_json(
            "analysis",
            step=table.step.max(),
            metrics=output.records(last[columns]),
            findings=[_finding(finding, before) for finding in findings],
            failed=[{"kind": finding.kind, "site": finding.site} for finding in stopped],
            **({} if against is None else {"nulls_of": against[0], "nulls": output.records(against[1])}),
        )
    else:
        title = f"{path}, step {table.step.max()}"
        if output.on_terminal():
            _draw(title, table, chosen)
        if metric or not output.on_terminal():
            output.print_table(title, ALWAYS, last[list(ALWAYS)].itertuples(index=False))
        if against is not None:
            nulls.print_nulls(*against)
        _print_findings(findings, before or set(), several=table.step.nunique() > 1)
        _print_unjudged(silent, sites)
    gate.close(stopped)


def _print_unjudged(silent: dict[str, list[str]], sites: Sequence[str]) -> None:
    everywhere = [kind for kind, where in silent.items() if set(where) == set(sites)]
    if everywhere:
        output.human().print(f"Not judged, for nothing they rest on has a value: {', '.join(everywhere)}")


def _draw(title: str, table: pd.DataFrame, metrics: Sequence[str]) -> None:
    """One table a kind of site: every metric's way through depth, and over the steps where there are several."""
    from itertools import groupby

    from collapse_lab.report.terminal import courses

    print(title)
    columns = ("metric", "depth", "last", "worst", "steps", "not ok")
    for about, own in groupby(courses(table, metrics), key=lambda course: course.about):
        output.draw_table(about, columns, [_cells(course) for course in own])
    output.human().print(
        "Bars over depth and steps run from a row's lowest value to its highest; '--metric NAME' lists every site."
    )


def _cells(course: Course) -> tuple[str, ...]:
    value, site = course.worst
    worst = f"{value:.3g} at {site}" if site else ""
    return course.metric, course.depth, _digits(course.last), worst, course.steps, course.status


def _digits(value: float) -> str:
    return f"{value:.3g}" if value == value else "–"


def _table(path: Path) -> pd.DataFrame:
    """The tidy table behind a path, made now from a capture, or the last one of a run, that has none."""
    from collapse_lab.capture.store import load_capture
    from collapse_lab.findings.table import analyze as analyze_capture
    from collapse_lab.findings.table import read_table

    if path.is_file():
        return read_table(path)
    found = None if (path / "metrics.parquet").is_file() else nulls.last_capture(path)
    if found is None:
        return read_table(path / "metrics.parquet")
    captured = load_capture(found, groups=False)
    with output.progress(len(captured), "sites measured") as on_site:
        return analyze_capture(captured, on_site=on_site)


def _finding(finding: Finding, before: set[tuple[str, str]] | None) -> dict[str, object]:
    from dataclasses import asdict

    from collapse_lab.findings.diagnose import EVIDENCE

    twin = {} if before is None else {"untrained_too": (finding.kind, finding.site) in before}
    return {**asdict(finding), "evidence": output.records(finding.evidence[list(EVIDENCE)]), **twin}


def _print_findings(findings: list[Finding], before: set[tuple[str, str]], *, several: bool) -> None:
    """What was found; of a run with `several` captures, since when, and what the untrained network has as well."""
    console = output.human()
    faults = [finding for finding in findings if finding.fault]
    console.print("No fault found." if not faults else f"{len(faults)} faults, the worst kind first:", markup=False)
    for finding in findings:
        mark = "!" if finding.fault else "·"
        since = f" (since {f'step {finding.onset}' if finding.onset else 'before training'})" if several else ""
        twin = " (the untrained network too)" if (finding.kind, finding.site) in before else ""
        text = f"{mark} {finding.kind}: {finding.site or 'the features'} {finding.text}{twin or since}"
        console.print(text, markup=False)
    for advice, source in dict.fromkeys((finding.advice, finding.source) for finding in faults):
        console.print(f"  try: {advice} ({source})", markup=False)
