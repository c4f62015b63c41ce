"""The images of quick calls: few digits, written once, so that nothing need lie beside the clone."""

from __future__ import annotations

from pathlib import Path

from matplotlib.image import imsave

import collapse_lab as cl

CLASSES, EACH, SIDE = 4, 8, 16


def few_digits(folder: Path) -> Path:
    """32 images to train and 32 to test, 8 of each of 4 classes, 16 x 16, as a folder of images; returns it."""
    for split in ("train", "test"):
        images = cl.open_images("digits", split, SIDE)
        for label in range(CLASSES):
            for place in (images.label == label).nonzero()[:EACH, 0].tolist():
                path = folder / split / str(label) / f"{place}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                if not path.is_file():
                    imsave(path, images.image[place].permute(1, 2, 0).numpy())
    return folder
