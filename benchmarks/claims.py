"""How a claim is measured, printed and written down."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from collapse_lab.runs import environment


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A number against its target. `value` None: not measurable here, for the `reason`; `target` None: only told."""

    name: str
    value: float | None
    unit: str
    target: float | None
    better: Literal["higher", "lower"]
    reason: str = ""

    @property
    def holds(self) -> bool | None:
        if self.value is None or self.target is None:
            return None
        return self.value >= self.target if self.better == "higher" else self.value <= self.target

    def record(self) -> dict[str, Any]:
        """As it stands in the JSON file."""
        value = None if self.value is None else float(f"{self.value:.4g}")
        facts = {"name": self.name, "value": value, "unit": self.unit, "target": self.target, "better": self.better}
        return {**facts, "holds": self.holds} | ({"reason": self.reason} if self.reason else {})


@dataclass(frozen=True, kw_only=True)
class Result:
    """Claims with the tables that they were read off, as lists of rows, for the JSON file."""

    claims: Sequence[Claim]
    tables: Mapping[str, Sequence[Mapping[str, Any]]]


def interleaved(tasks: dict[str, Callable[[], object]], repetitions: int) -> dict[str, list[float]]:
    """Seconds of each task in each round. They take turns, so that a slow minute of the machine meets them all.

    In its turn a task runs twice and the second time counts: the first finds the memory as the one before left it.
    """
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(repetitions):
        for name, task in tasks.items():
            task()
            began = time.perf_counter()
            task()
            seconds[name].append(time.perf_counter() - began)
    return seconds


def ratio(one: Sequence[float], other: Sequence[float]) -> float:
    """Median over rounds of one / other: what stands side by side has seen the same machine."""
    return statistics.median(a / b for a, b in zip(one, other, strict=True))


def machine() -> dict[str, Any]:
    """What the numbers depend on, without the names of anything."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gib": round(memory, 1),
        "gpu": gpu,
        "system": f"{platform.system()} {platform.machine()}",
    }


def _processor() -> str:
    file = Path("/proc/cpuinfo")
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or "unknown"


def table(claims: Sequence[Claim]) -> str:
    """One line a claim, for a person."""
    verdicts = {True: "holds", False: "FAILS", None: "not measured"}
    lines = [f"{'claim':<48} {'value':>9} {'target':>9} {'unit':<8} verdict"]
    for claim in claims:
        value = "-" if claim.value is None else f"{claim.value:.3g}"
        bound = "-" if claim.target is None else f"{'>=' if claim.better == 'higher' else '<='} {claim.target:g}"
        verdict = "told" if claim.target is None and claim.value is not None else verdicts[claim.holds]
        why = f" ({claim.reason})" if claim.reason else ""
        lines.append(f"{claim.name:<48} {value:>9} {bound:>9} {claim.unit:<8} {verdict}{why}")
    return "\n".join(lines)


def main(
    measure: Callable[[bool], Sequence[Claim] | Result],
    arguments: Sequence[str] | None = None,
    parents: Sequence[argparse.ArgumentParser] = (),
) -> None:
    """The command line of one file: `measure(quick)` gives its claims, or a result with tables beside them; `parents`
    know the options of its own."""
    parser = argparse.ArgumentParser(description="Measure the claims of one file.", parents=list(parents))
    parser.add_argument("--quick", action="store_true", help="fewer repetitions, the same sizes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the result there")
    options = parser.parse_args(arguments)
    found = measure(options.quick)
    claims, tables = (found.claims, found.tables) if isinstance(found, Result) else (found, {})
    print(table(claims))
    if options.json:
        result = {
            "machine": machine(),
            "versions": environment()["versions"],
            "claims": [claim.record() for claim in claims],
            **tables,
        }
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
