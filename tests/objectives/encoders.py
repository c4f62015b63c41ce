"""Encoders as objectives see them: a small real one, and one whose features are known."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from collapse_lab.models.build import build_model
from collapse_lab.models.encoder import Encoder


def small(seed: int = 0, **settings: object) -> Encoder:
    """A real encoder of 8 channels in float64, cells of 8 x 8 pixels."""
    model = build_model("convnext_digits", response="grn", layer_scale=None, widths=(4, 4, 8), seed=seed, **settings)
    return model.double()


class Quadrants(nn.Module):
    """Four channels: the mean of each quadrant, row by row. It remembers the images that it was given."""

    channels, stride, in_channels = 4, 8, 3

    def forward_features(self, images: Tensor, *, generator: object = None) -> Tensor:
        """(N, 3, S, S) -> (N, 4, 1, 1)."""
        self.seen = images
        return F.adaptive_avg_pool2d(images.mean(dim=1, keepdim=True), 2).flatten(1)[:, :, None, None]


def pictures(count: int = 4, side: int = 16, seed: int = 0) -> Tensor:
    """(count, 3, side, side) normal numbers in float64."""
    return torch.randn(count, 3, side, side, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
