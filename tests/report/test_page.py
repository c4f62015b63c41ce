"""The page: words from the numbers, nothing from outside, names as text."""

from __future__ import annotations

import json
import math
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from collapse_lab.findings.compare import PROBE, SUMMARY, Comparison, compare
from collapse_lab.report import words
from collapse_lab.report.page import render, report
from collapse_lab.report.sources import arms_of, read_sources

HOSTILE = "<script>alert('x')</script> {{ 7 * 7 }} $x_2$ \u202e & \"q\""


@pytest.fixture(scope="module")
def runs(study_runs: Path) -> Path:
    return study_runs


@pytest.fixture(scope="module")
def comparison(runs: Path) -> Comparison:
    arms, factors = arms_of(read_sources([runs]))
    return compare(arms, baseline="plain", factors=factors)


class _Tags(HTMLParser):
    """Every tag and attribute of a page, and whether what opens closes."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def _parsed(page: str) -> _Tags:
    tags = _Tags()
    tags.feed(page)
    return tags


def test_the_page_loads_nothing_and_runs_nothing(runs, tmp_path):
    page = report([runs], out=tmp_path / "page.html", baseline="plain").read_text()
    tags = _parsed(page)
    assert not [tag for tag, _ in tags.found if tag in ("script", "iframe", "link", "object", "img")]
    for tag, attributes in tags.found:
        for name in ("src", "href", "xlink:href", "action"):
            assert (attributes.get(name) or "#").startswith("#"), (tag, attributes)
    assert not re.search(r"url\((?!#)", page)
    assert "default-src 'none'" in page


def test_the_page_has_words_charts_tables_and_provenance(runs, tmp_path):
    page = report([runs], out=tmp_path / "page.html", baseline="plain", title="Mine").read_text()
    assert "mathdefault" not in page
    assert page.count("<svg") == 8 + 9 + 2, (
        "depth, training with the loss, and the spectrum of a block and an activation"
    )
    text = " ".join(_parsed(page).text)
    for expected in (
        "Mine",
        "Blocks with GRN use",
        "of 64 dimensions",
        "stages.2.blocks.2.act",
        "model.response",
        "fingerprint",
    ):
        assert expected in text


def test_names_are_text_whatever_they_hold(runs):
    sources = [
        source.__class__(**{**vars(source), "arm": HOSTILE if source.arm == "GRN" else source.arm})
        for source in read_sources([runs])
    ]
    tables = {arm: [s.metrics for s in sources if s.arm == arm] for arm in ("plain", HOSTILE)}
    page = render(sources, compare(tables, baseline="plain"), HOSTILE)
    tags = _parsed(page)
    assert "script" not in [tag for tag, _ in tags.found]
    assert HOSTILE in "".join(tags.text)
    assert "49" not in re.findall(r"<h1>(.*?)</h1>", page)[0]


def test_one_arm_alone_is_said_to_have_nothing_to_compare_with(runs, tmp_path):
    one = next(path.parent for path in runs.glob("*/run.json"))
    text = report([one], out=tmp_path / "page.html").read_text()
    assert "there is nothing to compare it with" in text


def test_a_comparison_of_bare_tables_makes_a_page_without_charts(runs):
    sources = read_sources([runs])
    tables = {arm: [s.metrics for s in sources if s.arm == arm] for arm in ("plain", "GRN")}
    page = render([], compare(tables, baseline="plain"), "t")
    assert "<svg" not in page
    assert "GRN - plain" in page


def test_the_same_runs_make_the_same_page(runs, tmp_path):
    first, second = (report([runs], out=tmp_path / name, baseline="plain") for name in ("a.html", "b.html"))
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("missing", ["nowhere", "."])
def test_a_folder_without_runs_is_refused_with_what_makes_one(tmp_path, missing):
    with pytest.raises(FileNotFoundError, match="collapse-lab train"):
        report([tmp_path / missing], out=tmp_path / "page.html")


def test_the_words_follow_the_numbers(comparison):
    told = " ".join(words.sentences(comparison))
    row = comparison.row("GRN on", "effective_rank")
    assert f"Blocks with GRN use {words.marked(row)} of {row.channels} dimensions" in told
    probe = comparison.table[(comparison.table.metric == PROBE) & (comparison.table.kind == "arm")]
    assert len(probe) == 2
    assert "Linear probe accuracy" in told


def _changed(comparison: Comparison, **values: object) -> Comparison:
    table = comparison.table.copy()
    chosen = (table.contrast == "GRN") & (table.metric == "effective_rank") & (table.site == SUMMARY)
    for name, value in values.items():
        table.loc[chosen, name] = value
    return Comparison(
        table=table, metrics=comparison.metrics, baseline="plain", factors=comparison.factors, step="last"
    )


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"called": True, "p_holm": 0.0123}, "called, adjusted p = 0.012"),
        ({"called": False, "smallest": 3.25}, "not called; the smallest difference that could have been is 3.25"),
        ({"n_seeds": 2}, "not enough seeds to say"),
        ({"corrected": 0.0, "low": 0.0, "high": 0.0, "called": False}, "no difference at all"),
        ({"smallest": math.nan, "called": False}, "no interval, so nothing can be called"),
    ],
)
def test_a_difference_is_called_only_when_it_is(comparison, values, said):
    told = " ".join(words.sentences(_changed(comparison, **values)))
    assert said in told.split("GRN changes the effective rank")[1].split(").")[0]


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (25.04, "", "25.0"),
        (0.1234, "", "0.12"),
        (0.00123, "", "0.0012"),
        (0.5, "share", "50.0 %"),
        (0.0, "", "0"),
        (math.nan, "", "no value"),
    ],
)
def test_numbers_are_said_in_two_or_three_digits(value, unit, text):
    assert words.number(value, unit) == text


def test_an_interval_names_its_unit_once():
    assert (
        words.interval(pd.Series({"corrected": 0.25, "low": 0.2, "high": 0.3}), "share of channels")
        == "25.0 % [20.0, 30.0]"
    )


def test_runs_that_differ_in_their_seed_only_are_one_arm(runs, tmp_path):
    for run in sorted(runs.glob("grn-seed*")):
        copy = shutil.copytree(run, tmp_path / run.name)
        record = json.loads((copy / "run.json").read_text())
        del record["arm"], record["factors"]
        (copy / "run.json").write_text(json.dumps(record))
    arms, factors = arms_of(read_sources([tmp_path]))
    assert {arm: len(own) for arm, own in arms.items()} == {"grn-seed0": 3}
    assert factors is None


def test_a_comparison_of_every_step_makes_the_page_of_the_last(runs):
    sources = read_sources([runs])
    tables = {arm: [s.metrics for s in sources if s.arm == arm] for arm in ("plain", "GRN")}
    every, last = (render([], compare(tables, baseline="plain", at=at), "t") for at in ("all", "last"))
    assert every == last


def test_dimensions_of_unequal_widths_are_said_not_to_be_called(runs):
    sources = read_sources([runs])
    tables = {arm: [s.metrics for s in sources if s.arm == arm] for arm in ("plain", "GRN")}
    wide = [table.assign(channels=2 * table.channels) for table in tables["GRN"]]
    page = render([], compare({"plain": tables["plain"], "wide": wide}, baseline="plain"), "t")
    assert "cannot be called: dimensions of layers of different widths (wide 128" in page


def test_an_arm_without_a_value_is_said_to_have_none_and_why(runs, tmp_path):
    sources = read_sources([runs])
    tables = {arm: [s.metrics for s in sources if s.arm == arm] for arm in ("plain", "GRN")}
    broken = [
        table.assign(value=math.nan, status="degenerate", replicates=None, group_sizes=None) for table in tables["GRN"]
    ]
    page = render([], compare({"plain": tables["plain"], "dead": broken}, baseline="plain"), "t")
    assert "dead: no value (degenerate) of 64 dimensions" in page
    assert "cannot be called: a layer behind it is degenerate" in page
