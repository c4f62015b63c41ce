"""Two views of one image, for objectives that compare them: crop, flip, jitter and noise of a normalised batch.

They are here and not among the data because the training loop gives an objective one batch; this makes two of it, on
the device, without waiting for it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from collapse_lab import draws
from collapse_lab.draws import Draws, Randomness

ASPECT = 4 / 3
"""A box's width over height, each as a share of the image, lies between 1 / ASPECT and ASPECT."""


@dataclass(frozen=True, kw_only=True)
class Views:
    """How a view is made of a normalised image (N, C, H, W), every number drawn for each image by itself.

    `crop`: a box of this least to largest share of the image's area, uniform, at a uniform place, log-uniform in aspect
    as far as it fits, is scaled to the whole, bilinearly (it is never made smaller, so nothing is lost between pixels).
    `flip`: half of the images are mirrored. `jitter` j: contrast, the image's distance from its own mean, is multiplied
    by 1 - j to 1 + j, and brightness, -j to j in units of the normalised pixels, is added. `noise`: deviation of normal
    noise. crop = (1, 1) with the others off leaves an image as it is, up to rounding.

    What the papers do besides (hue, random grey, blur, solarisation) is left out. Raises ValueError for shares and
    strengths out of their range.
    """

    crop: tuple[float, float] = (0.2, 1.0)
    flip: bool = True
    jitter: float = 0.4
    noise: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.crop[0] <= self.crop[1] <= 1:
            raise ValueError(f"crop is a least and a largest share of the image's area, got {self.crop}")
        if not (0 <= self.jitter <= 1 and self.noise >= 0):
            raise ValueError(f"jitter lies between 0 and 1 and noise is 0 or more, got {self.jitter} and {self.noise}")

    @torch.no_grad()
    def of(self, images: Tensor, generator: Randomness) -> Tensor:
        """One view of each image, of the same shape and type: a function of the numbers that `generator` gives it."""
        drawn = draws.uniform(generator, "view", len(images), 7, images.device).double()
        box, (flip, contrast, brightness) = drawn[:, :4], drawn[:, 4:, None, None, None].unbind(1)  # (N, 1, 1, 1)
        seen = self._cropped(images, box, flip)
        centre = seen.mean(dim=(1, 2, 3), keepdim=True)
        factor = (1 + self.jitter * (2 * contrast - 1)).to(images.dtype)
        seen = (seen - centre) * factor + centre + (self.jitter * (2 * brightness - 1)).to(images.dtype)
        if self.noise:
            flat = draws.normal(generator, "view noise", len(images), images[0].numel(), images.device)
            seen = seen + self.noise * flat.to(images.dtype).reshape(images.shape)
        return seen

    def _cropped(self, images: Tensor, drawn: Tensor, flip: Tensor) -> Tensor:
        area, aspect, down, right = drawn.unbind(1)  # each (N,)
        area = self.crop[0] + area * (self.crop[1] - self.crop[0])
        widest = (-area.log()).clamp(max=math.log(ASPECT))  # at a larger aspect a box of this area would stick out
        aspect = ((2 * aspect - 1) * widest).exp()
        high, wide = (area / aspect).sqrt(), (area * aspect).sqrt()
        y = _line(down * (1 - high), high, images.shape[2])
        x = _line(right * (1 - wide), wide, images.shape[3])
        if self.flip:
            x = torch.where(flip[:, 0, 0] < 0.5, x.flip(1), x)
        shape = (len(images), *images.shape[2:])
        grid = torch.stack([x[:, None].expand(shape), y[:, :, None].expand(shape)], dim=-1).to(images.dtype)
        return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def _line(start: Tensor, length: Tensor, pixels: int) -> Tensor:
    """(N, pixels): centres of the pixels of a box's line, in grid_sample's units: -1 and 1 are the image's ends."""
    centres = (torch.arange(pixels, device=start.device) + 0.5) / pixels
    return 2 * (start[:, None] + length[:, None] * centres) - 1


def for_view(generator: Randomness, number: int) -> Randomness:
    """What a view draws from, so that two views of a sample have nothing in common: f(seed, "view 0", step, index).

    That holds for drop path too, which is drawn inside the encoder. A generator with a state goes on from it.
    """
    if not isinstance(generator, Draws):
        return generator
    return replace(generator, seed=draws.key(generator.seed, f"view {number}"))
