"""What a page is made of: the runs' tables, logs and records, read once."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from collapse_lab.findings.compare import SCORES, Comparison
from collapse_lab.findings.contrast import Factors
from collapse_lab.findings.table import COLUMNS, read_table
from collapse_lab.runs import Run, read_lines

SHOWN = (
    *("step", "site", "positions", "depth", "channels", "metric", "value", "corrected", "low", "high"),
    *("status", "reason", "n_images", "n_effective"),
)
"""Columns of a table that a page shows; leaving the others out makes every cut of it several times as fast."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """One run: its record, its tidy table, its series (singular values, variances) and its log."""

    run: Run
    arm: str
    seed: int
    record: dict[str, Any]
    metrics: pd.DataFrame
    series: pd.DataFrame
    log: list[dict[str, Any]]

    @cached_property
    def layers(self) -> pd.DataFrame:
        """The rows about sites, neither those of the last map nor scores of probes, in the columns that are shown."""
        shown = self.metrics[[name for name in SHOWN if name in self.metrics]]
        return shown[(shown.site != "") & ~shown.metric.isin(SCORES)] if len(shown) else shown

    @cached_property
    def last(self) -> pd.DataFrame:
        """Those of the last step."""
        rows: pd.DataFrame = self.layers[self.layers.step == self.layers.step.max()]
        return rows


def read_sources(paths: Iterable[Path | str]) -> list[Source]:
    """The runs in these folders; a folder that only holds runs stands for all of them.

    A run without a capture has an empty table. Raises FileNotFoundError for a folder without runs.
    """
    sources = _named([_read(Run(path)) for given in paths for path in _runs_in(Path(given))])
    if not sources:
        raise FileNotFoundError("no run was given; name one or more run folders")
    return sources


def sources_of(comparison: Comparison) -> list[Source]:
    """The runs behind a comparison, in its arms: what they are called there, whatever their records say.

    Of a run that was measured at more sites than were compared, or later, the rest is left out.
    """
    return [
        _as_compared(source, arm, comparison)
        for arm, paths in comparison.folders.items()
        for source in (read_sources(paths) if paths else [])
    ]


def arms_of(sources: Sequence[Source]) -> tuple[dict[str, list[Path]], Factors | None]:
    """Arm -> folders of measured runs, in the order of the runs, and the factors where all combinations are there."""
    arms: dict[str, list[Path]] = {}
    factors: dict[str, dict[str, bool]] = {}
    for source in [source for source in sources if len(source.metrics)]:
        arms.setdefault(source.arm, []).append(source.run.path)
        if source.record.get("factors"):
            factors[source.arm] = source.record["factors"]
    names = {name for levels in factors.values() for name in levels}
    return arms, (factors if names and len(factors) == 2 ** len(names) else None)


def _as_compared(source: Source, arm: str, comparison: Comparison) -> Source:
    compared = comparison.metrics[comparison.metrics.arm == arm]
    depth = dict(zip(compared.site, compared.depth, strict=True))
    last = compared.step.max()

    def part(table: pd.DataFrame) -> pd.DataFrame:
        return table if table.empty else table[table.site.isin(depth) & (table.step <= last)]

    metrics = part(source.metrics)
    metrics = metrics.assign(arm=arm, depth=metrics.site.map(depth))
    return replace(source, arm=arm, metrics=metrics, series=part(source.series))


def _named(sources: list[Source]) -> list[Source]:
    """Runs that no study gave an arm: those that differ in their seed only are one, called after the first."""
    first: dict[str, str] = {}
    named = []
    for source in sources:
        if "arm" not in source.record:
            settings = {**source.record["config"], "seed": None, "data of": source.record["data"]["fingerprint"]}
            arm = first.setdefault(json.dumps(settings, sort_keys=True, default=str), source.arm)
            source = replace(source, arm=arm)
        named.append(source)
    return named


def _runs_in(path: Path) -> Iterator[Path]:
    if Run(path).exists():
        yield path
        return
    inside = sorted(record.parent for record in path.glob("*/run.json"))
    if not inside:
        raise FileNotFoundError(f"{path} is not a run folder and holds none (make one with 'collapse-lab train')")
    yield from inside


def _read(run: Run) -> Source:
    record = run.read()
    series = read_table(run.series) if run.series.is_file() else pd.DataFrame()
    return Source(
        run=run,
        arm=record.get("arm", run.name),
        seed=record["seed"],
        record=record,
        metrics=read_table(run.metrics) if run.metrics.is_file() else pd.DataFrame(columns=list(COLUMNS)),
        series=series,
        log=read_lines(run.log),
    )
