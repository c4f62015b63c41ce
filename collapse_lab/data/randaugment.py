"""RandAugment (Cubuk et al. 2020), from torchvision: two random changes of an image's colours or geometry."""

from __future__ import annotations

import importlib
from typing import Any

import torch
from torch import Tensor

from collapse_lab import draws
from collapse_lab.draws import Draws

CHANGES = 2


def require_torchvision() -> Any:
    """torchvision's transforms; raises ImportError naming the extra where it is not installed or does not load."""
    try:
        return importlib.import_module("torchvision.transforms")
    except ImportError:
        raise ImportError(
            "data.randaugment needs torchvision; install it with: pip install 'collapse-lab[vision]', "
            "or train without (data.randaugment = 0)"
        ) from None
    except RuntimeError as error:  # what torchvision makes of another torch than its own
        raise ImportError(f"torchvision does not load: {error}; install the one that belongs to this torch") from error


def randaugment(images: Tensor, magnitude: int, drawn: Draws) -> Tensor:
    """(n, 3, H, W) uint8 in, the same out: each image changed twice at this magnitude of 0 to 30.

    What happens to an image is f(seed, step, its place in the batch), whatever the process. torchvision's magnitudes
    are fixed; those of timm, which the official recipes use, vary around theirs by a normal of deviation 0.5.
    """
    change = require_torchvision().RandAugment(num_ops=CHANGES, magnitude=magnitude, fill=[128, 128, 128])
    keys = draws.hashed(draws.key(drawn.seed, "randaugment", drawn.step), drawn.index.cpu(), 1)[:, 0]
    changed = []
    # torchvision draws from torch's own generator, on the CPU: it is set for each image, and given back as it was.
    with torch.random.fork_rng(devices=[]):
        for image, key in zip(images.cpu(), keys.tolist(), strict=True):
            torch.default_generator.manual_seed(key)
            changed.append(change(image))
    return torch.stack(changed).to(images.device)
