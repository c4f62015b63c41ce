"""What the page costs: 40 sites x 6 runs (2 arms of 3 seeds) x 20 steps, built, and used in headless Chromium.

The features are those of a small convolutional network, captured once: 40 sites of 128 channels on 14 x 14 positions,
256 images, rows and maps kept. Every run and step has this capture's table with its values moved, some sites collapsing
on the way. Built is from the runs' tables, logs and captures to the text of the page, the verdict included; reading the
tables and comparing the arms is told apart. Times in the browser end when the frame after has begun.
"""

from __future__ import annotations

import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from benchmarks.claims import Claim, main
from collapse_lab.capture.store import Capture
from collapse_lab.findings.compare import compare
from collapse_lab.findings.table import analyze, capture, series_table, write_table
from collapse_lab.report.page import render
from collapse_lab.report.sources import arms_of, read_sources
from collapse_lab.runs import Run, environment, write_json

SITES, SEEDS, STEPS, CHANNELS, IMAGES, SIDE = 40, 3, 20, 128, 256, 14
EVERY, COLOURS = 50, 32
ARMS = ("plain", "with the change")
LAYOUT = "image channel height width"
BROWSER = "/usr/bin/chromium"


class Tower(nn.Module):
    """Convolutional blocks of one width, as many as there are sites."""

    def __init__(self, sites: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(COLOURS, CHANNELS, 1, bias=False)
        self.blocks = nn.ModuleList(nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, groups=8) for _ in range(sites))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = x + torch.tanh(block(x))
        return x


def captured(sites: int) -> Capture:
    """The capture that all runs share."""
    torch.manual_seed(0)
    tints = 2 * torch.randn(IMAGES, COLOURS, 1, 1)  # so that pooled features differ between images, as they should
    batch = {"image": tints + torch.randn(IMAGES, COLOURS, SIDE, SIDE), "id": torch.arange(IMAGES)}
    names = [f"blocks.{place}" for place in range(sites)]
    return capture(Tower(sites).eval(), [batch], sites=names, layout=LAYOUT, keep_rows=256, keep_maps=2)


def write_runs(folder: Path, sites: int = SITES, steps: int = STEPS) -> Path:
    """Folders of 6 runs, whole but for their checkpoints."""
    shared = captured(sites)
    table, series = analyze(shared), series_table(shared)
    for place, (arm, seed) in enumerate((arm, seed) for arm in ARMS for seed in range(SEEDS)):
        run = Run(folder / f"run-{place}")
        origin = {"run": run.name, "arm": arm, "seed": seed}
        moved = [_moved(table, place, step, steps).assign(step=step * EVERY, **origin) for step in range(steps)]
        write_table(pd.concat(moved, ignore_index=True), run.metrics)
        curves = [series.assign(step=step * EVERY, **origin) for step in range(steps)]
        write_table(pd.concat(curves, ignore_index=True), run.series)
        shared.save(run.capture((steps - 1) * EVERY))
        write_json(run.path / "run.json", _record(arm, seed, steps))
        lines = [json.dumps({"step": step, "loss": 2 / (1 + step / 200) + 0.1 * place}) for step in range(0, 1000, 10)]
        run.log.write_text("\n".join(lines), encoding="utf-8")
    return folder


def _record(arm: str, seed: int, steps: int) -> dict[str, Any]:
    data = {"name": "noise", "images": IMAGES, "fingerprint": "0" * 16}
    config = {"model": {"name": "tower", "response": arm}, "data": {"size": SIDE}}
    reached = {"status": "finished", "step": steps * EVERY, "steps": steps * EVERY}
    return {"arm": arm, "seed": seed, "config": config, "data": data, **reached, **environment()}


def _moved(table: pd.DataFrame, place: int, step: int, steps: int) -> pd.DataFrame:
    """The table as another run and step might have it; the fourth part of the second arm's sites collapses half-way."""
    random = np.random.default_rng([place, step])
    scale = 1 + 0.3 * np.tanh(step / 5) * table.depth.to_numpy() + 0.02 * random.standard_normal(len(table))
    values = {name: table[name] * scale for name in ("value", "corrected", "low", "high")}
    if place >= SEEDS and step >= steps // 2:
        gone = (table.metric == "variance_share") & (table.depth > 0.75)
        values = {name: column.where(~gone, column * 1e-4) for name, column in values.items()}
    return table.assign(**values)


