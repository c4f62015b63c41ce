"""Feature gating in the place of GRN: ablation (e) of Woo et al. 2023. Gates lie between 0 and 1.

Reduction 16, the original papers' default, on the 4C channels of a block gives ConvNeXt-B 109.5M parameters; the paper
prints 109M. The layers have no biases, as in the formulas.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from collapse_lab.models.grid import Grid, data_only
from collapse_lab.models.responses.base import Response, average
from collapse_lab.shapes import Features

REDUCTION = 16


class _ChannelGate(Response):
    over = "image"

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.reduce = nn.Linear(channels, max(1, channels // REDUCTION), bias=False)
        self.excite = nn.Linear(self.reduce.out_features, channels, bias=False)

    def bottleneck(self, pooled: Features) -> Features:
        """W2 relu(W1 z) of each pooled z: (N, any, C)."""
        excited: Features = self.excite(F.relu(self.reduce(pooled)))
        return excited


class SE(_ChannelGate):
    """y = x * s, s = sigmoid(W2 relu(W1 z)), z = mean over positions of one image; W1 is C / 16 x C.

    Squeeze and excitation (Hu et al. 2018). ImageNet 84.4 (109M parameters, GRN 89M). Not the identity: small weights
    put s near 1/2 at the start. Below 16 channels are reduced to 1. An image of which nothing is visible has z = 0.
    """

    top1 = 84.4

    def forward(self, x: Features, grid: Grid | None = None) -> Features:
        x = data_only(x, grid)
        return x * self.bottleneck(average(x, grid)).sigmoid()


class CBAM(_ChannelGate):
    """y = c * sigmoid(conv7x7(mean, max over channels of c)), c = x * sigmoid(M(mean) + M(max over positions of x)).

    Convolutional block attention module (Woo et al. 2018): channels, then positions; M(z) = W2 relu(W1 z) as in `SE`.
    ImageNet 84.5 (109M parameters, GRN 89M). Not the identity: small weights put y near x / 4 at the start. An image of
    which nothing is visible has mean and max 0. The convolution reads removed neighbours as 0, and needs the grid to
    find them: ValueError without one.
    """

    top1 = 84.5

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.spatial = nn.Parameter(torch.zeros(2, 1, 7, 7))  # the two planes of a 2 -> 1 convolution

    def forward(self, x: Features, grid: Grid | None = None) -> Features:
        if grid is None:
            raise ValueError("cbam looks at neighbouring positions: give it the grid, e.g. AllPositions(height, width)")
        x = data_only(x, grid)
        pooled = torch.cat([average(x, grid), _largest(x, grid)], dim=1)  # (N, 2, C)
        x = x * self.bottleneck(pooled).sum(dim=1, keepdim=True).sigmoid()
        planes = torch.stack([x.mean(dim=2), x.amax(dim=2)], dim=2)  # (N, P, 2)
        # A convolution from 2 planes to 1 is a depthwise one, summed: so the sparse grid carries it out as well.
        convolved = grid.depthwise(planes, self.spatial, self.spatial.new_zeros(2))
        return x * convolved.sum(dim=2, keepdim=True).sigmoid()


def _largest(x: Features, grid: Grid) -> Tensor:
    """(N, 1, C), the maximum over the visible positions of each image; 0 where there is none."""
    visible = grid.visible
    if visible is None:
        return x.amax(dim=1, keepdim=True)
    largest = x.masked_fill(~visible[:, :, None], -torch.inf).amax(dim=1, keepdim=True)
    return largest.masked_fill(~visible.any(dim=1)[:, None, None], 0)
