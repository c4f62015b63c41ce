"""Steps whose loss or gradient is not finite: their update is left out on the device, and told when it is read."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from collapse_lab.data.source import Images
from collapse_lab.runs import Run
from collapse_lab.train import log

REMEMBERED = 64
"""Steps that are remembered until they are read; of more, the last."""
SHOWN = 8
"""Images that a message names; nonfinite.jsonl has all."""


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """One step whose update was left out, counted from 0, and whether it was the loss that was not finite."""

    step: int
    loss: bool

    @property
    def what(self) -> str:
        return "the loss" if self.loss else "a gradient"


class Watch:
    """Counts on the device, which nothing here waits for but `read`.

    On a GPU that is when a step is logged or saved: until then a bad step has changed no weight, only cost time.
    """

    def __init__(self, device: torch.device) -> None:
        self._counts = torch.zeros(3, dtype=torch.int64, device=device)  # all, in a row now, most in a row
        self._codes = torch.full((REMEMBERED,), -1, dtype=torch.int64, device=device)  # 2 * step + (it was the loss)
        self._places = torch.arange(REMEMBERED, device=device)
        self._told = 0
        self.most_in_a_row = 0

    def note(self, step: int, bad_loss: Tensor, bad: Tensor) -> None:
        """After every step: flags on the device, equal on every rank."""
        total, row, most = self._counts.unbind()
        here = bad & (self._places == total % REMEMBERED)
        self._codes = torch.where(here, 2 * step + bad_loss.long(), self._codes)
        row = (row + 1) * bad
        self._counts = torch.stack([total + bad, row, torch.maximum(most, row)])

    @property
    def total(self) -> int:
        """Steps left out in all, as of the last reading."""
        return self._told

    def read(self) -> list[LeftOut]:
        """What was left out since the last reading, the last REMEMBERED of it; waits for the device."""
        numbers = torch.cat([self._counts, self._codes]).tolist()
        (total, _, self.most_in_a_row), codes = numbers[:3], numbers[3:]
        new = range(max(self._told, total - REMEMBERED), total)
        self._told = total
        return [LeftOut(step=codes[at % REMEMBERED] // 2, loss=codes[at % REMEMBERED] % 2 == 1) for at in new]

    def state_dict(self) -> dict[str, Any]:
        return {"counts": self._counts, "codes": self._codes, "told": self._told}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        total, row, _ = state["counts"].to(self._counts.device).unbind()
        self._counts = torch.stack([total, row, row])  # a streak that ended was told, under the limit of then
        self._codes = state["codes"].to(self._codes.device)
        self._told = int(state["told"])


@dataclass(frozen=True, kw_only=True)
class Guard:
    """Says of a run which steps were left out, with their images, and stops it where there are more than `limit` in a
    row. `places` and `rate` give the places of a step's images, and its learning rate; one rank `writes`."""

    run: Run
    images: Images
    places: Callable[[int], Tensor]
    rate: Callable[[int], float]
    limit: int
    writes: bool = True

    def tell(self, watch: Watch, saved: int) -> None:
        """Read the watch; every step left out is recorded in nonfinite.jsonl. Raises FloatingPointError at the limit.

        `saved` is the step of the newest checkpoint, which the message names. Waits for the device.
        """
        for left_out in watch.read():
            names = self._recorded(left_out)
            fault = f"{left_out.what} of step {left_out.step} is"
            if self.limit == 0:
                repair = "or go on without such steps: --on-nonfinite skip"
                raise self._diverged(fault, left_out.step, saved, f", {repair}; {names}")
            if self.writes:
                warnings.warn(f"{fault} not finite, its update is left out; {names}", stacklevel=3)
            if watch.most_in_a_row > self.limit:
                row = f"{watch.most_in_a_row} steps in a row, more than skip_limit = {self.limit}, one of them step"
                raise self._diverged(f"{row} {left_out.step}, are", left_out.step, saved)

    def refuse_broken(self, module: nn.Module, step: int, saved: int) -> None:
        """So that no checkpoint ever holds a NaN, and every one can be gone on from. Raises FloatingPointError."""
        if not all(bool(value.isfinite().all()) for value in module.state_dict().values()):
            raise self._diverged(f"the weights after step {step} are", step, saved)

    def _diverged(self, fault: str, step: int, saved: int, more: str = "") -> FloatingPointError:
        return FloatingPointError(
            f"{fault} not finite (learning rate {self.rate(step):.3g}); the last good checkpoint is "
            f"{self.run.checkpoint(saved)}; lower optim.lr or lengthen optim.warmup, in a new run{more}"
        )

    def _recorded(self, left_out: LeftOut) -> str:
        """The first images of the step, in words."""
        places = self.places(left_out.step)
        ids = self.images.id[places].tolist()
        files = [self.images.files[place] for place in places.tolist()] if self.images.files else []
        if self.writes:
            facts = {"step": left_out.step, "what": left_out.what, "ids": ids, "files": files}
            log.append(self.run.path / "nonfinite.jsonl", facts)
        names = [f"{image} ({file})" for image, file in zip(ids, files, strict=True)] if files else list(map(str, ids))
        more = f" and {len(names) - SHOWN} more, see nonfinite.jsonl" if len(names) > SHOWN else ""
        return f"its images: {', '.join(names[:SHOWN])}{more}"
