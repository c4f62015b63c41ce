"""Global Response Normalisation, the response of ConvNeXt V2, with its gradient written out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from collapse_lab.models.grid import Grid, data_only
from collapse_lab.models.responses.base import Response
from collapse_lab.shapes import Features


class GRN(Response):
    """y = gamma * x * N + beta + x, N = G / mean over channels of G, G = L2 norm over positions of one image.

    Woo et al. 2023, eq. 1-3: channels of one image compete. ImageNet 84.6 (83.7 without). G over visible positions
    alone needs no correction for their number: it cancels in N. The divisor is the mean over channels + 1e-6 as in the
    official code, not the sum of eq. 2 (footnote 1: scaled by the channel count).
    gamma = beta = 0 at the start: the identity, bit for bit. An all-zero image keeps N = 0; the gradient there is 0.
    """

    over = "image"
    identity = True
    top1 = 84.6
    eps = 1e-6

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.gamma = nn.Parameter(torch.zeros(channels))
        self.beta = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Features, grid: Grid | None = None) -> Features:
        return _normalise(data_only(x, grid), self.gamma, self.beta, self.eps)


def _energy(x: Features, eps: float) -> tuple[Tensor, Tensor]:
    """G (N, 1, C), and the divisor that makes it N (N, 1, 1)."""
    energy = x.square().sum(dim=1, keepdim=True).sqrt()
    return energy, energy.mean(dim=2, keepdim=True) + eps


class _Normalise(torch.autograd.Function):
    """GRN with its gradient written out: keeps one (N, P, C) tensor, passes over it twice in each direction."""

    @staticmethod
    def forward(ctx: Any, x: Features, gamma: Tensor, beta: Tensor, eps: float) -> Features:
        energy, divisor = _energy(x, eps)
        ctx.save_for_backward(x, gamma, energy, divisor)
        ctx.eps = eps
        return torch.addcmul(beta, x, 1 + gamma * energy / divisor)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, gamma, energy, divisor = ctx.saved_tensors
        if torch.is_grad_enabled():  # a second derivative must see that the energy depends on x
            energy, divisor = _energy(x, ctx.eps)
        share = energy / divisor
        by_scale = (gradient * x).sum(dim=1, keepdim=True)  # (N, 1, C)
        by_share = by_scale * gamma
        by_energy = (by_share - (by_share * share).mean(dim=2, keepdim=True)) / divisor
        pull = torch.where(energy > 0, by_energy / energy, 0)  # the root has no slope at an all-zero channel: take 0
        by_x = torch.addcmul(gradient * (1 + gamma * share), x, pull)
        return by_x, (by_scale * share).sum(dim=(0, 1)), gradient.sum(dim=(0, 1)), None


_normalise: Callable[[Features, Tensor, Tensor, float], Features] = _Normalise.apply
