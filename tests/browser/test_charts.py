"""What a chart tells at its cursor, and when it has nothing to show."""

from __future__ import annotations

import shutil

import pytest

from collapse_lab.report.page import report

pytestmark = pytest.mark.browser

CURSOR = """() => {
    const line = document.querySelector("#depth-charts .large .u-cursor-x").getBoundingClientRect();
    const plot = document.querySelector("#depth-charts .large .u-over").getBoundingClientRect();
    return (line.x - plot.x) / plot.width;
}"""


def test_the_cursor_stands_at_the_site_that_is_told_and_the_zoom_keeps_it(visit, page_file):
    own = visit(page_file)
    own.see("#depth")
    plot = own.tab.locator("#depth-charts .large")
    box = plot.locator(".u-over").bounding_box()
    of_six = [(place + 0.3) / 5.6 for place in range(6)]  # six sites, with air of 0.3 at both ends
    own.tab.mouse.move(box["x"] + (of_six[2] + 0.06) * box["width"], box["y"] + 50)
    assert "blocks.2" in plot.locator(".tip").inner_text()
    assert own.tab.evaluate(CURSOR) == pytest.approx(of_six[2], abs=0.005)
    own.tab.mouse.move(5, 5)
    plot.focus()
    for key in ("ArrowRight", "ArrowRight", "+", "+"):
        plot.press(key)
    assert "blocks.1" in plot.locator(".tip").inner_text()
    assert 0 < own.tab.evaluate(CURSOR) < 1
    tip, line = plot.locator(".tip").bounding_box(), plot.locator(".u-cursor-x").bounding_box()
    assert min(abs(tip["x"] - line["x"]), abs(tip["x"] + tip["width"] - line["x"])) < 15, "the tooltip is beside it"


def test_a_chart_that_shows_nothing_says_why(visit, page_file):
    own = visit(page_file)
    own.see("#depth")
    buttons = own.tab.locator("#bar .arms button")
    for place in range(buttons.count()):
        buttons.nth(place).dispatch_event("click")
    own.frame()
    large = own.tab.locator("#depth-charts .large")
    assert "switched off" in large.inner_text()
    assert large.locator("canvas").count() == 0
    buttons.nth(0).dispatch_event("click")
    own.frame()
    assert not large.locator(".empty").is_visible()
    assert large.locator("canvas").count() == 1


def test_the_loss_of_a_run_without_a_capture_is_drawn(visit, runs, tmp_path):
    bare = tmp_path / "bare"
    shutil.copytree(runs / "run-0", bare, ignore=shutil.ignore_patterns("captures", "*.parquet"))
    own = visit(report([bare], out=tmp_path / "page.html"))
    own.see("#training")
    assert own.tab.inner_text("#training-charts .title") == "loss"
    assert own.tab.locator("#training-charts canvas").count() == 1
