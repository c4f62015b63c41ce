"""What is kept of a study when its runs are gone: the page, the tidy table and the records of its runs."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from collapse_lab.findings.compare import Comparison
from collapse_lab.findings.table import write_table
from collapse_lab.report.page import render
from collapse_lab.report.sources import Source, sources_of
from collapse_lab.runs import write_json, write_text
from collapse_lab.study.pictures import pictures_of

HEAVY = ("replicates", "group_sizes")
"""Columns that only a comparison needs: nine tenths of the file."""


def publish(comparison: Comparison, out: Path, *, title: str) -> Path:
    """Write index.html, metrics.parquet and run.json of a comparison of run folders into `out`; returns the page.

    The table has every row of every run, without leave-one-out values: intervals stay, comparisons cannot be made from
    it again. run.json is a list, for each run its record, its arm and the numbers it logged last. Raises
    FileNotFoundError for a comparison that was made from tables alone.
    """
    if not comparison.runs:
        raise FileNotFoundError("this comparison was made from tables alone; give compare(...) run folders")
    sources = sources_of(comparison)
    page = out / "index.html"
    write_text(page, render(sources, comparison, title, pictures=pictures_of))
    tables = [source.metrics.drop(columns=[name for name in HEAVY if name in source.metrics]) for source in sources]
    write_table(pd.concat(tables, ignore_index=True), out / "metrics.parquet")
    write_json(out / "run.json", {"title": title, "runs": [_record(source) for source in sources]})
    return page


def _record(source: Source) -> dict[str, object]:
    return {**source.record, "run": source.run.name, "arm": source.arm, "logged_last": source.log[-1:]}
