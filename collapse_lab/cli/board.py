"""The table of a study's runs: redrawn on a terminal, a plain line now and then anywhere else."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.live import Live
from rich.table import Table

from collapse_lab.cli import output
from collapse_lab.cli.line import duration

if TYPE_CHECKING:
    from rich.console import Console

    from collapse_lab.study.progress import Progress, RunState

EVERY = 20.0
"""Seconds between two lines where there is no terminal to redraw."""
COLUMNS = ("arm", "seed", "step", "loss", "images/s", "state")


class Board:
    """Shows the progress of a study; call it with each `Progress`."""

    def __init__(self, console: Console, live: Live | None) -> None:
        self._console, self._live = console, live
        self._began = self._said = time.monotonic()
        self._before: float | None = None
        self.failed: dict[str, str] = {}

    def __call__(self, progress: Progress) -> None:
        self._before = progress.done if self._before is None else self._before
        self.failed = dict(progress.failed)
        if self._live is not None:
            self._live.update(self._table(progress))
        elif time.monotonic() - self._said >= EVERY:
            self._said = time.monotonic()
            self._console.print(self._summary(progress))
            for state in progress.states:
                if state.state in ("training", "measuring"):
                    self._console.print("  " + "  ".join(_cells(state)), markup=False)

    def _summary(self, progress: Progress) -> str:
        failed = f", {len(progress.failed)} failed" if progress.failed else ""
        made = progress.done - (self._before or 0.0)
        left = (time.monotonic() - self._began) / made * (progress.cost - progress.done) if made > 0 else None
        told = "" if left is None else f", about {duration(left)} left"
        share = progress.done / progress.cost if progress.cost else 1.0
        return f"{progress.finished} of {progress.runs} runs{failed}, {share:.0%}{told}"

    def _table(self, progress: Progress) -> Table:
        table = Table(*COLUMNS, caption=self._summary(progress), caption_justify="left", header_style="bold")
        for state in progress.states:
            table.add_row(*_cells(state), style="red" if state.state == "failed" else None)
        return table


@contextmanager
def board() -> Iterator[Board]:
    """A board on stderr; whatever becomes of the study, what failed is listed when it is left."""
    console = output.human()
    live = Live(console=console, transient=True, auto_refresh=False) if console.is_terminal else None
    shown = Board(console, live)
    try:
        if live is None:
            yield shown
        else:
            with live:
                yield shown
    finally:
        for run, error in shown.failed.items():
            console.print(f"collapse-lab: {run} failed: {error}", markup=False)


def _cells(state: RunState) -> tuple[str, ...]:
    loss, speed = output.show(state.loss), output.show(state.images_per_second)
    return state.arm, str(state.seed), f"{state.step}/{state.steps}", loss, speed, state.state