def built(folder: Path, rounds: int) -> tuple[str, dict[str, float]]:
    """The page, and the median seconds of reading, comparing and building it."""
    seconds: dict[str, list[float]] = {"read": [], "compare": [], "build": []}
    page = ""
    for _ in range(rounds + 1):
        began = time.perf_counter()
        sources = read_sources([folder])
        seconds["read"].append(time.perf_counter() - began)
        arms, _ = arms_of(sources)
        began = time.perf_counter()
        comparison = compare(arms, baseline=ARMS[0])
        seconds["compare"].append(time.perf_counter() - began)
        began = time.perf_counter()
        page = render(sources, comparison, "Cost of a page")
        seconds["build"].append(time.perf_counter() - began)
    return page, {name: statistics.median(times[1:]) for name, times in seconds.items()}  # the first pays the imports


FRAME = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now()))))"
SCROLL = f"""async () => {{
  const began = performance.now();
  for (let y = 0; y < document.documentElement.scrollHeight; y += 900) {{ scrollTo(0, y); await {FRAME}; }}
  return performance.now() - began;
}}"""
CLICK = f"""async (selector) => {{
  const target = document.querySelector(selector);
  const began = performance.now();
  target.click();
  return (await {FRAME}) - began;
}}"""
HOVER = f"""async (share) => {{
  const cells = document.querySelector("#heatmaps .cells");
  const box = cells.getBoundingClientRect();
  const at = {{ clientX: box.left + share * box.width, clientY: box.top + share * box.height, bubbles: true }};
  const began = performance.now();
  cells.dispatchEvent(new PointerEvent("pointermove", at));
  return (await {FRAME}) - began;
}}"""


def used(page: Path, rounds: int) -> dict[str, float]:
    """What a reader waits for: medians over so many visits, in seconds, ms and MB."""
    from playwright.sync_api import sync_playwright

    visits: list[dict[str, float]] = []
    with sync_playwright() as browsers:
        browser = browsers.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        for _ in range(rounds):
            context = browser.new_context(viewport={"width": 1280, "height": 900})
            visits.append(_visit(context, page))
            context.close()
        browser.close()
    return {name: statistics.median(visit[name] for visit in visits) for name in visits[0]}


def _visit(context: Any, page: Path) -> dict[str, float]:
    tab = context.new_page()
    tab.goto(page.as_uri())
    tab.wait_for_selector("#ready", state="attached")
    drawn = tab.evaluate(FRAME) / 1000
    scroll = tab.evaluate(SCROLL) / 1000
    tab.evaluate("document.querySelector('#depth').scrollIntoView()")
    toggle = statistics.median(tab.evaluate(CLICK, ".arms button") for _ in range(4))
    theme = statistics.median(tab.evaluate(CLICK, "#theme") for _ in range(4))
    tab.evaluate("document.querySelector('#heatmaps').scrollIntoView()")
    tab.evaluate(FRAME)
    hover = statistics.median(tab.evaluate(HOVER, share) for share in (0.1, 0.3, 0.5, 0.7))
    session = context.new_cdp_session(tab)
    session.send("HeapProfiler.collectGarbage")
    heap = session.send("Runtime.getHeapUsage")["usedSize"] / 1e6
    return {
        "drawn_seconds": drawn,
        "scroll_seconds": scroll,
        "toggle_ms": toggle,
        "theme_ms": theme,
        "hover_ms": hover,
        "heap_mb": heap,
    }


TARGETS = {
    "drawn_seconds": (1.2, "s"),
    "scroll_seconds": (1.0, "s"),
    "toggle_ms": (100, "ms"),
    "theme_ms": (100, "ms"),
    "hover_ms": (50, "ms"),
    "heap_mb": (30, "MB"),
}


def measure(quick: bool) -> list[Claim]:
    """All claims; those of the browser are not measured where there is none."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = write_runs(Path(temporary) / "runs")
        text, seconds = built(folder, 2 if quick else 7)
        page = Path(temporary) / "page.html"
        page.write_text(text, encoding="utf-8")
        size = page.stat().st_size / 1e6
        found, reason = _in_browser(lambda: used(page, 2 if quick else 7))
    told = [
        Claim(name=f"report_{name}_seconds", value=seconds[name], unit="s", target=None, better="lower")
        for name in ("read", "compare")
    ]
    return [
        Claim(name="build_seconds", value=seconds["build"], unit="s", target=1.0, better="lower"),
        Claim(name="file_mb", value=size, unit="MB", target=3.0, better="lower"),
        *(
            Claim(name=name, value=found.get(name), unit=unit, target=target, better="lower", reason=reason)
            for name, (target, unit) in TARGETS.items()
        ),
        *told,
    ]


def _in_browser(measured: Callable[[], dict[str, float]]) -> tuple[dict[str, float], str]:
    if shutil.which(BROWSER) is None:
        return {}, f"no {BROWSER}: apt-get install chromium"
    try:
        return measured(), ""
    except ImportError:
        return {}, "no playwright: pip install collapse-lab[browser]"


if __name__ == "__main__":
    main(measure)
