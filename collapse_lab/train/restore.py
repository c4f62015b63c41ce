"""A trained objective as it was: the encoder, and what it learned with."""

from __future__ import annotations

from pathlib import Path

import torch

from collapse_lab.objectives.outcome import Objective
from collapse_lab.runs import Run
from collapse_lab.train.build import build
from collapse_lab.train.checkpoint import checkpoint_of
from collapse_lab.train.config import load_config


def load_objective(uri: str | Path, step: int | None = None) -> tuple[Objective, int]:
    """The objective of a run folder, in eval mode, and the step it stands at: `step`, or its newest whole checkpoint.

    For the encoder alone there is `load_model`. Raises FileNotFoundError for no run or no such checkpoint, ValueError
    for one that is torn or does not hold what the run's config.toml describes.
    """
    run = Run(Path(uri))
    run.read()
    config = load_config(run.config)
    payload = checkpoint_of(run, step)
    with torch.device("meta"):
        objective = build(config.model, config.objective, config.seed)
    try:
        objective.load_state_dict(payload["model"], assign=True)
    except (RuntimeError, KeyError) as error:
        raise ValueError(
            f"the checkpoint of step {payload.get('step')} does not hold the objective "
            f"{config.objective.name!r} that {run.config} describes: {error}"
        ) from None
    return objective.eval(), int(payload["step"])
