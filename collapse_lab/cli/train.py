"""collapse-lab train"""

from __future__ import annotations

import shlex
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from collapse_lab.cli import monitoring, output
from collapse_lab.cli.gate import EXIT_GATE

if TYPE_CHECKING:
    from collapse_lab.train.config import Config
    from collapse_lab.train.loop import OnStep, State


def train(
    config: Annotated[
        Path | None,
        typer.Option("-c", "--config", help="A TOML file (a run's config.toml repeats it), or a recipe by name."),
    ] = None,
    data: Annotated[str | None, typer.Option("--data", help="Images: data.uri; see 'list data'.")] = None,
    change: Annotated[list[str] | None, typer.Option("--set", help="optim.lr=0.001, repeatable.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="The run's folder.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check it and show what it takes; write nothing.")] = False,
    on_nonfinite: Annotated[
        str | None, typer.Option(help="Of a step whose loss or gradient is not finite: stop, or skip its update.")
    ] = None,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Also write RUN/tensorboard: losses, and what a monitor measures.")
    ] = False,
    monitor: Annotated[bool, typer.Option("--monitor", help="Measure live; any option below does.")] = False,
    every: Annotated[int | None, typer.Option("--monitor-every", help="Steps between two checks; 50.")] = None,
    sites: Annotated[list[str] | None, typer.Option("--monitor-sites", help="Repeatable; kind:block.")] = None,
    images: Annotated[int | None, typer.Option("--monitor-images", help="Test images a check; 128.")] = None,
    rule: Annotated[list[str] | None, typer.Option("--rule", help="Say when it holds, repeatable; see README.")] = None,
    fail_on: Annotated[list[str] | None, typer.Option("--fail-on", help="Stop with exit code 5 when it holds.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Train a network, or go on with the run in the folder.

    Under torchrun the processes share every batch, and the first one writes and speaks. SIGTERM and Ctrl-C finish the
    step and save.
    """
    from collapse_lab.ranks import told_rank
    from collapse_lab.train.config import load_config

    folder = None if out is None else str(out)
    asked = {"data.uri": data, "out": folder, "on_nonfinite": on_nonfinite, "tensorboard": tensorboard or None}
    settings = load_config(config, change or [], {name: value for name, value in asked.items() if value is not None})
    if dry_run:
        from collapse_lab.cli.rehearsal import show

        show(settings, json)
        return
    if told_rank() > 0:
        _train(settings, None)
        return
    options = monitoring.Asked.of(monitor, every, sites, images, rule, fail_on, tensorboard)
    watching = None if options is None else monitoring.Monitoring(settings, options)
    with watching.watch if watching else nullcontext():
        path = _train(settings, watching)
        if watching:
            watching.finish(path)
    _say(settings, path, watching, json)


def _train(settings: Config, watching: monitoring.Monitoring | None) -> Path:
    from collapse_lab.cli.line import Line
    from collapse_lab.ranks import told_rank, told_world
    from collapse_lab.runs import Run
    from collapse_lab.train.loop import train as train_run

    try:
        return train_run(settings, on_step=_each(Line(settings.data.batch), watching))
    except (KeyboardInterrupt, SystemExit):
        run = Run(Path(settings.out))
        if told_rank() == 0 and run.config.is_file():
            alone = shlex.join(["collapse-lab", *sys.argv[1:]])
            command = alone if told_world() == 1 else "the same processes, started in the same way"
            output.human().print(f"collapse-lab: stopped; go on with: {command}", markup=False)
        raise


def _say(settings: Config, path: Path, watching: monitoring.Monitoring | None, json: bool) -> None:
    """What the run came to; raises typer.Exit(5) where a rule stopped it."""
    from collapse_lab.runs import Run, read_lines

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
