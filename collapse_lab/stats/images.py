"""Sums over images of what lies inside one image: likeness of its channels and of its positions.

They use every present position whatever the rows are, at a cost of O(C P) an image; no C x C or P x P matrix is made.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

DEAD = 1e-6
"""A channel whose size is below this share of the largest channel's has no direction worth a cosine."""


@dataclass(frozen=True, kw_only=True)
class ImageSums:
    """Sums over images; each `n_...` says over how many: those where the quantity is defined.

    `channels_...` are mean cosines between the maps of two channels: `paper` over all C^2 pairs with zero maps as
    cosine 0, `live` and `centred` off the diagonal over the channels that have a direction. `positions` is the mean
    cosine between two positions. `spread` and `spread_pairs` are the image's square deviation from its own mean row
    over P and over P (P - 1); `mean` (C,) and `between` are the mean of the images' mean rows and the summed square
    distance from it, of the `n_spread` images that have two positions or more.
    """

    channels_paper: float = 0.0
    n_channels_paper: int = 0
    channels_live: float = 0.0
    n_channels_live: int = 0
    channels_centred: float = 0.0
    n_channels_centred: int = 0
    positions: float = 0.0
    n_positions: int = 0
    spread: float = 0.0
    spread_pairs: float = 0.0
    n_spread: int = 0
    between: float = 0.0
    mean: Tensor

    @staticmethod
    def none(channels: int, device: torch.device) -> ImageSums:
        return ImageSums(mean=torch.zeros(channels, dtype=torch.float64, device=device))

    def merge(self, other: ImageSums) -> ImageSums:
        """The sums over both sets of images."""
        n = max(1, self.n_spread + other.n_spread)
        step = other.mean - self.mean
        added = {each.name: getattr(self, each.name) + getattr(other, each.name) for each in fields(self)}
        added["between"] += (step @ step).item() * self.n_spread * other.n_spread / n
        added["mean"] = self.mean + step * (other.n_spread / n)
        return ImageSums(**added)


def image_sums(x: Tensor, present: Tensor, eps: float = 0.0) -> ImageSums:
    """The sums of one batch: `x` (N, P, C) float64, zero where `present` (N, P) is False; `eps` is its rounding."""
    held = present.sum(dim=1).to(x.dtype)  # (N,)
    several = held >= 2
    mean = x.sum(dim=1) / held.clamp(min=1)[:, None]  # (N, C)
    centred = (x - mean[:, None]) * present[:, :, None]
    size = x.norm(dim=1)  # (N, C), of each channel's map
    smallest = DEAD * size.amax(dim=1, keepdim=True)

    paper = _unit_sum(x, size, size > 0).square().sum(dim=1) / x.shape[2] ** 2
    live, n_live = _off_diagonal(_unit_sum(x, size, size > smallest), (size > smallest).sum(dim=1), several)
    centred_size = centred.norm(dim=1)
    moving = centred_size > torch.maximum(smallest, eps * size)
    apart, n_apart = _off_diagonal(_unit_sum(centred, centred_size, moving), moving.sum(dim=1), several)

    length = x.norm(dim=2)  # (N, P)
    alike, n_alike = _off_diagonal(_unit_sum(x.mT, length, length > 0), (length > 0).sum(dim=1), several)

    spread = centred.square().sum(dim=(1, 2))[several]
    middle = mean[several].mean(dim=0) if several.any() else x.new_zeros(x.shape[2])
    return ImageSums(
        channels_paper=paper[several].sum().item(),
        n_channels_paper=int(several.sum()),
        channels_live=live,
        n_channels_live=n_live,
        channels_centred=apart,
        n_channels_centred=n_apart,
        positions=alike,
        n_positions=n_alike,
        spread=(spread / held[several]).sum().item(),
        spread_pairs=(spread / (held * (held - 1))[several]).sum().item(),
        n_spread=int(several.sum()),
        between=(mean[several] - middle).square().sum().item(),
        mean=middle,
    )


def _unit_sum(x: Tensor, size: Tensor, kept: Tensor) -> Tensor:
    """(N, A): the sum over the last axis B of x (N, A, B) divided by `size` (N, B), of those B that are kept."""
    scale = torch.where(kept, 1 / size, 0.0)
    return torch.einsum("nab,nb->na", x, scale)


def _off_diagonal(total: Tensor, count: Tensor, several: Tensor) -> tuple[float, int]:
    """Mean cosine between two different unit vectors, summed over images with two of them; from their sum `total`."""
    defined = several & (count >= 2)
    n = count[defined].to(total.dtype)
    cosine = (total[defined].square().sum(dim=1) - n) / (n * (n - 1))
    return cosine.sum().item(), int(defined.sum())
