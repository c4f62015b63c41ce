"""Names in any script: fonts of the machine where one has the letters, boxes and one warning where none has."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib.font_manager import fontManager

from collapse_lab.report.drawings.fonts import OWN, families
from collapse_lab.report.figures import figure
from collapse_lab.runs import read_json, write_json

STRANGE = "\u65e5\u672c"  # two letters of Japanese


def drawn_font(folder: Path, family: str, letters: str) -> Path:
    """A font in which a square stands for each of these letters."""
    pen = TTGlyphPen(None)
    for act, point in ((pen.moveTo, (0, 0)), (pen.lineTo, (0, 800)), (pen.lineTo, (800, 800)), (pen.lineTo, (800, 0))):
        act(point)
    pen.closePath()
    square, names = pen.glyph(), [".notdef", *(f"u{ord(letter):04X}" for letter in letters)]
    made = FontBuilder(1000, isTTF=True)
    made.setupGlyphOrder(names)
    made.setupCharacterMap({ord(letter): f"u{ord(letter):04X}" for letter in letters})
    made.setupGlyf(dict.fromkeys(names, square))
    made.setupHorizontalMetrics(dict.fromkeys(names, (1000, 0)))
    made.setupHorizontalHeader(ascent=800, descent=-200)
    made.setupNameTable({"familyName": family, "styleName": "Regular", "psName": family})
    made.setupOS2()
    made.setupPost()
    made.save(folder / f"{family}.ttf")
    return folder / f"{family}.ttf"


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """installed(family, letters): a font more on this machine; none of its own has Japanese letters."""
    known = [each for each in fontManager.ttflist if "matplotlib" in each.fname]
    monkeypatch.setattr(fontManager, "ttflist", known)

    def install(family: str, letters: str) -> None:
        fontManager.addfont(drawn_font(tmp_path, family, letters))

    return install


def named(study_runs: Path, folder: Path, arm: str) -> Path:
    """A run of the study under another name of its arm."""
    run = shutil.copytree(study_runs / "plain-seed0", folder / "run", ignore=shutil.ignore_patterns("captures"))
    write_json(run / "run.json", {**read_json(run / "run.json"), "arm": arm})
    return run


def test_letters_that_the_common_font_has_ask_for_no_other():
    assert families("stages.2.blocks.0 GRN \u03b1\u00e9\u0416") == [OWN]
    assert families("") == [OWN]


def test_the_font_with_most_of_the_missing_letters_comes_first_and_none_without_any(installed):
    installed("One Sans", STRANGE[0])
    installed("Both", STRANGE)
    installed("Other Sans", "\u0e01")
    assert families(f"a{STRANGE}") == [OWN, "Both"]
    assert families(f"{STRANGE}\u0e01") == [OWN, "Both", "Other Sans"]
    assert families(STRANGE[0]) == [OWN, "One Sans"], "of equal ones, one that looks like the common font"


def test_a_figure_with_a_name_in_such_letters_is_drawn_with_that_font(installed, study_runs, tmp_path):
    installed("Squares", STRANGE)
    run = named(study_runs, tmp_path, STRANGE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure("depth", run, out=tmp_path / "f.pdf")
    document = (tmp_path / "f.pdf").read_bytes()
    assert b"Squares" in document, "embedded"
    assert b"DejaVuSans" in document


def test_where_no_font_has_the_letters_one_warning_names_them(installed, study_runs, tmp_path):
    run = named(study_runs, tmp_path, f"{STRANGE} plain")
    with pytest.warns(UserWarning, match="no font on this machine has") as told:
        figure("depth", run, out=tmp_path / "f.svg")
    assert len(told) == 1
    assert repr("".join(sorted(STRANGE))) in str(told[0].message)
    assert (tmp_path / "f.svg").exists()


def test_marks_that_are_never_printed_ask_for_no_font():
    assert families("a\u202e\u200f\u2066b\n") == [OWN]
