"""What each of two processes does that train together. Imports little: every process does so anew."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from collapse_lab.objectives.outcome import Outcome
from collapse_lab.ranks import joined
from collapse_lab.train import loop
from collapse_lab.train.config import Config
from collapse_lab.train.loop import train
from tests.train.runs import tiny

WORLD = 2
BATCH, STEPS, BAD_STEP, LAST_STEP = 8, 10, 3, 4


def config(out: Path, precision: str = "float32", **changes: Any) -> Config:
    """Ten steps of a batch that two ranks halve."""
    compute = {"precision": precision, **changes.pop("compute", {})}
    settings = {"steps": STEPS, "log_every": 1, "data": {"batch": BATCH}, "compute": compute, **changes}
    return tiny(out, **settings)


def disturbed(disturb: Callable[[int, Tensor, Outcome], Outcome]) -> Callable[..., Outcome]:
    """The forward of a run, its outcome changed by what is known of step and places."""
    forward = loop.Prepared.forward

    def changed(self: Any, network: nn.Module, step: int, part: loop.Part) -> Outcome:
        return disturb(step, part.places, forward(self, network, step, part))

    return changed


def spoilt(step: int, part: Tensor, outcome: Outcome) -> Outcome:
    """No number for the loss of one step, wherever the batch's last image is."""
    bad = step == BAD_STEP and bool((part == BATCH - 1).any())
    return Outcome(loss=outcome.loss * (float("nan") if bad else 1.0))


def terminated(step: int, part: Tensor, outcome: Outcome) -> Outcome:
    """SIGTERM comes in the fifth step to the process that has the last image."""
    if step == LAST_STEP and bool((part == BATCH - 1).any()):
        signal.raise_signal(signal.SIGTERM)
    return outcome


def broken(step: int, part: Tensor, outcome: Outcome) -> Outcome:
    """The file of the last image vanishes in the fifth step."""
    if step == LAST_STEP and bool((part == BATCH - 1).any()):
        raise FileNotFoundError("the images went away")
    return outcome


def told(case: Callable[[], Path]) -> str:
    try:
        case()
    except (Exception, SystemExit) as error:
        return f"{type(error).__name__}: {error}"
    return "no error"


def under(disturb: Callable[[int, Tensor, Outcome], Outcome], case: Callable[[], Path]) -> str:
    """The error of a case whose forward is disturbed."""
    forward = loop.Prepared.forward
    loop.Prepared.forward = disturbed(disturb)  # type: ignore[method-assign]
    try:
        return told(case)
    finally:
        loop.Prepared.forward = forward  # type: ignore[method-assign]


def work(rank: int, ports: tuple[int, int], folder: Path) -> None:
    """What each of the processes does; runs in a process of its own."""
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(WORLD), "MASTER_ADDR": "127.0.0.1"}
    os.environ["MASTER_PORT"] = str(ports[0])
    steps: list[int] = []
    errors = {}
    with joined() as found:
        assert found == (rank, WORLD)
        train(config(folder / "float64", "float64"))
        train(config(folder / "float32"), on_step=lambda state: steps.append(state.step))
        train(config(folder / "parts", "float64", compute={"accumulate": 2}))
        again = config(folder / "stopped", "float64")
        train(again, on_step=lambda state: state.step == LAST_STEP)
        train(again)
        skip = config(folder / "skipped", "float64", on_nonfinite="skip")
        errors["skipped"] = under(spoilt, lambda: train(skip))
        errors["bad"] = under(spoilt, lambda: train(config(folder / "bad")))
        errors["terminated"] = under(terminated, lambda: train(config(folder / "terminated", "float64")))
        uri = {"data": {"uri": str(folder / f"pictures-{rank}"), "batch": BATCH}}
        errors["other images"] = told(lambda: train(config(folder / "other", **uri)))
        errors["undivided"] = told(lambda: train(config(folder / "undivided", data={"batch": 7})))
        errors["another"] = told(lambda: train(config(folder / "float64", "float64", seed=1)))
    os.environ["MASTER_PORT"] = str(ports[1])
    errors["broken"] = under(broken, lambda: train(config(folder / "broken", "float64", compute={"patience": 20})))
    torch.save({"errors": errors, "steps": steps}, folder / f"rank-{rank}.pt")
