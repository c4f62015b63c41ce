"""The line that a training run draws: one that stays on a terminal, one every ten seconds anywhere else."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from collapse_lab.cli import output

if TYPE_CHECKING:
    from rich.console import Console

    from collapse_lab.train.loop import State

REDRAWN, PLAIN = 0.5, 10.0
"""Seconds between two lines, on a terminal and off it."""


class Line:
    """Step, loss, learning rate, images a second and the time left, after every step; most calls show nothing.

    The loss is read from the device only when it is shown.
    """

    def __init__(self, batch: int, console: Console | None = None) -> None:
        self._batch = batch
        self._console = console or output.human()
        self._shown = time.monotonic()
        self._began: tuple[int, float] | None = None

    def __call__(self, state: State) -> None:
        moment = time.monotonic()
        if self._began is None:  # the first step of a process also builds and warms up: no measure of the others
            self._began = state.step, moment
        live = self._console.is_terminal
        if moment - self._shown < (REDRAWN if live else PLAIN) and state.step < state.steps:
            return
        self._shown = moment
        self._console.print(
            self._text(state, moment), end="\r" if live and state.step < state.steps else "\n", overflow="crop"
        )

    def _text(self, state: State, moment: float) -> str:
        first, began = self._began or (state.step, moment)
        seconds = (moment - began) / max(1, state.step - first)  # a step
        speed = f"{self._batch / seconds:,.0f}" if seconds else "–"
        left = duration(seconds * (state.steps - state.step))
        loss = f"[bold]{state.loss.item():.4f}[/bold]"
        at = f"[cyan]{state.step}[/cyan]/{state.steps}"
        return f"step {at}  loss {loss}  lr {state.lr:.3g}  {speed} images/s  {left} left   "


def duration(seconds: float) -> str:
    """Hours, minutes and seconds: 1:02:03, 2:03, 3 s."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02}:{rest:02}"
    return f"{minutes}:{rest:02}" if minutes else f"{rest} s"
