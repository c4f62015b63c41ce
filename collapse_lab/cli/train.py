"""collapse-lab train"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from collapse_lab.cli import output

if TYPE_CHECKING:
    from collapse_lab.train.loop import OnStep, State


def train(
    config: Annotated[
        Path | None, typer.Option("-c", "--config", help="A TOML file; a run's config.toml repeats it.")
    ] = None,
    change: Annotated[list[str] | None, typer.Option("--set", help="optim.lr=0.001, repeatable.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="The run's folder.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Train a network, or go on with the run in the folder."""
    from collapse_lab.runs import Run, read_lines
    from collapse_lab.train.config import load_config
    from collapse_lab.train.loop import train as train_run

    overrides = [*(change or []), *([f"out={out}"] if out else [])]
    settings = load_config(config, overrides)
    path = train_run(settings, on_step=_progress(settings.steps))
    record, steps = Run(path).read(), read_lines(Run(path).log)
    last = steps[-1] if steps else {}
    if json:
        output.print_json("run", path=path, status=record["status"], step=record["step"], last=last)
    else:
        output.human().print(f"{record['status']} at step {record['step']}, loss {output.show(last.get('loss'))}")
        print(path)


def _progress(steps: int) -> OnStep:
    """A line on stderr: redrawn on a terminal, one every ten seconds anywhere else."""
    console = output.human()
    began = shown = time.monotonic()
    first: int | None = None

    def on_step(state: State) -> None:
        nonlocal shown, first
        step, moment = state.step, time.monotonic()
        first = step if first is None else first
        if moment - shown < (0.5 if console.is_terminal else 10) and step < steps:
            return
        shown = moment
        left = (moment - began) / max(1, step - first) * (steps - step)
        text = f"step {step}/{steps}  loss {state.loss.item():.4f}  {left:.0f} s left"
        console.print(text, end="\r" if console.is_terminal and step < steps else "\n")

    return on_step
