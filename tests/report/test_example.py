"""The committed example: its page, made again from its table and records, says the same and carries the same numbers.

Spectra, feature maps and losses come from the folders of runs, which are not kept: they are held against a new demo.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from collapse_lab.findings.compare import SUMMARY, Comparison, compare
from collapse_lab.findings.table import read_table
from collapse_lab.report.page import render
from collapse_lab.report.sources import Source
from collapse_lab.runs import Run
from tests.report.markup import parsed, text_of

EXAMPLE = Path(__file__).parents[2] / "reports" / "example"
FROM_RUNS = {"series", "pictures"}
"""What the page carries that is neither in its table nor in its records; of a run also its losses."""


def kept_sources(folder: Path) -> tuple[list[Source], str]:
    """The runs that a published folder tells of, and its title."""
    document = json.loads((folder / "run.json").read_text())
    table = read_table(folder / "metrics.parquet")
    sources = [
        Source(
            run=Run(folder / "runs" / record["run"]),
            arm=record["arm"],
            seed=record["seed"],
            record=record,
            metrics=table[(table.arm == record["arm"]) & (table.seed == record["seed"])],
            series=pd.DataFrame(),
            log=record["logged_last"],
        )
        for record in document["runs"]
    ]
    return sources, document["title"]


def compared(sources: list[Source]) -> Comparison:
    arms: dict[str, list[pd.DataFrame]] = {}
    for source in sources:
        arms.setdefault(source.arm, []).append(source.metrics)
    levels = {source.arm: source.record["factors"] for source in sources if source.record.get("factors")}
    return compare(arms, baseline=sources[0].arm, factors=levels)


def carried(page: str) -> dict[str, Any]:
    """What the page's charts draw, but for what comes from runs."""
    document: dict[str, Any] = json.loads(parsed(page).inside["script"][0])
    runs = [{name: value for name, value in run.items() if "loss" not in name} for run in document["runs"]]
    return {name: value for name, value in document.items() if name not in FROM_RUNS} | {"runs": runs}


@pytest.fixture(scope="module")
def again() -> str:
    sources, title = kept_sources(EXAMPLE)
    return render(sources, compared(sources), title)


def test_the_page_of_the_example_says_what_its_table_and_records_say(again):
    assert text_of((EXAMPLE / "index.html").read_text()) == text_of(again)


def test_the_page_of_the_example_carries_the_numbers_of_its_table(again):
    kept, made = carried((EXAMPLE / "index.html").read_text()), carried(again)
    assert kept.keys() == made.keys()
    for name in kept:
        assert kept[name] == made[name], name


@pytest.mark.slow
def test_a_demo_run_again_comes_to_the_example(tmp_path):
    """Bits differ from one processor to the next: what training comes to is held to the example's intervals."""
    asked = ("demo", "--out", tmp_path / "made", "--runs", tmp_path / "runs")
    subprocess.run([sys.executable, "-m", "collapse_lab", *map(str, asked)], check=True, capture_output=True)
    made, kept = kept_sources(tmp_path / "made")[0], kept_sources(EXAMPLE)[0]
    assert asked_of(made) == asked_of(kept)
    assert headings(tmp_path / "made" / "index.html") == headings(EXAMPLE / "index.html")
    found = carried((tmp_path / "made" / "index.html").read_text())
    assert found["sites"] == carried((EXAMPLE / "index.html").read_text())["sites"]
    one, two = compared(made).last, compared(kept).last
    keys = ["contrast", "metric", "site"]
    both = one.merge(two, on=keys, suffixes=("", "_kept"))
    assert len(both) == len(one) == len(two)
    arms = both[(both.kind == "arm") & (both.site == SUMMARY)]
    assert arms.corrected.between(arms.low_kept, arms.high_kept).all()


def asked_of(sources: list[Source]) -> list[tuple[Any, ...]]:
    return [(each.run.name, each.arm, each.record["config"], each.record["data"]) for each in sources]


def headings(page: Path) -> list[str]:
    return re.findall(r"<h[1-4][^>]*>(.*?)</h[1-4]>", page.read_text())
