"""Tiles: every pixel where it belongs, in its colour; text never in the way."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from collapse_lab.report.tiles import GAP, LABEL, LINE, MARGIN, tiles, write_png


def flat(*colours: tuple[float, float, float], side: int = 32) -> np.ndarray:
    """One image of each colour."""
    return np.ones((len(colours), 3, side, side)) * np.array(colours)[:, :, None, None]


def box(page: Image.Image, colour: tuple[float, float, float]) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of what has exactly this colour, and nothing else may lie between."""
    found = (np.asarray(page) == np.uint8(np.round(np.array(colour) * 255))).all(axis=2)
    rows, columns = found.any(axis=1).nonzero()[0], found.any(axis=0).nonzero()[0]
    left, top, right, bottom = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    assert found[top:bottom, left:right].all()
    return int(left), int(top), int(right), int(bottom)


RED, GREEN, BLUE, CYAN = (1.0, 0, 0), (0, 1.0, 0), (0, 0, 1.0), (0, 1.0, 1.0)


@pytest.mark.parametrize(("side", "shown"), [(8, 224), (32, 224), (64, 256), (96, 192), (224, 224), (500, 500)])
def test_tiles_are_scaled_by_whole_numbers_and_stand_in_line(side, shown):
    columns = {"one": flat(RED, GREEN, side=side), "other": flat(BLUE, CYAN, side=side)}
    page = tiles(columns, rows=[["a"], ["b"]], caption=["text"])
    boxes = {colour: box(page, colour) for colour in (RED, GREEN, BLUE, CYAN)}
    assert all((right - left, bottom - top) == (shown, shown) for left, top, right, bottom in boxes.values())
    assert boxes[RED][0] == boxes[GREEN][0] < boxes[BLUE][0] == boxes[CYAN][0]
    assert boxes[RED][1] == boxes[BLUE][1] < boxes[GREEN][1] == boxes[CYAN][1]
    assert boxes[BLUE][0] - boxes[RED][2] == boxes[GREEN][1] - boxes[RED][3] == GAP


def test_pixels_are_repeated_never_smoothed():
    values = np.random.default_rng(0).random((1, 3, 16, 16))
    page = np.asarray(tiles({"one": values}, rows=[[]], caption=[]))
    shown = page[MARGIN + 30 :, MARGIN:][: 16 * 14, : 16 * 14]
    assert np.array_equal(shown, np.uint8(np.round(values[0] * 255)).transpose(1, 2, 0).repeat(14, 0).repeat(14, 1))


def test_values_outside_are_clipped_and_nan_is_black():
    values = np.full((1, 3, 32, 32), np.nan)
    values[:, 0] = 7.0
    values[:, 1] = -np.inf
    assert box(tiles({"one": values}, rows=[[]], caption=[]), RED)


def test_five_channels_show_three_and_two_show_the_first_as_grey():
    many = np.concatenate([flat(RED), np.full((1, 2, 32, 32), 0.5)], axis=1)
    assert box(tiles({"one": many}, rows=[[]], caption=[]), RED)
    two = np.concatenate([np.full((1, 1, 32, 32), 0.25), np.ones((1, 1, 32, 32))], axis=1)
    assert box(tiles({"one": two}, rows=[[]], caption=[]), (0.25, 0.25, 0.25))


def test_long_text_stays_beside_and_below_the_tiles():
    columns, name, words = {"one": flat(RED)}, "x" * 500, "many words " * 60
    page = tiles(columns, rows=[[name, "error"]], caption=[words])
    left, _, right, bottom = box(page, RED)
    assert left <= MARGIN + LABEL + 2 * GAP
    assert right == page.width - MARGIN
    assert page.height > bottom + 5 * LINE  # the caption takes lines, not width
    ink = (np.asarray(page) < 255).any(axis=2)
    assert not ink[:, -MARGIN:].any()
    assert not ink[-MARGIN:].any()


def test_flat_tiles_leave_room_for_the_lines_beside_them():
    wide = np.zeros((2, 3, 4, 400))
    page = tiles({"one": wide}, rows=[["a", "b", "c"], ["d"]], caption=[])
    assert page.height > 2 * MARGIN + 3 * LINE + GAP


def test_columns_of_different_shapes_are_refused():
    with pytest.raises(ValueError, match="columns of one shape"):
        tiles({"one": flat(RED), "other": flat(RED, BLUE)}, rows=[[]], caption=[])
    with pytest.raises(ValueError, match="for 2 rows"):
        tiles({"one": flat(RED)}, rows=[[], []], caption=[])


def test_a_picture_is_written_whole_with_its_description(tmp_path):
    page = tiles({"one": flat(RED)}, rows=[[]], caption=[])
    path = write_png(page, tmp_path / "new" / "a.png", "deviation σ")
    with Image.open(path) as read:
        assert read.text["Description"] == "deviation σ"
        assert np.array_equal(np.asarray(read), np.asarray(page))
    with pytest.raises(ValueError, match="give a name that ends in"):
        write_png(page, tmp_path / "a.jpg", "")
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="cannot write"):
        write_png(page, tmp_path / "file" / "a.png", "")
