"""A training run that kills itself, in a process of its own."""

from __future__ import annotations

import os
import signal
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from collapse_lab import runs
from collapse_lab.train.loop import train
from tests.train.runs import tiny

LONG: dict[str, Any] = {"steps": 24, "save": {"every": 2}, "log_every": 1}

context = get_context("forkserver")
context.set_forkserver_preload(["tests.train.killed", "sklearn.datasets"])


def die_at_flush(number: int, out: Path) -> None:
    """SIGKILL in place of the flush with this number: within a checkpoint, its checksum, run.json or the log."""
    flush, left = runs._flush, [number]

    def count(path: Path) -> None:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        flush(path)

    runs._flush = count
    train(tiny(out, **LONG))


def go_on(out: Path) -> None:
    train(tiny(out, **LONG))
