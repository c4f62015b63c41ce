"""What an analysis leaves in its folder: a page, metrics.parquet and run.json."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.figure import Figure

import collapse_lab as cl
from analyses.command import Asked
from analyses.readings import Runs, record_of

LARGEST = 3_000_000
"""Bytes of a page, so that all of them can be kept beside the code."""


@dataclass(frozen=True, kw_only=True)
class Section:
    """A heading, a note on units and n, and a table, figures (each with what it shows), or both."""

    heading: str
    note: str = ""
    table: pd.DataFrame | None = None
    figures: Sequence[tuple[str, Figure]] = field(default=())


def write_report(asked: Asked, comparison: cl.Comparison, *, title: str, answer: str) -> None:
    """The page that `cl.report` makes of a comparison, with its table and record."""
    cl.report(comparison, out=asked.out / "index.html", title=title, pictures=cl.pictures_of)
    write_record(asked, comparison.metrics, comparison.folders, answer)


def write_page(
    asked: Asked, metrics: pd.DataFrame, runs: Runs, *, title: str, answer: str, sections: Sequence[Section]
) -> None:
    """A page of an analysis' own figures and tables: one file that loads nothing."""
    pages = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    text = pages.get_template("page.html").render(
        title=title,
        question=asked.question.partition("\nResult ")[0],  # the result is the page itself
        answer=answer,
        sections=list(map(_shown, sections)),
    )
    asked.out.mkdir(parents=True, exist_ok=True)
    (asked.out / "index.html").write_text(text, encoding="utf-8")
    write_record(asked, metrics, runs, answer)


def write_record(asked: Asked, metrics: pd.DataFrame, runs: Runs, answer: str) -> None:
    """metrics.parquet and run.json, and the answer on the screen.

    run.json says of each arm which runs it has, with configuration, data, versions and seconds.
    """
    metrics.to_parquet(asked.out / "metrics.parquet", index=False)
    facts = {
        "analysis": asked.name,
        "quick": asked.quick,
        "data": asked.data,
        "seeds": asked.seeds,
        "answer": answer,
        "arms": {arm: [_facts(run) for run in own] for arm, own in runs.items()},
    }
    (asked.out / "run.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    print(f"{asked.out / 'index.html'}\n{answer}")


def _facts(run: Path) -> dict[str, Any]:
    record = record_of(run)
    names = ("seed", "status", "step", "seconds", "device", "threads", "git", "versions", "data", "config")
    return {"run": run.name, **{name: record.get(name) for name in names}}


def _shown(section: Section) -> dict[str, Any]:
    table = section.table
    cells = [] if table is None else [[_cell(value) for value in row] for row in table.itertuples(index=False)]
    return {
        "heading": section.heading,
        "note": section.note,
        "columns": [] if table is None else list(table.columns),
        "rows": cells,
        "figures": [(caption, _png(figure)) for caption, figure in section.figures],
    }


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "–" if pd.isna(value) else f"{value:.3g}"
    return str(value)


def _png(figure: Figure) -> str:
    """The figure as the text of a data address."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return base64.b64encode(buffer.getvalue()).decode()
