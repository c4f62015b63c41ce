"""The classic normalisations in the place of GRN: ablation (d) of Woo et al. 2023. None starts as the identity."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from collapse_lab.models.grid import Grid, data_only
from collapse_lab.models.responses.base import Response, counts
from collapse_lab.shapes import Features


class LRN(Response):
    """y = x / (1 + 1e-4 * mean of x^2 over 5 neighbouring channels)^0.75, at each position alone.

    Local response normalisation (Krizhevsky et al. 2012) with the settings of torch.nn.LocalResponseNorm(5): a mean in
    place of their sum, 1 in place of their 2; channels beyond the first and last count as 0. ImageNet 83.2 (the
    settings are not reported). Not the identity, but near it for |x| far below 100.
    """

    over = "position"
    top1 = 83.2
    size, alpha, power = 5, 1e-4, 0.75

    def forward(self, x: Features, grid: Grid | None = None) -> Features:
        x = data_only(x, grid)
        energy = F.avg_pool1d(x.square(), self.size, stride=1, padding=self.size // 2)  # (N, P, C), over channels
        return x / (1 + self.alpha * energy) ** self.power


class LN(Response):
    """y = weight * (x - mean) / sqrt(variance + 1e-6) + bias, over the channels of each position.

    Layer normalisation (Ba et al. 2016), biased variance. ImageNet 83.8. Not the identity: weight = 1 and bias = 0 at
    the start. Equal channels give the bias.
    """

    over = "position"
    top1 = 83.8
    eps = 1e-6

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Features, grid: Grid | None = None) -> Features:
        return F.layer_norm(data_only(x, grid), self.weight.shape, self.weight, self.bias, self.eps)


class BN(Response):
    """y = weight * (x - mean) / sqrt(variance + 1e-5) + bias, of each channel over all visible rows of the batch.

    Batch normalisation (Ioffe & Szegedy 2015). ImageNet 80.5. Not the identity: weight = 1 and bias = 0 at the start.
    Biased variance in training; in eval mode the running mean and unbiased variance, which each batch moves by a
    tenth: torch.nn.BatchNorm1d on the visible rows. A batch of one visible row gives the bias where torch raises; it
    and a batch of none leave what is running as it was. Half precision is normalised in float32. Statistics are those
    of one process: there is no SyncBN.
    """

    over = "batch"
    top1 = 80.5
    eps, momentum = 1e-5, 0.1
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Features, grid: Grid | None = None) -> Features:
        rows = data_only(x, grid)
        rows = rows.float() if rows.dtype in (torch.float16, torch.bfloat16) else rows
        mean, variance = self._of_batch(rows, grid) if self.training else (self.running_mean, self.running_var)
        scale = self.weight * (variance + self.eps).rsqrt()
        return torch.addcmul(self.bias, rows - mean, scale).to(x.dtype)

    def _of_batch(self, rows: Features, grid: Grid | None) -> tuple[Tensor, Tensor]:
        """Mean and biased variance (C,), which also move the running ones; sums, so that shapes stay static."""
        count = counts(rows, grid).sum()
        mean = rows.sum(dim=(0, 1)) / count.clamp(min=1)
        squares = data_only(rows - mean, grid).square().sum(dim=(0, 1))
        with torch.no_grad():
            share = self.momentum * (count > 1).to(self.running_mean.dtype)
            unbiased = squares / (count - 1).clamp(min=1)
            self.running_mean.lerp_(mean.to(share.dtype), share)
            self.running_var.lerp_(unbiased.to(share.dtype), share)
        return mean, squares / count.clamp(min=1)
