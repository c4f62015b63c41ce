"""What the cost of a page is measured on."""

from __future__ import annotations

import pytest

from benchmarks.report import ARMS, SEEDS, TARGETS, built, write_runs
from collapse_lab.report.sources import read_sources
from collapse_lab.report.verdict import findings_of


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return write_runs(tmp_path_factory.mktemp("runs"), sites=4, steps=3)


def test_the_runs_are_whole_and_collapse_where_they_are_meant_to(runs):
    sources = read_sources([runs])
    assert [source.arm for source in sources] == [arm for arm in ARMS for _ in range(SEEDS)]
    assert all(source.run.captures() and source.log and len(source.series) for source in sources)
    for source, own in zip(sources, findings_of(sources), strict=True):
        collapsed = {each.site for each in own if each.kind == "complete_collapse"}
        assert collapsed == ({"blocks.3"} if source.arm == ARMS[1] else set())
        assert {each.onset for each in own if each.kind == "complete_collapse"} <= {50}


def test_the_page_that_is_timed_is_a_page(runs):
    page, seconds = built(runs, 1)
    assert page.startswith("<!doctype html>")
    assert set(seconds) == {"read", "compare", "build"}
    assert all(each > 0 for each in seconds.values())
    assert {"drawn_seconds", "scroll_seconds", "toggle_ms", "hover_ms", "heap_mb"} <= set(TARGETS)
