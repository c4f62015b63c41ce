"""`python -m benchmarks.gpu`: all measurements on a CUDA device, each in a process of its own, within a time limit.

What fails or finds no time left is written down as such. The JSON file holds every record, the page beside it the
tables; a claim is judged against the targets for an NVIDIA H200, whatever the device, which is named.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from benchmarks.claims import Claim, machine, table
from benchmarks.gpu.limits import measured_limits
from benchmarks.gpu.page import page
from collapse_lab.runs import environment

Records = Sequence[Mapping[str, Any]]
HERE = Path(__file__).parents[2]
LIMIT, PART = 300, 120
"""Seconds for all parts together, and for one of them."""


def parts(out: Path, quick: bool) -> Iterator[list[str]]:
    """The commands, what matters most first."""
    sizes = ("base", "atto") if quick else ("base", "atto", "tiny", "nano")
    for size in sizes:
        yield ["benchmarks.gpu.steps", size, "--way", "compiled", "--networks", "visible,dense_masked", "--profile"]
    yield ["benchmarks.gpu.looking", "--only", "statistics,ours_pico,ours_base,monitor"]
    yield ["benchmarks.gpu.steps", "base", "--way", "eager", "--profile"]
    if quick:
        return
    yield ["benchmarks.gpu.looking", "--only", "timm_tiny,transformers_tiny,cpu_timm_tiny,cpu_transformers_tiny"]
    yield ["benchmarks.gpu.steps", "base", "--way", "compiled", "--networks", "dense,timm"]
    for size in ("atto", "tiny", "nano"):
        yield ["benchmarks.gpu.steps", size, "--way", "eager"]
    yield ["benchmarks.gpu.looking", "--only", "ours_tiny,cpu_ours_tiny,timm_base,transformers_base"]
    for size in ("atto", "tiny", "nano"):
        yield ["benchmarks.gpu.steps", size, "--way", "compiled", "--networks", "dense,timm"]


def run(command: Sequence[str], out: Path, seconds: float) -> dict[str, Any]:
    """One part; its records stand in `out`. What became of it, and the end of what it said where it failed."""
    began = time.perf_counter()
    what = {"part": "command", "command": " ".join(command)}
    try:
        done = subprocess.run(
            [sys.executable, "-m", *command, "--out", str(out)],
            check=False,
            cwd=HERE,
            timeout=seconds,
            capture_output=True,
            text=True,
        )
    except subprocess.TimeoutExpired:
        return what | {"status": "out of time", "seconds": seconds}
    spent = {"seconds": round(time.perf_counter() - began, 1)}
    if done.returncode:
        return what | {"status": "failed", "said": done.stderr[-1500:], **spent}
    return what | {"status": "done", **spent}


def claims_of(records: Records) -> list[Claim]:
    """The claims; None where what they are read off was not measured."""
    steps = {(r["size"], r["way"], r["network"]): r for r in records if r["part"] == "steps"}
    tasks = {r["task"]: r for r in records if r["part"] == "looking"}

    def rate(size: str, network: str) -> float | None:
        found = [steps.get((size, way, network), {}).get("images_per_second") for way in ("eager", "compiled")]
        return max((value for value in found if value), default=None)

    def share(size: str) -> float | None:
        pair = [
            steps.get((size, "compiled", each), {}).get("images_per_second") for each in ("visible", "dense_masked")
        ]
        return pair[0] / pair[1] if pair[0] and pair[1] else None

    def of(task: str, name: str) -> float | None:
        return tasks.get(task, {}).get(name)

    wanted: list[tuple[str, float | None, str, float | None, str]] = [
        ("base224_bf16_images_per_second", rate("base", "visible"), "/s", 2500, "higher"),
        ("tiny224_bf16_images_per_second", rate("tiny", "visible"), "/s", 6000, "higher"),
        ("nano224_bf16_images_per_second", rate("nano", "visible"), "/s", None, "higher"),
        ("atto224_bf16_images_per_second", rate("atto", "visible"), "/s", 20000, "higher"),
        *((f"{size}224_visible_vs_dense_masked", share(size), "times", 2.0 if size == "base" else None, "higher")
          for size in ("base", "tiny", "nano", "atto")),
        ("capture_overhead", of("ours_base", "overhead"), "x", 1.10, "lower"),
        ("pico224_capture_overhead", of("ours_pico", "overhead"), "x", 1.10, "lower"),
        ("capture_waits_a_batch", of("ours_base", "waits_a_batch"), "", 0, "lower"),
        ("monitor_overhead", of("monitor", "overhead"), "x", 1.02, "lower"),
        ("statistics_1e6x3072_seconds", of("statistics", "seconds"), "s", None, "lower"),
        ("statistics_1e6x3072_vs_product", _over(tasks.get("statistics", {})), "x", 1.3, "lower"),
    ]  # fmt: skip
    return [
        Claim(name=name, value=value, unit=unit, target=target, better="lower" if better == "lower" else "higher",
              reason="" if value is not None else "not measured in this run")
        for name, value, unit, target, better in wanted
    ]  # fmt: skip


def _over(found: Mapping[str, Any]) -> float | None:
    return found["seconds"] / found["product_seconds"] if "seconds" in found else None


def main() -> int:
    """0 when something was measured."""
    parser = argparse.ArgumentParser(description="Measure everything that needs a CUDA device.")
    parser.add_argument("--quick", action="store_true", help="two sizes, fewer networks")
    parser.add_argument(
        "--json", type=Path, required=True, metavar="FILE", help="the page is written beside it, as .md"
    )
    parser.add_argument("--limit", type=float, default=LIMIT, help="seconds for all parts together")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print("not measured: no CUDA device", file=sys.stderr)
        return 1
    began, limits, said = time.perf_counter(), measured_limits(), []
    torch.cuda.empty_cache()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "records.jsonl"
        out.touch()
        for command in parts(out, options.quick):
            left = options.limit - (time.perf_counter() - began)
            if left < 10:
                said.append({"part": "command", "command": " ".join(command), "status": "no time left", "seconds": 0})
                continue
            said.append(run(command, out, min(left, PART)))
            print(said[-1]["status"], said[-1]["seconds"], "s:", said[-1]["command"], flush=True)
        records = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    claims = claims_of(records)
    print(table(claims))
    result = {
        "machine": machine(),
        "versions": environment()["versions"],
        "limits": asdict(limits),
        "claims": [claim.record() for claim in claims],
        "records": [*records, *said],
    }
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    options.json.with_suffix(".md").write_text(page(result), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
