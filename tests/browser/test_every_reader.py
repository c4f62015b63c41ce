"""Any names, any width, light and dark, and the rules of accessibility."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from collapse_lab.findings.compare import compare
from collapse_lab.report.page import render
from collapse_lab.report.sources import read_sources
from collapse_lab.runs import Run

pytestmark = pytest.mark.browser

VENDOR = Path(__file__).parent / "vendor"
HOSTILE = {
    "markup": "<script>alert('x')</script><img src=x onerror=alert(1)>",
    "the end of the script": "</script></title></style><svg onload=alert(1)>",
    "quotes and templates": "\"'` {{ 7 * 7 }} {% raw %} ${alert(1)} javascript:alert(1)",
    "turning letters": "\u202eabc\u202d \u05e9\u05dc\u05d5\u05dd \u200f",
    "very long": "layer" * 2000,
    "emoji": "\U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f642",
}


def hostile_page(runs: Path, folder: Path, name: str) -> Path:
    """The runs under this name: one arm, a site and all run folders."""
    sources = []
    for place, each in enumerate(read_sources([runs])):
        arm = name if each.arm == "plain" else each.arm
        sites = {site: name if site == "blocks.5" else site for site in each.metrics.site.unique()}
        tables = {
            part: getattr(each, part).assign(site=getattr(each, part).site.map(sites)) for part in ("metrics", "series")
        }
        run = Run(Path(f"{place} {name[:200]}".replace("/", "\u2215")))
        sources.append(
            replace(each, arm=arm, run=run, metrics=tables["metrics"].assign(arm=arm), series=tables["series"])
        )
    arms = {arm: [each.metrics for each in sources if each.arm == arm] for arm in dict.fromkeys(s.arm for s in sources)}
    file = folder / "page.html"
    file.write_text(render(sources, compare(arms, baseline=name), name), encoding="utf-8")
    return file


def walked(own: Any) -> None:
    """Everything drawn, opened and hovered."""
    for section in ("#depth", "#training", "#spectra", "#channels", "#layer-content"):
        own.see(section)
    own.tab.evaluate("document.querySelectorAll('details').forEach((each) => (each.open = true))")
    own.frame()
    own.tab.locator("#heatmaps .cells >> nth=0").hover(position={"x": 10, "y": 10})
    own.tab.locator("#depth-charts .large").focus()
    own.tab.keyboard.press("ArrowLeft")
    own.tab.keyboard.press("Enter")
    own.frame()


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_name_stays_text_asks_for_nothing_and_widens_nothing(visit, runs, tmp_path, kind):
    own = visit(hostile_page(runs, tmp_path, HOSTILE[kind]), width=900)
    walked(own)
    box = own.tab.locator("[role=combobox]")
    box.fill(HOSTILE[kind][:6])
    box.press("Enter")
    assert own.tab.locator("main script, main img, svg[onload]").count() == 0
    assert HOSTILE[kind][:40] in own.tab.locator("h1").text_content()
    assert own.tab.evaluate("document.documentElement.scrollWidth") <= 900


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [360, 900, 1600])
def test_the_page_fits_and_breaks_no_rule_of_accessibility(visit, page_file, width, dark):
    own = visit(page_file, width=width, dark=dark)
    walked(own)
    assert own.tab.evaluate("document.documentElement.scrollWidth") <= width
    own.tab.evaluate((VENDOR / "axe.min.js").read_text("utf-8"))
    found = own.tab.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    serious = [each for each in found["violations"] if each["impact"] in ("serious", "critical")]
    assert [(each["id"], [node["html"][:200] for node in each["nodes"]][:3]) for each in serious] == []


def test_axe_is_the_file_that_was_vendored():
    listed = dict(line.split()[::-1] for line in (VENDOR / "axe.sha256").read_text().splitlines())
    for name, wanted in listed.items():
        assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == wanted
