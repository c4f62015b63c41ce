"""AdamW, which parameters decay, how fast each layer learns, and the schedule."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

Scale = Callable[[str], float]
"""Of a parameter by its name: what its learning rate is multiplied by."""


def parameter_groups(model: nn.Module, weight_decay: float, scale: Scale | None = None) -> list[dict[str, Any]]:
    """Weights that decay, and those that do not: norms, biases, GRN, LayerScale and the mask token.

    All of these are vectors here; everything with two or more axes is a weight. (The official pre-training decays GRN
    and the mask token too, its fine-tuning does not.) With `scale` there are two such groups for every value of it,
    which is their key "scale"; the smallest comes first.
    """
    named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    if scale is None:
        return _two([parameter for _, parameter in named], weight_decay)
    groups = []
    for each in sorted({scale(name) for name, _ in named}):
        own = _two([parameter for name, parameter in named if scale(name) == each], weight_decay)
        groups += [{**group, "scale": each} for group in own if group["params"]]
    return groups


def adamw(
    model: nn.Module, lr: float, betas: tuple[float, float], weight_decay: float, scale: Scale | None = None
) -> torch.optim.AdamW:
    """AdamW over these groups."""
    return torch.optim.AdamW(parameter_groups(model, weight_decay, scale), lr=lr, betas=betas, fused=True)


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Give every group this rate times its scale, or the rate itself where a group has none."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group.get("scale", 1.0)


def learning_rate(step: int, steps: int, warmup: int, peak: float, least: float = 0.0) -> float:
    """Of the step with this number, from 0: linear up to `peak` over `warmup` steps, then half a cosine to `least`.

    The first step already moves (peak / warmup, where the official code spends one step at 0), the last still does.
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    return least + (peak - least) * (1 + math.cos(math.pi * progress)) / 2


def _two(parameters: list[nn.Parameter], weight_decay: float) -> list[dict[str, Any]]:
    decay = [parameter for parameter in parameters if parameter.ndim >= 2]
    still = [parameter for parameter in parameters if parameter.ndim < 2]
    return [{"params": decay, "weight_decay": weight_decay}, {"params": still, "weight_decay": 0.0}]
