"""What a reader does with the page, in a browser."""

from __future__ import annotations

import csv

import pytest

pytestmark = pytest.mark.browser

LARGE = "#depth-charts .large canvas"
SMALL = "#depth-charts .grid .plot canvas"


AT_LAYER = """() => {
    const { top } = document.querySelector("#layer").getBoundingClientRect();
    return document.activeElement.id === "layer-title" && top >= 0 && top < 200;
}"""


def drawn(own, holds):
    """Charts are drawn in the frames that follow a click: within two seconds it must hold."""
    for _ in range(20):
        if holds():
            return
        own.tab.wait_for_timeout(100)
    raise AssertionError("the charts did not come to what they should show")


def test_an_arm_is_hidden_and_shown_in_every_chart(visit, page_file):
    own = visit(page_file)
    own.see("#depth")
    before = [own.picture(each) for each in (LARGE, SMALL)]
    own.tab.click(".arms button >> nth=1")
    assert own.tab.get_attribute(".arms button >> nth=1", "aria-pressed") == "false"
    drawn(own, lambda: all(own.picture(each) != was for each, was in zip((LARGE, SMALL), before, strict=True)))
    own.see("#heatmaps")
    own.tab.wait_for_function("document.querySelectorAll('#heatmaps .chart').length === 1")
    own.tab.click(".arms button >> nth=1")
    own.see("#depth")
    drawn(own, lambda: [own.picture(each) for each in (LARGE, SMALL)] == before)


def test_any_metric_is_drawn_through_depth_on_a_linear_or_logarithmic_axis(visit, page_file):
    own = visit(page_file)
    own.see("#depth")
    for metric in ("participation_ratio", "rankme", "dims_90"):
        before = own.picture(LARGE)
        own.tab.select_option("#metric", metric)
        assert own.tab.inner_text("#depth-charts .chart >> nth=0 >> .title") == metric.replace("_", " ")
        assert own.picture(LARGE) != before
    own.tab.select_option("#metric", "effective_rank")
    for control in ("log axis", "null lines"):
        before = own.picture(LARGE)
        own.tab.click(f"#depth-charts label:has-text('{control}')")
        assert own.picture(LARGE) != before


def test_a_metric_and_a_site_are_found_by_a_part_of_their_name(visit, page_file):
    own = visit(page_file)
    box = own.tab.locator("[role=combobox]")
    box.fill("particip")
    assert "participation ratio" in own.tab.inner_text("[role=listbox]")
    box.press("Enter")
    assert own.tab.input_value("#metric") == "participation_ratio"
    box.fill("blocks.3")
    box.press("ArrowDown")
    box.press("ArrowUp")
    box.press("Enter")
    own.see("#layer")
    assert own.tab.inner_text("#layer-name").startswith("blocks.3")
    box.fill("no such thing")
    assert "Nothing is called so" in own.tab.inner_text("[role=listbox]")
    box.press("Escape")
    assert not own.tab.is_visible("[role=listbox]")


def test_a_point_of_a_chart_opens_its_layer(visit, page_file):
    own = visit(page_file)
    own.see("#depth")
    box = own.tab.locator("#depth-charts .large .u-over").bounding_box()
    own.tab.mouse.click(box["x"] + 0.02 * box["width"] + 8, box["y"] + 40)
    own.tab.wait_for_function(AT_LAYER)
    assert own.tab.inner_text("#layer-name").startswith("blocks.0")
    plot = own.tab.locator("#depth-charts .large")
    plot.focus()
    plot.press("ArrowLeft")
    plot.press("Enter")
    own.tab.wait_for_function(AT_LAYER)
    own.frame()
    assert own.tab.inner_text("#layer-name").startswith("blocks.5")
    own.tab.click("#layer button:has-text('Back to the chart')")
    assert plot.evaluate("(plot) => plot === document.activeElement")


def test_a_heatmap_reads_its_cells_by_pointer_and_keys_and_opens_a_layer(visit, page_file):
    own = visit(page_file)
    own.see("#training")
    cells = own.tab.locator("#heatmaps .cells >> nth=0")
    cells.hover(position={"x": 10, "y": 10})
    tip = own.tab.inner_text("#heatmaps .tip >> nth=0")
    assert "blocks.0" in tip
    assert "step 0:" in tip
    cells.focus()
    for _ in range(3):
        cells.press("ArrowDown")
    cells.press("ArrowRight")
    tip = own.tab.inner_text("#heatmaps .tip >> nth=0")
    assert "blocks.3" in tip
    assert "step 50:" in tip
    cells.press("Enter")
    own.see("#layer")
    assert own.tab.inner_text("#layer-name").startswith("blocks.3")
    own.tab.select_option("#training-charts select", "stable_rank")
    own.see("#training")
    assert "stable rank" in own.tab.inner_text("#heatmaps .title >> nth=0")


def test_the_spectrum_of_any_step_and_site_is_drawn(visit, page_file):
    own = visit(page_file)
    own.see("#spectra")
    slider = own.tab.locator("#spectrum-step")
    assert own.tab.inner_text("#spectra-charts output") == "step 150"
    slider.focus()
    slider.press("Home")
    assert own.tab.inner_text("#spectra-charts output") == "step 0"
    chart = "#spectra-charts canvas"
    for act in (
        lambda: own.tab.select_option("#spectra-charts select", label="blocks.1"),
        lambda: own.tab.click("#spectra-charts label:has-text('over the largest')"),
        lambda: own.tab.click("#spectra-charts label:has-text('log directions')"),
    ):
        before = own.picture(chart)
        act()
        assert own.picture(chart) != before
    assert own.tab.inner_text("#spectra-charts .title") == "blocks.1"


