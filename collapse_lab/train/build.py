"""The network inside its objective, as a run begins."""

from __future__ import annotations

from collapse_lab.models.build import build_model
from collapse_lab.models.convnext import SIZES
from collapse_lab.models.responses.table import RESPONSES
from collapse_lab.objectives.outcome import Objective
from collapse_lab.objectives.table import OBJECTIVES
from collapse_lab.train.config import ModelConfig
from collapse_lab.train.methods import ObjectiveConfig


def build(model: ModelConfig, objective: ObjectiveConfig, seed: int) -> Objective:
    """The encoder inside its objective, with the initial values of `seed`."""
    unsaid = [name for name in ("response", "layer_scale") if getattr(model, name) == "published"]
    if model.name in SIZES and SIZES[model.name].published is None and unsaid:
        known = {
            "response": f"model.response ({', '.join(RESPONSES)})",
            "layer_scale": 'model.layer_scale (a number or "none")',
        }
        say = " and ".join(known[name] for name in unsaid)
        raise ValueError(
            f"{model.name} is no published model, so the configuration must say {say}; "
            f"every recipe does, see 'collapse-lab list recipes'"
        )
    settings = model.model_dump()
    settings["layer_scale"] = None if model.layer_scale == "none" else model.layer_scale
    make = OBJECTIVES[objective.name]  # before anything is drawn: an unknown name raises with the nearest one
    encoder = build_model(**settings, seed=seed)
    return make(encoder, **objective.model_dump(exclude={"name"}), seed=seed)
