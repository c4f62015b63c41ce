"""From the uint8 images of a step, as they are kept, to what the network takes: on the device, a batch at a time."""

from __future__ import annotations

from torch import Tensor

from collapse_lab.data.crop import augmented
from collapse_lab.data.randaugment import randaugment
from collapse_lab.data.source import normalise
from collapse_lab.draws import Draws
from collapse_lab.train.config import DataConfig


def pixels_of(images: Tensor, drawn: Draws, data: DataConfig) -> Tensor:
    """uint8 (n, C, H, W) -> float32 (n, C, size, size): cropped, flipped, changed and normalised as `data` says."""
    crop = None if data.crop == "none" else data.crop
    seen = augmented(images, drawn, size=data.size, crop=crop, ratio=data.ratio, flip=data.flip)
    if data.randaugment:
        seen = randaugment(seen, data.randaugment, drawn)
    return normalise(seen, data.mean, data.std)
