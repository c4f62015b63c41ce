"""Memory to write intermediate numbers into, kept from batch to batch: fresh pages cost more than the arithmetic."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class Scratch:
    """Tensors by name, float64. What was taken under a name is written over by whoever takes it next."""

    def __init__(self) -> None:
        self._held: dict[tuple[str, torch.device], Tensor] = {}

    def take(self, name: str, shape: Sequence[int], like: Tensor) -> Tensor:
        """A tensor of this shape where `like` lies; its values are left over from earlier."""
        count = torch.Size(shape).numel()
        held = self._held.get((name, like.device))
        if held is None or held.numel() < count:
            held = self._held[name, like.device] = like.new_empty(count, dtype=torch.float64)
        return held[:count].view(*shape)

    def doubled(self, name: str, values: Tensor) -> Tensor:
        """`values` in float64: themselves, or a copy under this name."""
        if values.dtype == torch.float64:
            return values
        return self.take(name, values.shape, values).copy_(values)
