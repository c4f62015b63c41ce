"""A folder of images: a class a subfolder, or flat and unlabelled; with train/ and test/ (or val/) above, or not."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from collapse_lab import draws
from collapse_lab.data.source import Images

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".ppm", ".tif", ".tiff"}
MOST_CORRUPT = 0.01
MOST_BYTES = 8 * 2**30
_SPLITS = {"train": ("train",), "test": ("test", "val", "valid", "validation")}


def folder(path: Path, split: str, size: int) -> Images:
    """Every image of one split, short side scaled to `size`, centre cropped, in the order of their names.

    Without split folders a fifth of the images, chosen by a hash of their names, is "test". An image's identity is a
    hash of its relative path. A file that cannot be decoded is skipped and listed; more than 1 % of them stop.
    Raises FileNotFoundError for no folder or no image, ValueError for too many corrupt files or too many pixels.
    """
    if not path.is_dir():
        raise FileNotFoundError(f"{path} is not a folder; give a folder with images ({', '.join(sorted(SUFFIXES))})")
    root = next((path / name for name in _SPLITS[split] if (path / name).is_dir()), None)
    divided = any((path / name).is_dir() for names in _SPLITS.values() for name in names)
    if divided and root is None:
        raise FileNotFoundError(f"{path} has split folders but none for {split!r}: expected one of {', '.join(_SPLITS[split])}")
    root = root or path
    files = sorted(file for file in root.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
    if not divided:
        files = [file for file in files if (draws.key(_name(file, root)) % 5 == 0) == (split == "test")]
    if not files:
        raise FileNotFoundError(f"{root} has no image of split {split!r}; expected files ending in {', '.join(sorted(SUFFIXES))}")
    if len(files) * size * size * 3 > MOST_BYTES:
        raise ValueError(
            f"{len(files):,} images of {size} x {size} take {len(files) * size * size * 3 / 2**30:.1f} GiB of memory, "
            f"over the limit of {MOST_BYTES // 2**30}; use a smaller size or fewer images"
        )
    return _read(files, root, path.name, split, size)


def _read(files: list[Path], root: Path, name: str, split: str, size: int) -> Images:
    with ThreadPoolExecutor() as pool:
        decoded = list(pool.map(lambda file: _decode(file, size), files))
    corrupt = [
        f"{_name(file, root)}: {result}" for file, result in zip(files, decoded, strict=True) if isinstance(result, str)
    ]
    if len(corrupt) > MOST_CORRUPT * len(files):
        raise ValueError(
            f"{len(corrupt)} of {len(files)} images of {root} cannot be read (at most 1 % may fail): {'; '.join(corrupt[:5])}"
        )
    whole = [(file, image) for file, image in zip(files, decoded, strict=True) if isinstance(image, Tensor)]
    classes = tuple(sorted({_class(file, root) for file, _ in whole} - {""}))
    number = {label: place for place, label in enumerate(classes)}
    return Images(
        name=name,
        split=split,
        image=torch.stack([image for _, image in whole]),
        label=torch.tensor([number.get(_class(file, root), -1) for file, _ in whole]),
        id=torch.tensor([draws.key(_name(file, root)) for file, _ in whole]),
        classes=classes,
        skipped=tuple(corrupt),
    )


def _name(file: Path, root: Path) -> str:
    return file.relative_to(root).as_posix()


def _class(file: Path, root: Path) -> str:
    parts = file.relative_to(root).parts
    return parts[0] if len(parts) > 1 else ""


def _decode(file: Path, size: int) -> Tensor | str:
    """The image as (3, size, size) uint8, or why it could not be read."""
    try:
        with Image.open(file) as image:
            fitted = ImageOps.fit(image.convert("RGB"), (size, size), Image.Resampling.BICUBIC)
    except (OSError, UnidentifiedImageError, ValueError, Image.DecompressionBombError) as error:
        return f"{type(error).__name__}: {error}".replace(f"{file.parent}/", "")
    return torch.from_numpy(np.asarray(fitted).copy()).permute(2, 0, 1).contiguous()
