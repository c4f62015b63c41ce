"""Responses: what happens between the activation and the projection of a block. One module and one line each.

A response maps Features to Features; with removed cells filled up, `visible` (N, P) says which positions count.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from collapse_lab.registry import Registry
from collapse_lab.shapes import Features


class NoResponse(nn.Module):
    """ConvNeXt V1: the activation goes on unchanged. It has a site of its own, so that arms pair up."""

    def __init__(self, channels: int) -> None:
        super().__init__()

    def forward(self, x: Features, visible: Tensor | None = None) -> Features:
        return x


class GRN(nn.Module):
    """Global Response Normalisation (Woo et al. 2023, eq. 1-3): channels of one image compete.

    G[n, c] = L2 norm over the visible positions of image n;  N = G / (mean over channels of G + 1e-6);
    y = gamma * x * N + beta + x. The divisor is the mean over channels as in the official code, not the sum of eq. 2.
    gamma = beta = 0 at the start: the identity, bit for bit. An all-zero image keeps N = 0; the gradient there is 0.
    """

    eps = 1e-6

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(channels))
        self.beta = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Features, visible: Tensor | None = None) -> Features:
        if visible is not None:
            x = x * visible[:, :, None]  # what only fills up the tensor is never read again
        return _normalise(x, self.gamma, self.beta, self.eps)


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

RESPONSES: Registry[Callable[[int], nn.Module]] = Registry("response", {"none": NoResponse, "grn": GRN})
