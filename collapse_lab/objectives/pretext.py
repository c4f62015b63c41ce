"""Pretext tasks, whose targets are made of the images themselves: which way up, and which colour."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from collapse_lab import draws
from collapse_lab.draws import Randomness
from collapse_lab.models.block import initialise, layer_norm
from collapse_lab.models.encoder import Encoder
from collapse_lab.objectives.outcome import Objective, Outcome
from collapse_lab.objectives.pixels import patches

TURNS = 4
"""Quarter turns, counter-clockwise: the class k is a turn by k x 90 degrees."""


class Rotation(Objective):
    """Say by how many quarter turns an image was turned: 4 classes, cross entropy (Gidaris et al. 2018).

    Norm and linear layer on features averaged over positions; they are the objective's own, no head of the network.
    While it trains every image is turned once, by a turn that is f(seed, "turn", step, index), where the paper shows
    all four of each. In eval mode all four are judged: the loss is their mean, `top1` the share of (image, turn) that
    are told. Of images that look the same when turned it cannot be above chance. Labels are not needed.
    """

    def __init__(self, encoder: Encoder, *, seed: int = 0) -> None:
        super().__init__()
        self.encoder = encoder
        self.norm = layer_norm(encoder.channels)
        self.head = nn.Linear(encoder.channels, TURNS)
        initialise(self.head, seed, prefix="head.")

    def forward(self, images: Tensor, labels: Tensor | None = None, *, generator: Randomness = None) -> Outcome:
        """Raises ValueError for images that are not square."""
        if images.ndim == 4 and images.shape[2] != images.shape[3]:
            raise ValueError(f"the objective rotation turns square images, got {images.shape[2]} x {images.shape[3]}")
        if self.training:
            turns = (draws.uniform(generator, "turn", len(images), 1, images.device)[:, 0] * TURNS).long()
            return Outcome(loss=F.cross_entropy(self._logits(turned(images, turns), generator), turns))
        every = [torch.full((len(images),), turn, device=images.device) for turn in range(TURNS)]
        logits = torch.cat([self._logits(turned(images, turns), generator) for turns in every])  # (4 N, 4)
        target = torch.cat(every)
        right = (logits.argmax(dim=1) == target).double().mean()
        return Outcome(loss=F.cross_entropy(logits, target), metrics={"top1": right})

    def _logits(self, images: Tensor, generator: Randomness) -> Tensor:
        pooled = self.encoder.forward_features(images, generator=generator).mean(dim=(2, 3))
        logits: Tensor = self.head(self.norm(pooled))
        return logits


def turned(images: Tensor, turns: Tensor) -> Tensor:
    """(N, C, S, S), image i turned counter-clockwise by `turns[i]` (N,) int64, 0 to 3, quarter turns."""
    every = torch.stack([images.rot90(turn, (2, 3)) for turn in range(TURNS)])  # (4, N, C, S, S)
    return every[turns, torch.arange(len(images), device=images.device)]


class Colorization(Objective):
    """From the grey image to its colour: the two chroma values of every pixel, by squared error.

    The encoder sees the luma in all three channels, normalised as the images are. From each cell of its last map, norm
    and one linear layer predict the chroma of that cell's pixels, 2 p^2 numbers (p = encoder.stride): the head is as
    small as can be, so what colour needs must be in the features, and the target keeps the image's full resolution
    whatever the stride. Luma and chroma are `luma_chroma` of the pixels in [0, 1], which is why the objective knows
    the `mean` and `std` they were normalised with.

    After Zhang et al. 2016, who classify each pixel's colour in Lab into 313 bins, rare ones weighted, with a network
    made for it. Squared error predicts the mean of what is likely, so its pictures are paler; the features are what is
    wanted here. The metric `grey` is what predicting no colour at all would cost, the loss to be below; of grey images
    both targets and `grey` are 0, and nothing is learned. Labels are not needed.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        encoder: Encoder,
        *,
        mean: tuple[float, float, float] = (0.485, 0.456, 0.406),
        std: tuple[float, float, float] = (0.229, 0.224, 0.225),
        seed: int = 0,
    ) -> None:
        super().__init__()
        if encoder.in_channels != 3:
            raise ValueError(f"the objective colorization needs images of 3 channels, not {encoder.in_channels}")
        self.encoder = encoder
        self.norm = layer_norm(encoder.channels)
        self.predict = nn.Linear(encoder.channels, 2 * encoder.stride**2)
        initialise(self.predict, seed, prefix="predict.")
        self.register_buffer("mean", torch.tensor(mean)[:, None, None])
        self.register_buffer("std", torch.tensor(std)[:, None, None])

    def forward(self, images: Tensor, labels: Tensor | None = None, *, generator: Randomness = None) -> Outcome:
        """`images` (N, 3, H, W), normalised with `mean` and `std`."""
        luma, chroma = luma_chroma(images * self.std + self.mean)
        features = self.encoder.forward_features((luma - self.mean) / self.std, generator=generator)
        prediction = self.predict(self.norm(features.flatten(2).transpose(1, 2)))  # (N, L, 2 p p)
        target = patches(chroma, self.encoder.stride)
        loss = (prediction - target).square().mean()
        return Outcome(loss=loss, metrics={"grey": target.square().mean()})


def luma_chroma(pixels: Tensor) -> tuple[Tensor, Tensor]:
    """(N, 3, H, W) red, green, blue in [0, 1] -> luma (N, 1, H, W) in [0, 1], chroma (N, 2, H, W) in [-0.5, 0.5].

    Y, Cb and Cr of ITU-R BT.601: Y = .299 R + .587 G + .114 B, Cb = (B - Y) / 1.772, Cr = (R - Y) / 1.402. Linear, and
    by differences, so that chroma is exactly 0 where the three are equal.
    """
    red, green, blue = pixels.unbind(dim=1)
    luma = green + 0.299 * (red - green) + 0.114 * (blue - green)
    return luma[:, None], torch.stack([(blue - luma) / 1.772, (red - luma) / 1.402], dim=1)
