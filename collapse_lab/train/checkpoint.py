"""Checkpoints: tensors and plain values only, written atomically with a checksum, read without executing anything."""

from __future__ import annotations

import io
import pickle
import warnings
from pathlib import Path
from typing import IO, Any, cast

import torch

from collapse_lab.runs import Run, checksum, write_atomically, write_text
from collapse_lab.train.config import SaveConfig


def save_checkpoint(run: Run, step: int, payload: dict[str, Any]) -> Path:
    """Write `payload` as the checkpoint of `step`; a reader finds the old file or the new one, never half of it."""
    path = run.checkpoint(step)

    def write(part: Path) -> None:
        with part.open("wb", buffering=0) as file:
            kept = _Kept(file)
            try:
                torch.save(payload, cast("IO[bytes]", kept))
            except RuntimeError as error:
                raise (kept.fault or error) from None
        write_text(_sum(path), checksum(part) + "\n")  # before the rename: no moment has a file without its sum

    write_atomically(path, write)
    return path


def write_some(file: io.RawIOBase, data: memoryview) -> int:
    """How many bytes the system took."""
    return file.write(data) or 0


class _Kept(io.RawIOBase):
    """A file that remembers its fault (a full disk): torch ends a file all the same, and complains of that instead."""

    def __init__(self, file: io.RawIOBase) -> None:
        self._file = file
        self.fault: OSError | None = None

    def write(self, data: Any) -> int:
        whole = memoryview(data).cast("B")
        written = 0
        while written < len(whole):  # the system may take part of it
            try:
                written += write_some(self._file, whole[written:])
            except OSError as error:
                self.fault = error
                raise
        return written


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read one checkpoint onto the CPU; raises ValueError when its bytes are not those that were written."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no checkpoint {path}")
    recorded = _sum(path)
    if not recorded.is_file():
        raise ValueError(
            f"the checkpoint {path} has no checksum {recorded.name} beside it; copy both files, or train again"
        )
    if recorded.read_text(encoding="utf-8").strip() != checksum(path):
        raise ValueError(f"the checkpoint {path} is torn: its checksum is not the recorded one")
    try:
        payload: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ValueError(f"the checkpoint {path} cannot be read: {error}") from None
    return payload


def newest_checkpoint(run: Run) -> dict[str, Any] | None:
    """The newest whole checkpoint, passing over torn ones with a warning; None when there are none.

    Raises ValueError when there are, and none of them is whole.
    """
    torn = []
    for path in reversed(run.checkpoints().values()):
        try:
            return load_checkpoint(path)
        except ValueError as error:
            torn.append(error)
            warnings.warn(f"{error}; trying the one before", stacklevel=2)
    if torn:
        raise ValueError(
            f"none of the {len(torn)} checkpoints of {run.path} is whole: {torn[0]}; "
            f"bring one back from a copy, or begin again in another folder"
        )
    return None


def checkpoint_of(run: Run, step: int | None = None) -> dict[str, Any]:
    """The checkpoint of `step`, or the newest whole one; raises FileNotFoundError with the steps there are.

    Raises ValueError where it is torn.
    """
    found = run.checkpoints()
    if step is not None and step not in found:
        steps = ", ".join(map(str, found)) or "none"
        raise FileNotFoundError(f"{run.path} has no checkpoint of step {step}, only of: {steps}; put it in save.at")
    payload = newest_checkpoint(run) if step is None else load_checkpoint(found[step])
    if payload is None:
        raise FileNotFoundError(
            f"the run {run.path} has no whole checkpoint yet; train it first ('collapse-lab train')"
        )
    return payload


def prune_checkpoints(run: Run, step: int, save: SaveConfig) -> None:
    """Of the checkpoints up to `step`, delete all but the newest `save.keep` and those that last.

    Later ones can only be torn ones that a resumed run passed over: they must not push out a whole one.
    """
    found = run.checkpoints()
    passing = [number for number in found if number <= step and not save.lasting(number)]
    for number in passing[: max(0, len(passing) - save.keep)]:
        found[number].unlink()
        _sum(found[number]).unlink(missing_ok=True)


def sweep_parts(run: Run) -> None:
    """Delete what a killed writer left half-written; only the holder of the run's lock may."""
    for folder in (run.path, run.path / "checkpoints"):
        for part in folder.glob(".*.part"):
            part.unlink(missing_ok=True)


def is_checkpoint(path: Path) -> bool:
    """Whether a file is one that `save_checkpoint` wrote, judged by what lies around it: it may be torn inside."""
    in_run = path.parent.name == "checkpoints" and Run(path.parent.parent).exists()
    return path.is_file() and path.match("step-*.pt") and (in_run or _sum(path).is_file())


def _sum(path: Path) -> Path:
    return path.with_suffix(".sha256")
