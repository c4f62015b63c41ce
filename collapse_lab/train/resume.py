"""What a run leaves behind so that it can go on, and how it does."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import torch

from collapse_lab.objectives.outcome import Objective
from collapse_lab.runs import Run, environment, is_full, now
from collapse_lab.train import log
from collapse_lab.train.checkpoint import (
    load_checkpoint,
    newest_checkpoint,
    prune_checkpoints,
    save_checkpoint,
    sweep_parts,
)
from collapse_lab.train.config import SaveConfig
from collapse_lab.train.place import Place


class Kept(Protocol):
    """Anything whose state a checkpoint holds."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: Any) -> object: ...


def restore(run: Run, kept: Mapping[str, Kept], place: Place) -> int:
    """Load the newest whole checkpoint, if there is one; the step it stands at. The log is cut to it.

    Every rank reads the file that the first found whole, so all must see the run's folder. A part that the checkpoint
    lacks starts anew.
    """

    def found() -> int | None:
        sweep_parts(run)
        payload = newest_checkpoint(run)
        step = None if payload is None else int(payload["step"])
        log.cut(run.log, step or 0)
        log.cut(run.path / "nonfinite.jsonl", (step or 0) - 1)
        return step

    step = place.ranks.from_first(found, "read the newest checkpoint")
    if step is None:
        return 0
    payload = place.ranks.attempt(lambda: load_checkpoint(run.checkpoint(step)), "read the newest checkpoint")
    for name, part in kept.items():
        if name in payload:
            part.load_state_dict(payload[name])
    return step


def begin(run: Run, first: int, place: Place) -> None:
    """Say where the run goes on, and what makes it differ from one that was never stopped."""
    record = run.read()
    ways = {"threads": torch.get_num_threads(), "ranks": place.ranks.world, "parts": place.compute.accumulate}
    for name, here in ways.items():
        there = record.get(name, here)
        if there != here:
            note = f"{run.path} began with {there} {name}; with {here} it will not be bit-equal to an unbroken run"
            warnings.warn(note, stacklevel=5)
    if record["status"] == "failed":
        warnings.warn(f"{run.path} had failed ({record.get('error')}); it goes on from step {first}", stacklevel=5)
    began = {name: record.get(name, here) for name, here in ways.items()}
    run.update(status="running", error=None, device=str(place.device), step=first, **began, **environment())


def save(run: Run, settings: SaveConfig, step: int, objective: Objective, kept: Mapping[str, Kept]) -> Path:
    """Write the checkpoint of `step`, then delete what need not be kept any longer."""
    states = {name: part.state_dict() for name, part in kept.items()}
    path = save_checkpoint(run, step, {"step": step, "architecture": objective.encoder.architecture, **states})
    prune_checkpoints(run, step, settings)
    return path


@contextmanager
def recorded(run: Run, writes: bool = True) -> Iterator[None]:
    """Whatever ends the run early is written into run.json before it goes on its way.

    A full disk has lost nothing and is no fault of the run: it is interrupted.
    """
    try:
        yield
    except BaseException as error:
        resumable = is_full(error) or not isinstance(error, Exception)
        text = str(error).partition("\n")[0]
        with suppress(OSError):  # the disk may be the very reason
            if writes:
                status = "interrupted" if resumable else "failed"
                run.update(status=status, error=f"{type(error).__name__}: {text}", stopped=now())
        raise
