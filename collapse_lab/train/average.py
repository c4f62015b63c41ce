"""A running average of the weights, which often generalises better than the newest ones."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class Average:
    """After t steps decay^t w_0 + (1 - decay) sum_k decay^(t - k) w_k, of every parameter and floating buffer.

    It starts at the weights it is made with, as the official code does, without a bias correction. Other buffers
    (counters) are copied. `state` has the names of the module's own state.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        if not 0 < decay < 1:
            raise ValueError(f"the decay of an average lies between 0 and 1, got {decay}")
        self.decay = decay
        self.state: dict[str, Tensor] = {name: value.detach().clone() for name, value in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Take in the weights after a step."""
        now = module.state_dict()
        floating = [name for name, value in self.state.items() if value.is_floating_point()]
        averages, weights = [self.state[name] for name in floating], [now[name] for name in floating]
        torch._foreach_lerp_(averages, weights, 1 - self.decay)
        for name in self.state.keys() - set(floating):
            self.state[name].copy_(now[name])

    def state_dict(self) -> dict[str, Tensor]:
        """The averages, by the names of the module's own state."""
        return dict(self.state)

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a saved state; raises ValueError for one of another module."""
        if state.keys() != self.state.keys():
            raise ValueError(f"an average of {len(state)} tensors is not one of these {len(self.state)}")
        for name, value in self.state.items():
            value.copy_(state[name])
