"""Live metrics as TensorBoard draws them: one curve a site and metric."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from collapse_lab.events import Events
from collapse_lab.findings.alarm import Row


class Scalars:
    """Event files in a folder, opened at the first row: `SITE/METRIC`, with `/POSITIONS` where there are several."""

    def __init__(self, folder: Path, policies: int) -> None:
        """Raises ImportError naming the extra where tensorboard is not installed."""
        self.policies = policies
        self._events = Events(folder)

    def write(self, rows: Iterable[Row], step: int) -> None:
        """One point a row that has a finite value. What an earlier process wrote from this step on is hidden."""
        self._events.write(step, {self._name(row): row["value"] for row in rows})

    def close(self) -> None:
        self._events.close()

    def _name(self, row: Row) -> str:
        return f"{row['site']}/{row['metric']}" + (f"/{row['positions']}" if self.policies > 1 else "")
