"""Where a page comes from: the settings in which arms differ, each run's record, and the commands to repeat it."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from typing import Any

from collapse_lab.findings.compare import Comparison
from collapse_lab.report.sources import Source
from collapse_lab.report.words import isolated

UNDER_WAY = ("created", "running")


def notes(sources: Sequence[Source], comparison: Comparison | None, why_not: str) -> list[str]:
    """What a reader must know before the numbers: runs that are alone, unfinished, unmeasured or cannot be compared."""
    told = []
    measured = [source for source in sources if len(source.metrics)]
    arms = list(dict.fromkeys(source.arm for source in sources))
    if len(sources) == 1:
        told.append(
            f"This page is about one run, {isolated(sources[0].run.name)}: there is nothing to compare it with."
        )
    elif len(arms) == 1 and comparison is None:
        told.append(f"One arm ({isolated(arms[0])}) with {len(sources)} runs: there is nothing to compare it with.")
    if why_not:
        told.append(f"The arms are shown side by side and not compared: {why_not}.")
    for source in sources:
        if source.record.get("status") in UNDER_WAY:
            told.append(_under_way(source))
    without = [isolated(source.run.name) for source in sources if not len(source.metrics)]
    if without:
        many = len(without) > 3
        listed = ", ".join(without[:3]) + (f" and {len(without) - 3} more" if many else "")
        told.append(f"No capture yet: {listed}. Make one with 'collapse-lab capture RUN', then this page again.")
    if measured and comparison is None and len(arms) > 1 and not why_not:
        told.append("Only one arm is measured, so there is nothing to compare it with.")
    return told


def _under_way(source: Source) -> str:
    """The record is written with each checkpoint, the log more often."""
    logged = [int(line["step"]) for line in source.log[-1:]]
    reached = max([int(source.record.get("step", 0)), *logged])
    shown = f"as of step {int(source.last.step.max())}" if len(source.last) else "without a measurement"
    steps = source.record.get("steps", "?")
    return f"{isolated(source.run.name)} is still training, at step {reached} of {steps}: the page shows it {shown}."


def run_rows(sources: Sequence[Source]) -> list[list[str]]:
    """One row of text a run; see RUN_COLUMNS."""
    return [_run_row(source) for source in sources]


RUN_COLUMNS = (
    *("run", "arm", "seed", "status", "device", "seconds", "training data", "captured images", "versions", "source"),
    "command",
)


def _run_row(source: Source) -> list[str]:
    record = source.record
    data = record.get("data") or {}
    return [
        source.run.name,
        source.arm,
        str(source.seed),
        f"{record.get('status', 'unknown')} at step {record.get('step', '?')} of {record.get('steps', '?')}",
        f"{record.get('device', '?')}, {record.get('threads', '?')} threads",
        str(record.get("seconds", "?")),
        f"{data.get('name', '?')}, {data.get('images', '?')} images, fingerprint {data.get('fingerprint', '?')}",
        str(source.metrics.images_hash.iloc[0]) if len(source.metrics) else "no capture yet",
        ", ".join(f"{name} {version}" for name, version in record.get("versions", {}).items()),
        str(record.get("git") or "not from a checkout"),
        shlex.join(map(str, record.get("command", []))),
    ]


def commands(sources: Sequence[Source]) -> list[tuple[str, str]]:
    """(what it does, the command) for the first run and the page."""
    if not sources:
        return []
    first = shlex.quote(sources[0].run.name)
    every = " ".join(shlex.quote(source.run.name) for source in sources)
    return [
        ("train one run again", f"collapse-lab train -c {first}/config.toml --out ANOTHER"),
        ("measure it, with rows and maps kept", f"collapse-lab capture {first} --keep-rows 4096 --keep-maps 16"),
        ("write this page", f"collapse-lab report {every} -o page.html"),
    ]


def differences(arms: Sequence[str], sources: Sequence[Source]) -> list[tuple[str, list[str]]]:
    """Settings in which the arms differ: name -> its value in each arm."""
    first = {arm: next(source for source in sources if source.arm == arm) for arm in arms}
    settings = [dict(_flat(source.record.get("config") or {})) for source in first.values()]
    names = sorted({name for each in settings for name in each} - {"seed"})
    rows = [(name, [str(each.get(name, "–")) for each in settings]) for name in names]
    return [(name, values) for name, values in rows if len(set(values)) > 1]


def _flat(values: dict[str, Any], path: str = "") -> Iterable[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{path}{name}.")
        else:
            yield f"{path}{name}", value
