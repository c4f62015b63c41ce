"""The pixels of captured images by their identities, for the thumbnails of a page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from collapse_lab.data.source import Images, open_images
from collapse_lab.runs import Run
from collapse_lab.train.config import load_config

Array = np.ndarray[Any, Any]


def pictures_of(runs: Sequence[Path], wanted: Sequence[int]) -> dict[int, Array]:
    """Identity -> (channel, height, width) uint8 of those wanted test images that are in the data of these runs.

    Data that have moved or cannot be read give nothing: a page is no reason to need them again.
    """
    found: dict[int, Array] = {}
    for uri, size in dict.fromkeys(filter(None, map(_data_of, runs))):
        missing = [image for image in wanted if image not in found]
        if missing:
            found |= _from(uri, size, missing)
    return found


def _data_of(run: Path) -> tuple[str, int] | None:
    try:
        data = load_config(Run(run).config).data
    except (OSError, ValueError):
        return None
    return data.uri, data.size


def _from(uri: str, size: int, wanted: Sequence[int]) -> dict[int, Array]:
    try:
        images: Images = open_images(uri, "test", size)
    except (OSError, ValueError, LookupError, ImportError):
        return {}
    places = {int(image): place for place, image in enumerate(images.id.tolist())}
    known = [image for image in wanted if image in places]
    if not known:
        return {}
    batch = images.batch(torch.tensor([places[image] for image in known]))
    return dict(zip(known, batch.image.numpy(), strict=True))
