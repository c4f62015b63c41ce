"""A headless Chromium, and pages to open in it; skipped with one line where there is none."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.report import BROWSER, write_runs
from collapse_lab.report.page import report

FRAME = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install collapse-lab[browser]")
    if shutil.which(BROWSER) is None:
        pytest.skip(f"no {BROWSER}: apt-get install chromium")
    with playwright.sync_playwright() as browsers:
        opened = browsers.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two arms of three seeds, six sites, four steps, with rows and maps kept."""
    return write_runs(tmp_path_factory.mktemp("report") / "runs", sites=6, steps=4)


@pytest.fixture(scope="session")
def page_file(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    def pictures(folders: list[Path], wanted: list[int]) -> dict[int, np.ndarray]:
        return {image: np.full((3, 20, 20), image % 255, dtype=np.uint8) for image in wanted}

    return report([runs], out=tmp_path_factory.mktemp("page") / "page.html", pictures=pictures)


@dataclass
class Visit:
    """An open page, and everything that it should not do."""

    tab: Any
    faults: list[str] = field(default_factory=list)

    def frame(self) -> None:
        self.tab.evaluate(FRAME)

    def see(self, selector: str) -> None:
        """Scroll there, and let it be drawn."""
        self.tab.evaluate("(selector) => document.querySelector(selector).scrollIntoView()", selector)
        self.frame()
        self.tab.wait_for_timeout(50)

    def picture(self, selector: str) -> str:
        """What a canvas shows, as text."""
        self.frame()
        return str(self.tab.evaluate("(selector) => document.querySelector(selector).toDataURL()", selector))


@pytest.fixture
def visit(browser: Any) -> Iterator[Any]:
    """visit(file, width=..., dark=..., script=...) -> Visit; the test fails if the page did what it should not."""
    visits: list[Visit] = []
    contexts: list[Any] = []

    def opened(file: Path, *, width: int = 1280, dark: bool = False, script: bool = True) -> Visit:
        context = browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme="dark" if dark else "light",
            java_script_enabled=script,
            permissions=["clipboard-read", "clipboard-write"],
            accept_downloads=True,
        )
        contexts.append(context)
        tab = context.new_page()
        own = Visit(tab)
        visits.append(own)
        tab.on("dialog", lambda dialog: (own.faults.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        tab.on("pageerror", lambda error: own.faults.append(f"error: {error}"))
        tab.on("console", lambda line: own.faults.append(f"console: {line.text}") if line.type == "error" else None)
        tab.on(
            "request", lambda asked: own.faults.append(f"request: {asked.url}") if _outside(asked.url, file) else None
        )
        tab.goto(file.as_uri())
        if script:
            tab.wait_for_selector("#ready", state="attached")
            own.frame()
        return own

    yield opened
    faults = [fault for own in visits for fault in own.faults]
    for context in contexts:
        context.close()
    assert faults == []


def _outside(url: str, file: Path) -> bool:
    return not url.startswith((file.as_uri(), "data:", "blob:"))
