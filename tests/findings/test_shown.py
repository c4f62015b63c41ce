"""Results in a notebook cell: escaped, compact, without a colour of their own."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import nn

from collapse_lab.findings.against import against_nulls
from collapse_lab.findings.compare import Comparison, compare
from collapse_lab.findings.diagnose import diagnose
from collapse_lab.findings.table import analyze, capture
from collapse_lab.markup import MOST, table
from collapse_lab.report.sources import arms_of, read_sources
from collapse_lab.stats.accumulate import stats_of

HOSTILE = "<script>alert('x')</script> & \"q\""


class _Cells(HTMLParser):
    """The text of every row, and the tags."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data: str) -> None:
        if self.tags[-1] in ("td", "th"):
            self.rows[-1][-1] += data


@pytest.fixture(scope="module")
def collapsed():
    torch.manual_seed(0)
    return stats_of(torch.randn(200, 2) @ torch.randn(2, 24) + 0.001 * torch.randn(200, 24), layout="image channel")


@pytest.fixture(scope="module")
def comparison(study_runs: Path) -> Comparison:
    arms, factors = arms_of(read_sources([study_runs]))
    return compare(arms, baseline="plain", factors=factors)


@pytest.fixture(scope="module")
def captured():
    model = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU())
    return capture(model, [torch.rand(70, 3, 4, 4)], sites=["0", "1"], keep_rows=20, keep_maps=2)


def test_a_capture_shows_its_sites_with_channels_rows_and_what_was_kept(captured):
    head, *rows = _Cells(captured._repr_html_()).rows
    assert head == ["site", "shape", "channels", "rows", "kept rows", "kept maps", "bad values"]
    assert rows[0] == ["0", "8 x 4 x 4", "8", "sampled:8: 560, pooled: 70", "20", "2", "0"]


def test_a_table_shows_what_a_reader_looks_at_and_a_part_of_it_too(captured):
    whole = analyze(captured)
    assert isinstance(whole, pd.DataFrame)
    part = whole[(whole.metric == "effective_rank") & (whole.site == "1")]
    head, *rows = _Cells(part._repr_html_()).rows
    assert head[:4] == ["site", "positions", "metric", "value"]
    assert "replicates" not in head
    assert rows[0][3] == f"{part.value.iloc[0]:.4g}"
    assert "corrected" not in _Cells(part.assign(corrected=float("nan"))._repr_html_()).rows[0]
    head, *rows = _Cells(against_nulls(captured)._repr_html_()).rows
    assert head[:7] == ["site", "positions", "metric", "value", "null", "null_value", "share"]
    several = pd.concat([part.assign(step=1), part.assign(step=2)])
    assert _Cells(several._repr_html_()).rows[0][0] == "step"
    pivoted = whole.pivot_table(index="site", columns="metric", values="value")
    assert "<table" in pivoted._repr_html_(), "a frame of another form looks as any frame does"


def test_a_list_of_findings_shows_what_where_and_what_to_try(collapsed):
    found = diagnose(collapsed)
    assert found == list(found)
    shown = found._repr_html_()
    rows = _Cells(shown).rows
    assert [row[1] for row in rows[1:]] == [finding.kind for finding in found]
    assert rows[1][0] == "!"
    assert "Try: " in shown
    assert "rests on" in found[0]._repr_html_()
    assert [row[1] for row in _Cells(found[:1]._repr_html_()).rows[1:]] == [found[0].kind]
    assert repr(found[0]) == f"<! {found[0].kind}: the features {found[0].text}>"
    healthy = diagnose(stats_of(torch.randn(3000, 6), layout="image channel"))
    assert healthy == []
    assert "No finding" in healthy._repr_html_()


def test_a_comparison_shows_its_primary_tests_with_intervals_and_seeds(comparison):
    shown = comparison._repr_html_()
    rows = _Cells(shown).rows
    primary = comparison.table[comparison.table.primary]
    assert sorted(row[:2] for row in rows[1:]) == sorted([row.contrast, row.metric] for row in primary.itertuples())
    contrasts = [row[0] for row in rows[1:]]
    assert contrasts == sorted(contrasts, key=contrasts.index), "the tests of a contrast stand together"
    assert rows[1][2] == f"{primary.corrected.iloc[0]:.4g}"
    assert {row[7] for row in rows[1:]} == {"3"}
    assert "against plain, step 2" in shown


def test_a_comparison_of_two_seeds_says_that_they_are_too_few(study_runs):
    arms, _ = arms_of(read_sources([study_runs]))
    few = compare({arm: own[:2] for arm, own in arms.items()}, baseline="plain")
    assert {row[6] for row in _Cells(few._repr_html_()).rows[1:]} == {"no: too few seeds"}


def test_names_are_text_whatever_they_hold(captured, comparison):
    for shown in (
        analyze(captured).assign(site=HOSTILE)._repr_html_(),
        Comparison(**{**vars(comparison), "table": comparison.table.assign(contrast=HOSTILE)})._repr_html_(),
        table([HOSTILE], [[HOSTILE]], title=HOSTILE, note=HOSTILE),
    ):
        cells = _Cells(shown)
        assert "script" not in cells.tags
        assert any(HOSTILE in cell for row in cells.rows for cell in row)


def test_colours_are_the_notebooks_own(captured, comparison, collapsed):
    for result in (captured, analyze(captured), comparison, diagnose(collapsed)):
        assert set(re.findall(r"[;\"](color|background[\w-]*):", result._repr_html_())) == set()


def test_a_long_table_says_how_much_it_leaves_out():
    shown = table(["n"], [[n] for n in range(MOST + 7)])
    assert len(_Cells(shown).rows) == 1 + MOST
    assert "7 more rows" in shown
