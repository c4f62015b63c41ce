"""collapse-lab train"""

from __future__ import annotations

import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from collapse_lab.cli import monitoring, output
from collapse_lab.cli.gate import EXIT_GATE

if TYPE_CHECKING:
    from collapse_lab.train.loop import OnStep, State


def train(
    config: Annotated[
        Path | None,
        typer.Option("-c", "--config", help="A TOML file (a run's config.toml repeats it), or a recipe by name."),
    ] = None,
    data: Annotated[str | None, typer.Option("--data", help="Images: data.uri; see 'list data'.")] = None,
    change: Annotated[list[str] | None, typer.Option("--set", help="optim.lr=0.001, repeatable.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="The run's folder.")] = None,
    monitor: Annotated[bool, typer.Option("--monitor", help="Measure live; any option below does.")] = False,
    every: Annotated[int | None, typer.Option("--monitor-every", help="Steps between two checks; 50.")] = None,
    sites: Annotated[list[str] | None, typer.Option("--monitor-sites", help="Repeatable; kind:block.")] = None,
    images: Annotated[int | None, typer.Option("--monitor-images", help="Test images a check; 128.")] = None,
    rule: Annotated[list[str] | None, typer.Option("--rule", help="Say when it holds, repeatable; see README.")] = None,
    fail_on: Annotated[list[str] | None, typer.Option("--fail-on", help="Stop with exit code 5 when it holds.")] = None,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Also write RUN/tensorboard.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Train a network, or go on with the run in the folder."""
    from collapse_lab.runs import Run, read_lines
    from collapse_lab.train.config import load_config
    from collapse_lab.train.loop import train as train_run

    overrides = [*(change or []), *([f"data.uri={data}"] if data else []), *([f"out={out}"] if out else [])]
    settings = load_config(config, overrides)
    asked = monitoring.Asked.of(monitor, every, sites, images, rule, fail_on, tensorboard)
    watching = None if asked is None else monitoring.Monitoring(settings, asked)
    with watching.watch if watching else nullcontext():
        path = train_run(settings, on_step=_each(_progress(), watching))
    record, steps = Run(path).read(), read_lines(Run(path).log)
    last = steps[-1] if steps else {}
    fired = watching.fired() if watching else []
    if json:
        alerts = [alert.text for alert in fired]
        output.print_json("run", path=path, status=record["status"], step=record["step"], last=last, failed=alerts)
    else:
        output.human().print(f"{record['status']} at step {record['step']}, loss {output.show(last.get('loss'))}")
        print(path)
    for alert in fired:
        output.human().print(f"collapse-lab: stopped by '{alert.rule}': {alert.text}", markup=False)
    if fired:
        raise typer.Exit(EXIT_GATE)


def _each(progress: OnStep, watching: OnStep | None) -> OnStep:
    """Both after every step; only the second can stop the training."""

    def on_step(state: State) -> bool:
        progress(state)
        return watching is not None and watching(state) is True

    return on_step


def _progress() -> OnStep:
    """A line on stderr: redrawn on a terminal, one every ten seconds anywhere else."""
    console = output.human()
    began = shown = time.monotonic()
    first: int | None = None

    def on_step(state: State) -> None:
        nonlocal shown, first
        step, steps, moment = state.step, state.steps, time.monotonic()
        first = step if first is None else first
        if moment - shown < (0.5 if console.is_terminal else 10) and step < steps:
            return
        shown = moment
        left = (moment - began) / max(1, step - first) * (steps - step)
        text = f"step {step}/{steps}  loss {state.loss.item():.4f}  {left:.0f} s left"
        console.print(text, end="\r" if console.is_terminal and step < steps else "\n")

    return on_step
