"""AdamW and its schedule."""

from __future__ import annotations

import math

import torch
from torch import nn


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Weights that decay, and those that do not: norms, biases, GRN, LayerScale and the mask token.

    All of these are vectors here; everything with two or more axes is a weight.
    """
    decay = [parameter for parameter in model.parameters() if parameter.requires_grad and parameter.ndim >= 2]
    still = [parameter for parameter in model.parameters() if parameter.requires_grad and parameter.ndim < 2]
    return [{"params": decay, "weight_decay": weight_decay}, {"params": still, "weight_decay": 0.0}]


def adamw(model: nn.Module, lr: float, betas: tuple[float, float], weight_decay: float) -> torch.optim.AdamW:
    """AdamW over both groups."""
    return torch.optim.AdamW(parameter_groups(model, weight_decay), lr=lr, betas=betas, fused=True)


def learning_rate(step: int, steps: int, warmup: int, peak: float) -> float:
    """Of the step with this number, from 0: linear up to `peak` over `warmup` steps, then half a cosine towards 0.

    The first step already moves (peak / warmup, where the official code spends one step at 0), the last still does.
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    return peak * (1 + math.cos(math.pi * progress)) / 2
