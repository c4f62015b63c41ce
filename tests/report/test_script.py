"""The page's own script: what it is made of, and its modules by themselves, in node."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from collapse_lab.report import assets

HERE = Path(__file__).parent


@pytest.mark.skipif(
    shutil.which("node") is None, reason="the modules of the page are tested by node, and there is none"
)
def test_the_modules_of_the_page_hold_what_they_say():
    found = subprocess.run(
        ["node", "--test", *sorted(map(str, (HERE / "script").glob("*.test.mjs")))],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert found.returncode == 0, found.stdout[-4000:]


def test_uplot_is_the_file_that_was_vendored_with_its_licence():
    listed = dict(line.split()[::-1] for line in (assets.FOLDER / "uPlot.sha256").read_text().splitlines())
    assert set(listed) == {"uPlot.iife.min.js", "uPlot.min.css", "uPlot.LICENSE"}
    for name, wanted in listed.items():
        assert hashlib.sha256((assets.FOLDER / name).read_bytes()).hexdigest() == wanted
    assert "1.6.32" in (assets.FOLDER / "uPlot.iife.min.js").read_text()[:200]
    assert "MIT" in (assets.FOLDER / "uPlot.LICENSE").read_text()


def test_every_module_is_in_the_script_and_imports_from_those_before_it_only():
    assert {path.stem for path in assets.FOLDER.glob("*.mjs")} == set(assets.MODULES)
    for place, name in enumerate(assets.MODULES):
        text = (assets.FOLDER / f"{name}.mjs").read_text()
        before = set(assets.MODULES[:place])
        assert {other for _, other in assets.IMPORT.findall(text)} <= before, name
        for names, other in assets.IMPORT.findall(text):
            exported = {found for _, found in assets.EXPORT.findall((assets.FOLDER / f"{other}.mjs").read_text())}
            assert set(re.findall(r"\w+", names)) <= exported, (name, other)


def test_nothing_of_the_modules_makes_markup_or_code_out_of_text():
    own = "\n".join((assets.FOLDER / f"{name}.mjs").read_text() for name in assets.MODULES)
    forbidden = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|\bfetch\b|XMLHttpRequest"
    assert not re.search(forbidden, own)
    script = assets.script()
    assert "import {" not in script
    assert "\nexport " not in script
    assert "</script" not in script
    assert "</style" not in assets.style()
    assert not re.search(r"url\((?!#)|@import", assets.style())
