"""What a monitor leaves in a folder: its rows, a part a check until they are joined, and its alerts.

    RUN/monitor/step-00000050.parquet   one check, from its end to the end of the training
    RUN/monitor.parquet                 all checks of trainings that have ended, or were gone on from
    RUN/alerts.jsonl                    one object a change

A part costs the same however long the training is, and whatever kills it loses no check that was over.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from collapse_lab.findings.alarm import Alert
from collapse_lab.findings.table import ORIGIN, read_table, write_table
from collapse_lab.runs import Run, read_lines, write_text


class Journal:
    """The records of one run, written by one monitor at a time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def origin(self) -> dict[str, Any]:
        """The columns that say where a row comes from, but for the step."""
        run = Run(self.folder)
        record = run.read() if run.exists() else {}
        return {"run": run.name, "arm": record.get("arm", run.name), "seed": record.get("seed", ORIGIN["seed"])}

    def resume(self, step: int) -> pd.DataFrame | None:
        """All rows of before `step`, None if there are none; those from `step` on, and their alerts, are dropped."""
        found = self._rows()
        kept = None if found is None else found[found.step < step].reset_index(drop=True)
        if kept is not None and kept.empty:
            self._table.unlink(missing_ok=True)
            kept = None
        self._join(kept)
        if self._alerts.is_file():
            self._write_alerts(line for line in read_lines(self._alerts) if line["step"] < step)
        return kept

    def write(self, rows: pd.DataFrame, step: int) -> None:
        """The rows of one check."""
        write_table(rows, self._parts / f"step-{step:08d}.parquet")

    def alert(self, changes: Iterable[Alert]) -> None:
        """Add alerts; those that stand there already, as after going on, are not said twice."""
        there = read_lines(self._alerts)
        known = {_change(line) for line in there}
        new = [line for line in map(_plain, changes) if _change(line) not in known]
        if new:
            self._write_alerts(sorted([*there, *new], key=lambda line: line["step"]))

    def close(self) -> None:
        """Join all parts into one table."""
        self._join(self._rows())

    @property
    def _parts(self) -> Path:
        return self.folder / "monitor"

    @property
    def _table(self) -> Path:
        return self.folder / "monitor.parquet"

    @property
    def _alerts(self) -> Path:
        return self.folder / "alerts.jsonl"

    def _rows(self) -> pd.DataFrame | None:
        """Every row there is, by step: a part in place of joined rows of its step, if a crash left both."""
        parts = [read_table(path) for path in sorted(self._parts.glob("step-*.parquet"))]
        if self._table.is_file():
            joined = read_table(self._table)
            again = {int(step) for part in parts for step in part.step.unique()}
            parts.insert(0, joined[~joined.step.isin(again)])
        if not parts:
            return None
        records = [row for part in parts for row in part.to_dict("records")]
        return pd.DataFrame(records).sort_values("step", kind="stable", ignore_index=True)

    def _join(self, rows: pd.DataFrame | None) -> None:
        if rows is not None:
            write_table(rows, self._table)
        for path in [*self._parts.glob("step-*.parquet"), *self._parts.glob(".*.part")]:
            path.unlink()
        if self._parts.is_dir():
            self._parts.rmdir()

    def _write_alerts(self, lines: Iterable[dict[str, Any]]) -> None:
        write_text(self._alerts, "".join(json.dumps(line) + "\n" for line in lines))


def _plain(alert: Alert) -> dict[str, Any]:
    """An alert as JSON has it, which has no NaN and no infinity."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in asdict(alert).items()
    }


def _change(line: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(line.get(name) for name in ("step", "rule", "site", "positions", "metric", "state"))
