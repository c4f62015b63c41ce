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
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from benchmarks.claims import machine, table
from benchmarks.gpu.judged import claims_of
from benchmarks.gpu.limits import measured_limits
from benchmarks.gpu.page import page
from collapse_lab.runs import environment

HERE = Path(__file__).parents[2]
LIMIT, PART = 300, 120
"""Seconds for all parts together, and for one of them."""


def parts(quick: bool) -> Iterator[list[str]]:
    """The commands, what matters most first."""
    sizes = ("base", "atto") if quick else ("base", "atto", "tiny", "nano")
    for size in sizes:
        yield [
            "benchmarks.gpu.steps",
            size,
            "--way",
            "compiled",
            "--networks",
            "visible,kernels,dense_masked",
            "--profile",
        ]
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


def main() -> int:
    """0 when something was measured."""
    parser = argparse.ArgumentParser(description="Measure everything that needs a CUDA device.")
    parser.add_argument("--quick", action="store_true", help="two sizes, fewer networks")
    parser.add_argument("--json", type=Path, required=True, metavar="FILE", help="with a page beside it, as .md")
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
        for command in parts(options.quick):
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
