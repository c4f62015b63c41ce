"""Four arms in a browser: what two factors change, and arms of equal values."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from collapse_lab.findings.compare import compare
from collapse_lab.report.page import render
from collapse_lab.report.sources import Source, read_sources

pytestmark = pytest.mark.browser

CHART = "#effects-charts .large canvas"
BUTTON = "#effects-charts .arms button"


def toggled(own, buttons: str, place: int) -> None:
    """Press a button at once: a click of the mouse is told of in a later frame than the one after it."""
    own.tab.dispatch_event(f"{buttons} >> nth={place}", "click")


@pytest.fixture(scope="module")
def factorial_page(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs, and the same once more with a second factor on: that one has no effect."""
    found = read_sources([runs])
    again = [replace(each, arm=f"{each.arm}, scaled") for each in found]
    sources: list[Source] = [*found, *again]
    tables = {
        arm: [each.metrics for each in sources if each.arm == arm] for arm in dict.fromkeys(s.arm for s in sources)
    }
    factors = {arm: {"change": arm.startswith("with"), "scale": arm.endswith("scaled")} for arm in tables}
    file = tmp_path_factory.mktemp("factorial") / "page.html"
    file.write_text(render(sources, compare(tables, baseline="plain", factors=factors), "t"), encoding="utf-8")
    return file


def test_effects_are_drawn_through_depth_beside_no_difference(visit, factorial_page):
    own = visit(factorial_page)
    own.see("#effects")
    told = [own.tab.inner_text(f"{BUTTON} >> nth={place}") for place in range(3)]
    assert told == ["change", "scale", "change x scale"]
    pressed = [each.get_attribute("aria-pressed") for each in own.tab.locator(BUTTON).all()]
    assert pressed == ["true"] * 3 + ["false"] * 3, "differences wait until they are asked for"
    before = own.picture(CHART)
    toggled(own, BUTTON, 0)
    assert own.picture(CHART) != before
    toggled(own, BUTTON, 0)
    assert own.picture(CHART) == before
    own.tab.click("#effects-charts summary")
    columns = own.tab.locator("#effects-charts th[scope=col]").all_inner_texts()
    assert columns == ["site", "change", "scale", "change x scale", "no difference"]
    cells = own.tab.locator("#effects-charts tbody tr >> nth=5").locator("th, td").all_inner_texts()
    assert cells[0] == "blocks.5"
    assert "[" in cells[1], "an effect has its interval"
    values = [float(cell.split(" [")[0]) for cell in cells[2:]]
    assert values == pytest.approx([0, 0, 0], abs=1e-9), "the second factor has none"


def test_the_chart_of_effects_follows_the_search_the_cursor_and_the_zoom(visit, factorial_page):
    own = visit(factorial_page)
    own.see("#effects")
    before = own.picture(CHART)
    own.tab.locator("[role=combobox]").fill("stable")
    own.tab.locator("[role=combobox]").press("Enter")
    own.see("#effects")
    assert "stable rank" in own.tab.inner_text("#effects-charts .title")
    assert own.tab.input_value("#effects-charts select") == "stable_rank"
    assert own.picture(CHART) != before
    own.see("#depth")
    plot = own.tab.locator("#depth-charts .large")
    plot.focus()
    plot.press("+")
    own.see("#effects")
    zoomed = own.picture(CHART)
    chart = own.tab.locator("#effects-charts .large")
    chart.focus()
    chart.press("0")
    assert own.picture(CHART) != zoomed
    chart.press("ArrowLeft")
    assert "blocks.5" in own.tab.inner_text("#effects-charts .tip")
    chart.press("Enter")
    own.see("#layer")
    assert own.tab.inner_text("#layer-name").startswith("blocks.5")


def test_without_factors_the_differences_of_the_arms_are_drawn(visit, page_file, tmp_path):
    own = visit(page_file)
    own.see("#effects")
    assert own.tab.inner_text(BUTTON) == "with the change - plain"
    with own.tab.expect_download() as told:
        own.tab.click("#effects-charts button:has-text('PNG')")
    told.value.save_as(tmp_path / "effects.png")
    assert (tmp_path / "effects.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_arms_of_equal_values_are_both_seen_and_said_to_be_equal(visit, factorial_page):
    own = visit(factorial_page)
    own.see("#depth")
    large, note = "#depth-charts .large canvas", "#depth-charts .chart >> nth=0 >> .note"
    told = own.tab.inner_text(note)
    assert "plain, scaled equals plain at every site." in told
    assert "with the change, scaled equals with the change at every site." in told
    pictures = [own.picture(large)]
    for arm in (2, 0):  # the copy alone is hidden, then the arm under it alone
        toggled(own, "#bar .arms button", arm)
        pictures.append(own.picture(large))
        assert "plain, scaled" not in own.tab.inner_text(note)
        toggled(own, "#bar .arms button", arm)
    assert len(set(pictures)) == 3
    assert own.picture(large) == pictures[0]
