"""Charts that move together: one cursor and one zoom through depth, one over steps, and the heatmaps in both."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.browser

LARGE = "#depth-charts .large canvas"
SMALL = "#depth-charts .grid .plot canvas"


CURSORS = """() => [...document.querySelectorAll("#depth-charts .u-cursor-x")].map((line) => line.style.transform)"""


def test_one_cursor_and_one_zoom_for_all_charts_through_depth(visit, page_file):
    own = visit(page_file)
    own.see("#depth")
    plot = own.tab.locator("#depth-charts .large")
    plot.focus()
    before = own.tab.evaluate(CURSORS)
    plot.press("ArrowRight")
    plot.press("ArrowRight")
    after = own.tab.evaluate(CURSORS)
    assert len(after) > 3
    assert all(a != b for a, b in zip(before, after, strict=True))
    assert "blocks.1" in own.tab.inner_text("#depth-charts .large .tip")
    shown = own.picture(SMALL)
    plot.press("+")
    assert own.picture(SMALL) != shown
    plot.press("0")
    assert own.picture(SMALL) == shown


def test_dragging_zooms_all_and_a_double_click_shows_all_again(visit, page_file):
    own = visit(page_file)
    own.see("#depth")
    shown = [own.picture(LARGE), own.picture(SMALL)]
    box = own.tab.locator("#depth-charts .large .u-over").bounding_box()
    own.tab.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + 50)
    own.tab.mouse.down()
    own.tab.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 60, steps=5)
    own.tab.mouse.up()
    zoomed = [own.picture(LARGE), own.picture(SMALL)]
    assert all(a != b for a, b in zip(shown, zoomed, strict=True))
    own.tab.mouse.dblclick(box["x"] + 0.5 * box["width"], box["y"] + 50)
    own.tab.mouse.move(5, 5)
    assert [own.picture(LARGE), own.picture(SMALL)] == shown


CELLS = "#heatmaps .cells"


def line_at(own, axis: str) -> float:
    """How far along its axis the line of the first heatmap lies, as a share; -1 where none is seen."""
    return own.tab.evaluate(
        """(axis) => {
            const line = document.querySelector(`#heatmaps .line.${axis}`);
            if (!line.checkVisibility()) return -1;
            const own = line.getBoundingClientRect();
            const cells = document.querySelector("#heatmaps .cells").getBoundingClientRect();
            return axis === "x" ? (own.x - cells.x) / cells.width : (own.y - cells.y) / cells.height;
        }""",
        axis,
    )


def size(own) -> list[int]:
    """Columns and rows that the first heatmap shows."""
    return own.tab.evaluate("(cells) => ['width', 'height'].map((side) => document.querySelector(cells)[side])", CELLS)


def test_a_heatmap_marks_the_step_and_the_site_under_the_cursor_of_the_curves(visit, page_file):
    own = visit(page_file)
    own.see("#training")
    assert [line_at(own, axis) for axis in "xy"] == [-1, -1]
    curve = own.tab.locator("#training-charts .grid .lines >> nth=1")
    curve.focus()
    curve.press("ArrowRight")
    curve.press("ArrowRight")
    assert line_at(own, "x") == pytest.approx(1.5 / 4, abs=0.01), "the second of four steps"
    assert line_at(own, "y") == -1
    depth = own.tab.locator("#depth-charts .large")
    depth.focus()
    assert line_at(own, "x") == -1, "a curve that is left has no cursor"
    depth.press("ArrowLeft")
    assert line_at(own, "y") == pytest.approx(5.5 / 6, abs=0.01), "the last of six sites"


def test_the_heatmaps_of_the_other_arms_mark_the_cell_that_is_read_in_one(visit, page_file):
    own = visit(page_file)
    own.see("#training")
    other = own.tab.locator(f"{CELLS} >> nth=1")
    other.focus()
    for _ in range(3):
        other.press("ArrowDown")
    assert [line_at(own, axis) for axis in "xy"] == pytest.approx([0.5 / 4, 2.5 / 6], abs=0.01)
    assert own.tab.locator("#heatmaps .line:visible").count() == 2


def test_a_heatmap_shows_the_steps_and_sites_that_the_curves_are_zoomed_to(visit, page_file):
    own = visit(page_file)
    own.see("#training")
    assert size(own) == [4, 6]
    whole = own.picture(CELLS)
    own.tab.locator("#training-charts .grid .lines >> nth=1").press("+")
    assert size(own) == [2, 6], "0 to 150 by quarters: 50 and 100 are left"
    assert own.tab.locator("#heatmaps .axis >> nth=0 >> span").all_inner_texts() == ["50", "100"]
    own.see("#depth")
    own.tab.locator("#depth-charts .large").press("+")
    assert size(own) == [2, 2]
    own.see("#training")
    assert own.tab.locator("#heatmaps .rows >> nth=0 >> span").all_inner_texts() == ["2", "3"]
    own.tab.select_option("#training-charts select", "stable_rank")
    own.tab.wait_for_function("document.querySelector('#heatmaps .title').textContent.startsWith('stable rank')")
    assert size(own) == [2, 2], "another metric keeps the zoom"
    own.tab.select_option("#training-charts select", "effective_rank")
    cells = own.tab.locator(f"{CELLS} >> nth=0")
    cells.focus()
    cells.press("ArrowDown")
    tip = own.tab.inner_text("#heatmaps .tip >> nth=0")
    assert "blocks.2" in tip
    assert "step 50:" in tip
    own.tab.locator("#training-charts .grid .lines >> nth=1").press("0")
    own.tab.locator("#depth-charts .large").press("0")
    assert size(own) == [4, 6]
    own.see("#training")
    assert own.picture(CELLS) == whole


def test_the_zoom_of_all_charts_is_undone_from_a_heatmap(visit, page_file):
    own = visit(page_file)
    own.see("#depth")
    shown = own.picture(SMALL)
    own.tab.locator("#depth-charts .large").press("+")
    assert own.picture(SMALL) != shown
    own.see("#training")
    assert size(own) == [4, 2]
    own.tab.locator(f"{CELLS} >> nth=0").press("0")
    assert size(own) == [4, 6]
    own.see("#depth")
    own.tab.locator("#depth-charts .large").focus()
    own.tab.locator("#theme").focus()
    assert own.picture(SMALL) == shown
