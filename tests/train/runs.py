"""A training run of a second, and what a run comes to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from collapse_lab.runs import Run
from collapse_lab.train.checkpoint import load_checkpoint
from collapse_lab.train.config import Config, make_config
from collapse_lab.train.nested import merged

SETTINGS: dict[str, Any] = {
    "steps": 8,
    "log_every": 2,
    "threads": 1,
    "device": "cpu",
    "model": {"response": "grn", "layer_scale": "none", "drop_path": 0.1},
    "objective": {"decoder_dim": 8},
    "data": {"batch": 4, "size": 16},
    "optim": {"lr": 1e-3, "warmup": 2},
    "save": {"every": 3, "keep": 2},
}


def tiny(out: Path, **changes: Any) -> Config:
    """The small run in `out`, with changes laid over it."""
    return make_config(merged({**SETTINGS, "out": str(out)}, changes))


def final_state(path: Path) -> dict[str, Tensor]:
    """Every tensor of the newest checkpoint, also the optimiser's."""
    payload = load_checkpoint(list(Run(path).checkpoints().values())[-1])
    moments = {
        f"{place} {name}": value
        for place, values in payload["optimizer"]["state"].items()
        for name, value in values.items()
    }
    return {**payload["model"], **moments}
