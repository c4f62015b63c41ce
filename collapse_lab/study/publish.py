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


def publish(comparison: Comparison, out: Path, *, title: str) -> Path:
    """Write index.html, metrics.parquet and run.json of a comparison of run folders into `out`; returns the page.

    The table has every row of every run, so that `cl.compare` makes the same comparison from it again. run.json is a
    list, for each run its record, its arm and the numbers it logged last. Raises FileNotFoundError for a comparison
    that was made from tables alone.
    """
    if not comparison.runs:
        raise FileNotFoundError("this comparison was made from tables alone; give compare(...) run folders")
    sources = sources_of(comparison)
    page = out / "index.html"
    write_text(page, render(sources, comparison, title, pictures=pictures_of))
    write_table(pd.concat([source.metrics for source in sources], ignore_index=True), out / "metrics.parquet")
    write_json(out / "run.json", {"title": title, "runs": [_record(source) for source in sources]})
    return page


def _record(source: Source) -> dict[str, object]:
    return {**source.record, "run": source.run.name, "arm": source.arm, "logged_last": source.log[-1:]}
