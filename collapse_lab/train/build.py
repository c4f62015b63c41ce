"""The network inside its objective, as a run begins."""

from __future__ import annotations

from collapse_lab.models.convnext import build_model
from collapse_lab.objectives.outcome import Objective
from collapse_lab.objectives.table import OBJECTIVES
from collapse_lab.train.config import ModelConfig, ObjectiveConfig


def build(model: ModelConfig, objective: ObjectiveConfig, seed: int) -> Objective:
    """The encoder inside its objective, with the initial values of `seed`."""
    settings = model.model_dump()
    settings["layer_scale"] = None if model.layer_scale == "none" else model.layer_scale
    make = OBJECTIVES[objective.name]  # before anything is drawn: an unknown name raises with the nearest one
    encoder = build_model(**settings, seed=seed)
    return make(encoder, **objective.model_dump(exclude={"name"}), seed=seed)
