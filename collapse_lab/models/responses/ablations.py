"""Global Response Normalisation with one part exchanged, and its parts alone; gradients by autograd.

Numbers and letters are those of the GRN ablation of Woo et al. 2023; the rows of parts alone are its table 16. Where
the paper leaves a formula open, the docstring says which reading stands here.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from collapse_lab.models.grid import Grid, data_only
from collapse_lab.models.responses.base import Reach, Response, average
from collapse_lab.shapes import Features

EPS = 1e-6


def _length(x: Features, dim: int | tuple[int, int]) -> Tensor:
    """L2 norm; its gradient is 0 where all are 0."""
    length: Tensor = torch.linalg.vector_norm(x, dim=dim, keepdim=True)
    return length


class GRNVariant(Response):
    """y = gamma * x * N + beta + x: GRN by autograd, whose parts its subclasses exchange.

    gamma = beta = 0 at the start: the identity, bit for bit, unless there is no residual.
    """

    over: ClassVar[Reach] = "image"
    identity = True
    residual: ClassVar[bool] = True

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.gamma = nn.Parameter(torch.full((channels,), 0.0 if self.residual else 1.0))
        self.beta = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Features, grid: Grid | None = None) -> Features:
        x = data_only(x, grid)
        gain = self.gamma * self.normalise(self.aggregate(x, grid))
        return torch.addcmul(self.beta, x, gain + 1 if self.residual else gain)

    def aggregate(self, x: Features, grid: Grid | None) -> Tensor:
        """G (N, 1, C), or (1, 1, C) for the whole batch; `x` is zero where a position only fills up."""
        return _length(x, dim=1)

    def normalise(self, energy: Tensor) -> Tensor:
        """N, which spreads to the shape of G."""
        return energy / (energy.mean(dim=2, keepdim=True) + EPS)


class GRNBatch(GRNVariant):
    """y = gamma * x * N + beta + x, N = G / mean G, G = L2 norm over the positions of all images of the batch.

    The official sparse encoder in pre-training (issue 86 of ConvNeXt-V2), for comparison: what comes out for an image
    depends on the others of its batch, their number and, with several processes, on the process. Fine-tuning and
    inference of the official code are per image: load such weights with `grn`. No number is reported for it.
    """

    over = "batch"

    def aggregate(self, x: Features, grid: Grid | None) -> Tensor:
        return _length(x, dim=(0, 1))


class GRNAvg(GRNVariant):
    """y = gamma * x * N + beta + x, N = G / mean G, G = mean over positions of x, with its sign.

    Ablation (a), ImageNet 83.7. The number of visible positions cancels in N (but for the 1e-6). Signed means may
    cancel over channels, too: then the divisor comes near 0 and N is large; no bound is put on it.
    """

    top1 = 83.7

    def aggregate(self, x: Features, grid: Grid | None) -> Tensor:
        return average(x, grid)


class GRNL1(GRNVariant):
    """y = gamma * x * N + beta + x, N = G / mean G, G = sum over positions of |x|.

    Ablation (a), ImageNet 84.3. The number of visible positions cancels in N.
    """

    top1 = 84.3

    def aggregate(self, x: Features, grid: Grid | None) -> Tensor:
        return x.abs().sum(dim=1, keepdim=True)


class GRNStandardise(GRNVariant):
    """y = gamma * x * N + beta + x, N = (G - mean G) / (std G + 1e-6), G = L2 norm over positions.

    Ablation (b), ImageNet 84.5. Mean and deviation over the channels of one image, the deviation biased (divided by C;
    the paper does not say). The number of visible positions cancels. Channels of equal G, and an all-zero image: N = 0.
    """

    top1 = 84.5

    def normalise(self, energy: Tensor) -> Tensor:
        spread, middle = torch.std_mean(energy, dim=2, keepdim=True, correction=0)
        return (energy - middle) / (spread + EPS)  # the gradient of std is 0 where all are equal


class GRNInverseSum(GRNVariant):
    """y = gamma * x * N + beta + x, N = 1 / (mean G + 1e-6), G = L2 norm over positions.

    Ablation (b), "1 / sum", ImageNet 83.8; the mean in place of the sum as everywhere in the official code. All
    channels of an image are divided by one number, so they do not compete. Here the number of visible positions does
    not cancel: N falls with its root. An all-zero image has N = 1e6, times x = 0.
    """

    top1 = 83.8

    def normalise(self, energy: Tensor) -> Tensor:
        return 1 / (energy.mean(dim=2, keepdim=True) + EPS)


class GRNNoResidual(GRNVariant):
    """y = gamma * x * N + beta, N = G / mean G, G = L2 norm over positions.

    Ablation (c), ImageNet 84.0. Not the identity: gamma = 1 and beta = 0 at the start (the paper does not say), since
    with gamma = 0 nothing but gamma would have a gradient in the first step.
    """

    identity = False
    residual = False
    top1 = 84.0


class Affine(Response):
    """y = gamma * x + beta + x.

    Table 16, affine alone, ImageNet 83.9: GRN with N = 1. gamma = beta = 0 at the start: the identity, bit for bit.
    """

    identity = True
    top1 = 83.9

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.gamma = nn.Parameter(torch.zeros(channels))
        self.beta = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Features, grid: Grid | None = None) -> Features:
        return torch.addcmul(self.beta, data_only(x, grid), 1 + self.gamma)


class TimesG(Response):
    """y = x * G, G = L2 norm over positions of one image.

    Table 16, X * G(X), ImageNet 83.9; read as written: no normalisation, no gamma and beta, no residual. Not the
    identity, and not of the size of x: G grows with the root of the number of visible positions.
    """

    over = "image"
    top1 = 83.9

    def forward(self, x: Features, grid: Grid | None = None) -> Features:
        x = data_only(x, grid)
        return x * _length(x, dim=1)


class TimesN(Response):
    """y = x * N, N = x / (mean over channels of x + 1e-6), at each position alone.

    Table 16, X * N(X), reported as unstable; read as written: N of x itself with nothing aggregated, no gamma and
    beta, no residual. The divisor has a sign and no bound below, which is a reason to be unstable. Not the identity.
    """

    over = "position"

    def forward(self, x: Features, grid: Grid | None = None) -> Features:
        x = data_only(x, grid)
        return x.square() / (x.mean(dim=2, keepdim=True) + EPS)
