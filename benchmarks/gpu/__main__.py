"""`python -m benchmarks.gpu`: all measurements on a CUDA device, each in a process of its own, within a time limit.

What fails or finds no time left is written down as such. The JSON file holds every record, the page beside it the
tables; both are written anew after every part, so that whatever ends this leaves what was measured. Parts that the
file already holds, of the same device, are not measured again: the same command goes on. A claim is judged against the
targets for an NVIDIA H200, whatever the device, which is named. `--device cpu` rehearses: every measurement at its
smallest, no claim judged.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.claims import machine, table
from benchmarks.gpu.judged import claims_of
from benchmarks.gpu.page import page
from benchmarks.gpu.plan import Part, plan
from benchmarks.gpu.process import ended, leave
from benchmarks.gpu.records import read
from collapse_lab.runs import environment, write_text

LIMIT, LEAST = 390.0, 10.0
"""Seconds for all parts together, and those under which none is begun."""


def run(part: Part, device: str, seconds: float, out: Path, records: list[dict[str, Any]]) -> None:
    """Add the records of one part, which name it, whatever ends it; the last says what became of it.

    They come by the file `out`, which is there while the part runs.
    """
    out.unlink(missing_ok=True)
    began = time.perf_counter()
    try:
        status, said = ended([*part.command, "--device", device, "--out", str(out)], min(seconds, part.seconds))
    finally:
        records += [{**record, "command": part.name} for record in read(out)]
        out.unlink(missing_ok=True)
    records.append(_became(part, status, round(time.perf_counter() - began, 1), said))


def _became(part: Part, status: str, seconds: float = 0.0, said: str = "") -> dict[str, Any]:
    return {"part": "command", "status": status, "seconds": seconds, "said": said, "command": part.name}


def earlier(path: Path, made: dict[str, Any]) -> list[dict[str, Any]]:
    """The records of the parts that an earlier call on such a device ended; of others they are measured again."""
    if not path.is_file():
        return []
    result = json.loads(path.read_text(encoding="utf-8"))
    if result["machine"]["gpu"] != made["gpu"]:
        return []
    done = {r["command"] for r in result["records"] if r["part"] == "command" and r["status"] == "done"}
    return [record for record in result["records"] if record["command"] in done]


def written(path: Path, made: dict[str, Any], records: list[dict[str, Any]], rehearsal: bool) -> str:
    """Write both files; the table of claims for a person, empty where they are not judged."""
    claims = [] if rehearsal else claims_of(records)
    result = {
        "rehearsal": rehearsal,
        "machine": made,
        "versions": environment()["versions"],
        "claims": [claim.record() for claim in claims],
        "records": records,
    }
    write_text(path, json.dumps(result, indent=1) + "\n")
    write_text(path.with_suffix(".md"), page(result))
    return table(claims) if claims else ""


def measure(parts: list[Part], device: str, limit: float, path: Path) -> list[dict[str, Any]]:
    """All records; the files are up to date after every part."""
    began, made = time.perf_counter(), machine()
    if device == "cpu":
        made["gpu"] = None
    records = earlier(path, made)
    path.parent.mkdir(parents=True, exist_ok=True)
    done = {record["command"] for record in records}
    try:
        for part in (each for each in parts if each.name not in done):
            left = limit - (time.perf_counter() - began)
            if left < LEAST:
                records.append(_became(part, "no time left"))
                continue
            run(part, device, left, path.with_suffix(".part.jsonl"), records)
            written(path, made, records, device == "cpu")
            print(f"{records[-1]['status']}, {records[-1]['seconds']} s: {part.name}", flush=True)
    finally:
        print(written(path, made, records, device == "cpu"), flush=True)
    return records


def main() -> int:
    """0 when something was measured."""
    parser = argparse.ArgumentParser(description="Measure everything that needs a CUDA device.")
    parser.add_argument("--quick", action="store_true", help="two sizes, fewer networks")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: a rehearsal, says nothing")
    parser.add_argument("--json", type=Path, required=True, metavar="FILE", help="with a page beside it, as .md")
    parser.add_argument("--limit", type=float, default=LIMIT, help="seconds for all parts together")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        print("not measured: no CUDA device", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, leave)
    parts = plan(quick=options.quick, device=options.device)
    records = measure(parts, options.device, options.limit, options.json)
    return 0 if any(record["part"] != "command" and "error" not in record for record in records) else 1


if __name__ == "__main__":
    sys.exit(main())
