"""Which cells are removed."""

from __future__ import annotations

import torch
from torch import Tensor

from collapse_lab import draws
from collapse_lab.draws import Randomness


def kept_cells(cells: int, mask_ratio: float) -> int:
    """How many of `cells` stay visible: floor(cells * (1 - ratio)); 49 at 0.6 keep 19, so 61.2 % are removed.

    Raises ValueError when none would stay, or none would be removed: there is then nothing to see, or to learn.
    """
    if not 0 < mask_ratio < 1:
        raise ValueError(f"mask_ratio must lie between 0 and 1, got {mask_ratio}")
    kept = int(cells * (1 - mask_ratio) + 1e-6)
    if not 0 < kept < cells:
        raise ValueError(
            f"mask_ratio {mask_ratio} keeps {kept} of {cells} cells, but at least one must stay and one be removed; "
            f"change mask_ratio or use larger images"
        )
    return kept


def random_removed(images: int, cells: int, mask_ratio: float, generator: Randomness, device: torch.device) -> Tensor:
    """(images, cells) bool, True = removed; every image keeps the same number, each set equally likely."""
    noise = draws.uniform(generator, "mask", images, cells, device)
    visible = noise.argsort(dim=1)[:, : kept_cells(cells, mask_ratio)]
    return torch.ones(images, cells, dtype=torch.bool, device=device).scatter(1, visible, False)
