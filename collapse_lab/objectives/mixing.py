"""What changes a normalised batch and its labels before a classifier sees them: mixup, cutmix, random erasing.

All three are here and not among the data because the first two change the target with the image. They work on whole
batches on the device; the numbers that decide for a batch as a whole are drawn on the host, so nothing waits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from scipy.special import betaincinv
from torch import Tensor

from collapse_lab import draws
from collapse_lab.draws import Draws, Randomness

AREA = (0.02, 1 / 3)
ASPECT = (0.3, 1 / 0.3)
ATTEMPTS = 10
"""Erased rectangles: share of the image, height over width, and how often one that does not fit is drawn again."""


@dataclass(frozen=True, kw_only=True)
class Mixed:
    """`images`, of which `share` (a float in [0, 1]) is their own label's and the rest that of image `partner` (N,)."""

    images: Tensor
    partner: Tensor
    share: float


def mix(images: Tensor, mixup: float, cutmix: float, generator: Randomness) -> Mixed:
    """Mix every image with another of the batch, all by one share: by mixup, by cutmix, or by a fair coin's choice.

    `mixup` (Zhang et al. 2018) and `cutmix` (Yun et al. 2019) are the parameter of their Beta(a, a), 0 turns one off.
    The partners are a permutation of the batch that is given, so of one process: under several each mixes its own
    images. With `Draws` the share, the coin and the rectangle are functions of (seed, step), equal in all processes;
    the permutation is one of (seed, step, places of the images in the global batch).
    """
    partner = draws.uniform(generator, "mixing partner", len(images), 1, images.device)[:, 0].argsort()
    coin, quantile, down, right = _numbers(generator)
    by_cutmix = cutmix > 0 and (mixup <= 0 or coin < 0.5)
    alpha = cutmix if by_cutmix else mixup
    share = float(betaincinv(alpha, alpha, quantile))
    mixed, share = cut(images, partner, share, down, right) if by_cutmix else blend(images, partner, share)
    return Mixed(images=mixed, partner=partner, share=share)


def blend(images: Tensor, partner: Tensor, share: float) -> tuple[Tensor, float]:
    """share x image + (1 - share) x partner."""
    return images * share + images[partner] * (1 - share), share


def cut(images: Tensor, partner: Tensor, share: float, down: float, right: float) -> tuple[Tensor, float]:
    """The partner's pixels in a rectangle of the image's aspect and about 1 - share of its area; the share kept.

    `down` and `right` in [0, 1) place the rectangle's centre; what sticks out is cut off, and the returned share is
    that of the pixels that stayed.
    """
    height, width = images.shape[2:]
    side = math.sqrt(1 - share)
    top, bottom = _span(height, int(height * side), down)
    left, end = _span(width, int(width * side), right)
    mixed = images.clone()
    mixed[:, :, top:bottom, left:end] = images[partner, :, top:bottom, left:end]
    return mixed, 1 - (bottom - top) * (end - left) / (height * width)


def erase(images: Tensor, probability: float, generator: Randomness) -> Tensor:
    """Each image, with this probability, with normal noise in one rectangle (Zhong et al. 2020, pixel mode).

    Its area is uniform in AREA, the logarithm of its aspect in that of ASPECT; of ATTEMPTS draws the first that is
    smaller than the image counts, and where none is the image stays.
    """
    n, _, height, width = images.shape
    drawn = draws.uniform(generator, "erasing", n, 1 + 4 * ATTEMPTS, images.device)
    area, aspect, down, right = drawn[:, 1:].reshape(n, 4, ATTEMPTS).unbind(1)  # each (n, ATTEMPTS)
    area = (AREA[0] + area * (AREA[1] - AREA[0])) * height * width
    aspect = (math.log(ASPECT[0]) + aspect * math.log(ASPECT[1] / ASPECT[0])).exp()
    rows, columns = (area * aspect).sqrt().round(), (area / aspect).sqrt().round()
    fits = (rows < height) & (columns < width)
    first = fits.to(torch.int8).argmax(dim=1, keepdim=True)
    rows, columns, down, right = (value.gather(1, first) for value in (rows, columns, down, right))  # (n, 1)
    top, left = (down * (height - rows + 1)).floor(), (right * (width - columns + 1)).floor()
    chosen = (drawn[:, :1] < probability) & fits.any(dim=1, keepdim=True)
    y, x = torch.arange(height, device=images.device), torch.arange(width, device=images.device)
    across = (x >= left) & (x < left + columns)  # (n, width)
    inside = ((y >= top) & (y < top + rows) & chosen)[:, None, :, None] & across[:, None, None]
    return torch.where(inside, _noise(images, generator), images)


def _noise(images: Tensor, generator: Randomness) -> Tensor:
    """Normal numbers of the images' shape."""
    flat = draws.normal(generator, "erasing noise", len(images), images[0].numel(), images.device)
    return flat.to(images.dtype).reshape(images.shape)


def _numbers(generator: Randomness) -> list[float]:
    """Four numbers in [0, 1) for the batch as a whole."""
    if isinstance(generator, Draws):
        generator = Draws(seed=generator.seed, step=generator.step, index=torch.zeros(1, dtype=torch.long))
    return draws.uniform(generator, "mixing", 1, 4, torch.device("cpu"))[0].tolist()


def _span(length: int, size: int, place: float) -> tuple[int, int]:
    """From where to where `size` positions around int(place x length) reach, within `length`."""
    start = int(place * length) - size // 2
    return max(0, start), min(length, start + size)