def test_channels_are_counted_and_their_correlations_read(visit, page_file):
    own = visit(page_file)
    own.see("#channels")
    assert "of 128" in own.tab.inner_text("#channels-charts .pair table")
    own.see("#correlations")
    assert own.tab.locator("#correlations .chart").count() == 2
    cells = own.tab.locator("#correlations .cells >> nth=0")
    cells.focus()
    cells.press("ArrowRight")
    assert "1.00" in own.tab.inner_text("#correlations .tip >> nth=0")


def test_a_layer_shows_findings_metrics_maps_and_the_images_that_dominate(visit, page_file):
    own = visit(page_file)
    own.see("#layer")
    own.tab.select_option("#layer-charts select", label="blocks.5")
    own.see("#layer-content")
    content = own.tab.inner_text("#layer-content")
    assert "complete collapse in with the change, 3 of 3 seeds since step 100" in content
    assert "Rests on variance share" in content
    assert own.tab.locator("#layer-content .mosaic canvas").count() == 4
    image = own.tab.locator("#layer-content .images img >> nth=0")
    assert image.evaluate("(image) => image.naturalWidth") == 20
    own.tab.click("#layer-content .pager button:has-text('Next')")
    assert "31–60 of" in own.tab.inner_text("#layer-content .pager >> nth=0")


def test_every_table_is_copied_as_csv(visit, page_file):
    own = visit(page_file)
    tables = own.tab.locator(".table")
    assert tables.count() == own.tab.locator(".table .copy").count() > 6
    own.tab.click("[data-name=summary] .copy")
    own.tab.wait_for_selector("[data-name=summary] .copy:has-text('Copied')")
    copied = own.tab.evaluate("navigator.clipboard.readText()")
    head, first = list(csv.reader(copied.splitlines()))[:2]
    assert head[:4] == ["metric", "plain", "plain, low", "plain, high"]
    assert first[0] == "effective_rank"
    value, low, high = map(float, first[1:4])
    assert low <= value <= high


def test_every_chart_has_a_table_behind_it_and_is_a_picture_file(visit, page_file, tmp_path):
    own = visit(page_file)
    for section in ("#depth", "#training", "#spectra", "#channels", "#layer-content", "#correlations"):
        own.see(section)
    charts = own.tab.locator("figure.chart")
    assert charts.count() > 20
    for place in range(charts.count()):
        chart = charts.nth(place)
        chart.scroll_into_view_if_needed()
        chart.locator("summary").click()
        chart.locator("table").wait_for()
        assert chart.locator("tbody tr").count() >= 1
        with own.tab.expect_download() as told:
            chart.locator("button:has-text('PNG')").click()
        file = tmp_path / f"{place}.png"
        told.value.save_as(file)
        assert file.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_all_sites_are_paged_the_worst_first(visit, page_file):
    own = visit(page_file)
    own.tab.click("#all-sites summary")
    rows = own.tab.locator("#all-sites tbody tr")
    rows.nth(5).wait_for()  # drawn when it is opened
    assert rows.count() == 6
    assert "complete collapse" in rows.nth(0).inner_text()


def test_light_and_dark_turn_everything_that_is_drawn(visit, page_file):
    own = visit(page_file)
    own.see("#depth")
    light = own.picture(LARGE)
    own.tab.click("#theme")
    assert own.tab.evaluate("document.documentElement.dataset.theme") == "dark"
    own.see("#depth")
    drawn(own, lambda: own.picture(LARGE) != light)
    own.tab.click("#theme")
    own.see("#depth")
    drawn(own, lambda: own.picture(LARGE) == light)


def test_everything_that_can_be_used_can_be_reached_by_keys(visit, page_file):
    own = visit(page_file)
    for section in ("#depth", "#training", "#spectra", "#channels", "#layer-content"):
        own.see(section)
    own.tab.evaluate("scrollTo(0, 0); document.activeElement.blur()")
    wanted = own.tab.evaluate(
        """() => [...document.querySelectorAll("button, select, input, summary, .lines, .cells, .scroll")]
            .filter((each) => each.checkVisibility() && !each.disabled).length"""
    )
    reached = own.tab.evaluate(
        """() => [...document.querySelectorAll("button, select, input, summary, .lines, .cells, .scroll")]
            .filter((each) => each.checkVisibility() && !each.disabled && each.tabIndex >= 0).length"""
    )
    assert wanted == reached > 60
    own.tab.keyboard.press("Tab")
    assert own.tab.evaluate("document.activeElement.textContent") == "Skip to the verdict"


def test_paper_shows_all_charts_and_tables_and_no_controls(visit, page_file):
    own = visit(page_file)
    own.tab.evaluate("dispatchEvent(new Event('beforeprint'))")
    own.tab.emulate_media(media="print")
    assert not own.tab.is_visible("#bar")
    drawn = own.tab.locator(".plot canvas").count()
    assert drawn > 20
    assert own.tab.pdf(path=None)[:4] == b"%PDF"


def test_verdict_and_tables_are_readable_without_the_script(visit, page_file):
    own = visit(page_file, script=False)
    text = own.tab.inner_text("body")
    assert "complete collapse" in text
    assert "are drawn by its own script, which is not running" in text
    assert own.tab.is_visible("[data-name=summary] table")
    assert not own.tab.is_visible("#bar")
    for place in ("#depth-charts", "#spectra", "#layer"):
        assert own.tab.locator(place).is_hidden(), place
    own.tab.click("#training summary")
    assert own.tab.is_visible("[data-name=rank-by-step] table")
