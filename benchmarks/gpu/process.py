"""A command in a process of its own, ended with all that it started once its time is over."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

HERE = Path(__file__).parents[2]
KEPT = 1500
"""Characters of what a command said."""


def ended(command: Sequence[str], seconds: float) -> tuple[str, str]:
    """Run a module of the project: "done", "failed" or "out of time", and the end of what it said unless it is done.

    What it says goes to a file, not through a pipe, which the compilers that it started would hold open.
    """
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [sys.executable, "-m", *command], cwd=HERE, stdout=said, stderr=said, start_new_session=True
        )
        try:
            status = "failed" if process.wait(timeout=seconds) else "done"
        except subprocess.TimeoutExpired:
            status = "out of time"
        finally:
            _kill(process)
        said.seek(0)
        text = said.read().decode(errors="replace")
    return status, "" if status == "done" else text[-KEPT:]


def _kill(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # its group outlives it where it left something behind
    process.wait()


def leave(received: int, _: object) -> None:
    """A signal that ends this process as an exception does, so that what it started ends too."""
    raise SystemExit(128 + received)
