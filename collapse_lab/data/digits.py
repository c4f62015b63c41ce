"""The embedded data: scikit-learn's 1,797 handwritten digits (Alpaydin & Kaynak 1998), 8 x 8, no download."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from collapse_lab import draws
from collapse_lab.data.source import Images

TRAINING = 1000
"""Images of the fixed split: 1,000 to train, 797 to test, chosen once by a hash of their place."""


def digits(split: str, size: int) -> Images:
    """Scaled bilinearly to size x size, the grey value in all three channels; id: place in scikit-learn's order."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    order = draws.hashed(draws.key("digits"), torch.arange(len(bunch.target)), 1)[:, 0].argsort()
    chosen = (order[:TRAINING] if split == "train" else order[TRAINING:]).sort().values
    grey = torch.from_numpy(bunch.images).float()[chosen, None] * (255 / 16)
    scaled = F.interpolate(grey, (size, size), mode="bilinear", align_corners=False)
    return Images(
        name="digits",
        split=split,
        image=scaled.round().clamp(0, 255).to(torch.uint8).expand(-1, 3, -1, -1).contiguous(),
        label=torch.from_numpy(bunch.target).long()[chosen],
        id=chosen,
        classes=tuple("0123456789"),
    )
