"""What a run says of itself as it goes, and where it says so: log.jsonl always, TensorBoard where it is asked for."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor

from collapse_lab.events import Events
from collapse_lab.runs import Run
from collapse_lab.train import log


class Sink(Protocol):
    """A place for the numbers of logged steps."""

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Take the values after `step` steps, by name."""

    def close(self) -> None:
        """Nothing more will come."""


class Lines:
    """log.jsonl: one object a logged step."""

    def __init__(self, run: Run) -> None:
        self._path = run.log

    def write(self, step: int, values: Mapping[str, float]) -> None:
        log.append(self._path, {"step": step, **values})

    def close(self) -> None:
        """Every line is closed when it is written."""


class Telemetry:
    """All sinks of a run; none where another rank writes."""

    def __init__(self, run: Run, *, writes: bool = True, tensorboard: bool = False) -> None:
        """Raises ImportError naming the extra where TensorBoard is wanted and missing; writes nothing yet."""
        self._sinks: list[Sink] = []
        if writes:
            self._sinks.append(Lines(run))
        if writes and tensorboard:
            self._sinks.append(Events(run.path / "tensorboard" / "training"))

    def write(self, step: int, values: Mapping[str, float]) -> None:
        for sink in self._sinks:
            sink.write(step, values)

    @contextmanager
    def open(self) -> Iterator[Telemetry]:
        """Closes the sinks in the end."""
        try:
            yield self
        finally:
            for sink in self._sinks:
                sink.close()


class Pace:
    """Images a second since it was last asked."""

    def __init__(self, batch: int, step: int) -> None:
        self._batch, self._step, self._moment = batch, step, time.perf_counter()

    def __call__(self, step: int) -> float:
        moment = time.perf_counter()
        images, seconds = self._batch * (step - self._step), moment - self._moment
        self._step, self._moment = step, moment
        return round(images / seconds, 1)


def read_numbers(values: Mapping[str, Tensor]) -> dict[str, float]:
    """Scalars on a device as plain numbers, read all at once: the device is waited for a single time."""
    together = torch.stack([value.detach().double() for value in values.values()])
    return dict(zip(values, together.tolist(), strict=True))
