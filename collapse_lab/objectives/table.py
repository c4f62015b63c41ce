"""The learning methods by name."""

from __future__ import annotations

from collections.abc import Callable

from collapse_lab.objectives.fcmae import FCMAE
from collapse_lab.objectives.mae import MAE
from collapse_lab.objectives.outcome import Objective
from collapse_lab.objectives.pretext import Colorization, Rotation
from collapse_lab.objectives.siamese import SimSiam, VICReg
from collapse_lab.objectives.supervised import Supervised
from collapse_lab.registry import Registry

OBJECTIVES: Registry[Callable[..., Objective]] = Registry(
    "objective",
    {
        "fcmae": FCMAE,
        "mae": MAE,
        "supervised": Supervised,
        "rotation": Rotation,
        "colorization": Colorization,
        "simsiam": SimSiam,
        "vicreg": VICReg,
    },
)
"""Built as `OBJECTIVES[name](encoder, **options, seed=seed)`."""
