"""Checkpoints: tensors and plain values only, written atomically with a checksum, read without executing anything."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import torch

from collapse_lab.runs import Run, checksum, write_atomically, write_text


def save_checkpoint(run: Run, step: int, payload: dict[str, Any]) -> Path:
    """Write `payload` as the checkpoint of `step`; a reader finds the old file or the new one, never half of it."""
    path = run.checkpoint(step)
    write_atomically(path, lambda part: torch.save(payload, part))
    write_text(_sum(path), checksum(path) + "\n")
    return path


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read one checkpoint onto the CPU; raises ValueError when its bytes are not those that were written."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no checkpoint {path}")
    recorded = _sum(path)
    if not recorded.is_file() or recorded.read_text().strip() != checksum(path):
        raise ValueError(f"the checkpoint {path} is torn: its checksum is not the recorded one; delete it and use another step")
    try:
        payload: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ValueError(f"the checkpoint {path} cannot be read: {error}") from None
    return payload


def newest_checkpoint(run: Run) -> dict[str, Any] | None:
    """The newest whole checkpoint, passing over torn ones with a warning; None when there is none."""
    for path in reversed(run.checkpoints().values()):
        try:
            return load_checkpoint(path)
        except ValueError as error:
            warnings.warn(f"{error}; trying the one before", stacklevel=2)
    return None


def prune_checkpoints(run: Run, keep: int, at: tuple[int, ...]) -> None:
    """Delete all but the newest `keep` and those of the steps `at`."""
    found = run.checkpoints()
    passing = [step for step in found if step not in at]
    for step in passing[: max(0, len(passing) - keep)]:
        found[step].unlink()
        _sum(found[step]).unlink(missing_ok=True)


def _sum(path: Path) -> Path:
    return path.with_suffix(".sha256")
