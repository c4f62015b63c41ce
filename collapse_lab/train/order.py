"""Which image a step sees: a function of (seed, step), so resuming needs nothing but the step."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from collapse_lab import draws


@lru_cache(maxsize=2)  # a step asks for its epoch again and again; the answer is shared: only read it
def epoch_order(seed: int, epoch: int, images: int) -> Tensor:
    """A permutation of the images, a function of (seed, epoch)."""
    return draws.hashed(draws.key(seed, "order", epoch), torch.arange(images), 1)[:, 0].argsort(stable=True)


def step_indices(seed: int, step: int, batch: int, images: int) -> Tensor:
    """(batch,) places in the data set of one step's samples, those of all processes together.

    Epochs follow each other without a gap: every image is seen once before any is seen again, and no sample is
    dropped at an epoch's end or repeated to even out the processes.
    """
    first = step * batch
    epochs = range(first // images, (first + batch - 1) // images + 1)
    orders = [epoch_order(seed, epoch, images) for epoch in epochs]
    stream = orders[0] if len(orders) == 1 else torch.cat(orders)
    start = first - epochs[0] * images
    return stream[start : start + batch]
