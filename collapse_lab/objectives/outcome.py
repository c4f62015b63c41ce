"""What an objective is, and what it returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor, nn

from collapse_lab.models.encoder import Encoder


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A scalar loss to descend and further scalars worth logging; all tensors, nothing is read from the device."""

    loss: Tensor
    metrics: dict[str, Tensor] = field(default_factory=dict)


class Objective(nn.Module):
    """A module around an encoder: `objective(images, labels=None, *, generator=None) -> Outcome`."""

    encoder: Encoder
    least_images: ClassVar[int] = 1
    """How many images a training step must have at once, in one process and one part of a batch."""
