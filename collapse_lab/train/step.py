"""One step of training: gradients, their norm, the update, or nothing of a bad step. Nothing waits for the device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from collapse_lab.objectives.outcome import Outcome
from collapse_lab.train.optim import set_learning_rate

Part = TypeVar("Part")


def gradients(network: nn.Module, forward: Callable[[Part], Outcome], parts: Sequence[Part]) -> dict[str, Tensor]:
    """Leave the gradient of the average loss over `parts`, which are of one size, in the parameters.

    `forward` calls `network` on one part. Ranks exchange their gradients once, with the last part. Returns the loss
    and the objective's metrics as averages over the parts: scalars on the device, this rank's alone.
    """
    outcomes = []
    for number, part in enumerate(parts, 1):
        last = number == len(parts)
        with nullcontext() if last or not isinstance(network, DistributedDataParallel) else network.no_sync():
            outcome = forward(part)
            (outcome.loss / len(parts)).backward()
        outcomes.append({"loss": outcome.loss.detach()} | {name: v.detach() for name, v in outcome.metrics.items()})
    return {name: torch.stack([each[name] for each in outcomes]).mean(dim=0) for name in outcomes[0]}


def clipped(module: nn.Module, largest: float) -> Tensor:
    """The norm of all gradients together, which are then scaled down to `largest` where that is above 0."""
    parameters = [parameter for parameter in module.parameters() if parameter.grad is not None]
    norm = torch.nn.utils.get_total_norm([parameter.grad for parameter in parameters if parameter.grad is not None])
    if largest > 0:
        torch.nn.utils.clip_grads_with_norm_(parameters, largest, norm)
    return norm


class Buffers:
    """What a forward pass changes besides weights, running statistics: kept before a step, to be put back after it."""

    def __init__(self, module: nn.Module) -> None:
        self._buffers = list(module.buffers())
        self._before: list[Tensor] = []

    def keep(self) -> None:
        """Remember them as they are."""
        self._before = [buffer.detach().clone() for buffer in self._buffers]

    @torch.no_grad()
    def undo(self, bad: Tensor) -> None:
        """Put back what was kept where `bad` is True, which is not read here."""
        for buffer, before in zip(self._buffers, self._before, strict=True):
            buffer.copy_(torch.where(bad, before, buffer))


def update(optimizer: torch.optim.Optimizer, lr: float, bad: Tensor) -> None:
    """One step of a fused optimiser at this rate, or none where `bad` is True, which is not read here."""
    set_learning_rate(optimizer, lr)
    # What a gradient scaler sets: the fused kernel itself leaves everything as it is, its count of steps too.
    optimizer.found_inf = bad.float()  # type: ignore[attr-defined]
    optimizer.step()
