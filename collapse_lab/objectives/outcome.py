"""What an objective returns."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A scalar loss to descend and further scalars worth logging; all tensors, nothing is read from the device."""

    loss: Tensor
    metrics: dict[str, Tensor] = field(default_factory=dict)
