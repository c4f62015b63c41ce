"""The learning methods by name."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from collapse_lab.objectives.fcmae import FCMAE
from collapse_lab.registry import Registry

OBJECTIVES: Registry[Callable[..., nn.Module]] = Registry("objective", {"fcmae": FCMAE})
"""An objective is a module `objective(images, labels=None, *, generator=None) -> Outcome` around an encoder."""
