"""A folder of images: a class a subfolder, or flat and unlabelled; with train/ and test/ (or val/) above, or not."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from collapse_lab import draws
from collapse_lab.data.source import Images

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".ppm", ".tif", ".tiff"}
MOST_CORRUPT = 0.01
MOST_BYTES = 8 * 2**30
_SPLITS = {"train": ("train",), "test": ("test", "val", "valid", "validation")}


def folder(path: Path, split: str, size: int) -> Images:
    """Every image of one split, short side scaled to `size`, centre cropped, in the order of their names.

    Without split folders a fifth of the images, chosen by a hash of their names, is "test". Classes are numbered over
    all splits. An image's identity is a hash of its path in the folder. A file that cannot be decoded is skipped and
    listed; more than 1 % of them stop. Raises FileNotFoundError for no folder or no image, ValueError for too many
    corrupt files or too many pixels.
    """
    if not path.is_dir():
        raise FileNotFoundError(f"{path} is not a folder; give a folder with images ({', '.join(sorted(SUFFIXES))})")
    roots = {name: _root(path, folders) for name, folders in _SPLITS.items()}
    divided = any(roots.values())
    root = roots[split] if divided else path
    if root is None:
        expected = ", ".join(f"{name}/" for name in _SPLITS[split])
        raise FileNotFoundError(f"{path} has split folders but none for {split!r}: expected one of {expected}")
    everything = {place: _files(place) for place in (roots.values() if divided else [path]) if place is not None}
    classes = tuple(sorted({_class(file, place) for place, files in everything.items() for file in files} - {""}))
    files = everything[root]
    if not divided:
        files = [file for file in files if (draws.key("split", _name(file, path)) % 5 == 0) == (split == "test")]
    _check(files, len(everything[root]), root, split, size)
    images, skipped = _decode_all(files, path, size)
    labels = [classes.index(name) if (name := _class(file, root)) else -1 for file in images]
    return Images(
        name=path.resolve().name,
        split=split,
        image=torch.stack(list(images.values())),
        label=torch.tensor(labels),
        id=torch.tensor([draws.key(_name(file, path)) for file in images]),
        classes=classes,
        files=tuple(_name(file, path) for file in images),
        skipped=tuple(skipped),
    )


def image_files(paths: Sequence[Path], size: int) -> Images:
    """Single files, scaled and cropped as those of a folder, in the order given; without labels.

    An image's identity is a hash of its file's name. Raises FileNotFoundError for a file that is not there,
    ValueError for one that cannot be read.
    """
    for path in paths:
        if not path.is_file():
            raise FileNotFoundError(f"there is no image {path}")
    decoded = {path: _decode(path, size) for path in paths}
    broken = [f"{path}: {result}" for path, result in decoded.items() if isinstance(result, str)]
    if broken:
        raise ValueError(f"{len(broken)} of {len(paths)} images cannot be read: {'; '.join(broken[:5])}")
    return Images(
        name="given files",
        split="",
        image=torch.stack([result for path in paths if isinstance(result := decoded[path], Tensor)]),
        label=torch.full((len(paths),), -1),
        id=torch.tensor([draws.key(path.name) for path in paths]),
        files=tuple(map(str, paths)),
    )


def _root(path: Path, folders: tuple[str, ...]) -> Path | None:
    return next((path / name for name in folders if (path / name).is_dir()), None)


def _files(root: Path) -> list[Path]:
    """All images below, by name; hidden files (and macOS's ._ shadows of images) are none."""
    files = (file for file in root.rglob("*") if file.suffix.lower() in SUFFIXES and not file.name.startswith("."))
    return sorted(file for file in files if file.is_file())


def _name(file: Path, path: Path) -> str:
    return file.relative_to(path).as_posix()


def _class(file: Path, root: Path) -> str:
    parts = file.relative_to(root).parts
    return parts[0] if len(parts) > 1 else ""


def _check(files: list[Path], there: int, root: Path, split: str, size: int) -> None:
    """Refuse what cannot be trained on before any file is decoded."""
    if not there:
        raise FileNotFoundError(f"{root} has no images; expected files ending in {', '.join(sorted(SUFFIXES))}")
    if not files:
        raise FileNotFoundError(
            f"none of the {there} images of {root} falls into the split {split!r}; "
            f"put them into folders train/ and test/ to choose yourself"
        )
    needed = len(files) * size * size * 3
    if needed > MOST_BYTES:
        raise ValueError(
            f"{len(files):,} images of {size} x {size} take {needed / 2**30:.1f} GiB of memory, "
            f"over the limit of {MOST_BYTES // 2**30}; use a smaller size or fewer images"
        )


def _decode_all(files: list[Path], path: Path, size: int) -> tuple[dict[Path, Tensor], list[str]]:
    """The images that could be read, and a line for each that could not."""
    with ThreadPoolExecutor() as pool:
        decoded = dict(zip(files, pool.map(lambda file: _decode(file, size), files), strict=True))
    images = {file: result for file, result in decoded.items() if isinstance(result, Tensor)}
    corrupt = [f"{_name(file, path)}: {result}" for file, result in decoded.items() if isinstance(result, str)]
    if len(corrupt) > MOST_CORRUPT * len(files):
        raise ValueError(
            f"{len(corrupt)} of {len(files)} images of {path} cannot be read (at most 1 % may fail); "
            f"repair or remove: {'; '.join(corrupt[:5])}"
        )
    if corrupt:
        warnings.warn(f"{len(corrupt)} of {len(files)} images skipped: {'; '.join(corrupt[:5])}", stacklevel=4)
    return images, corrupt


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 bits scaled to 8, which a conversion would clip to white; anything else as it is.

    Mode I has 32 bits, whatever was stored in them: up to 255 they are read as the 8 bits that they fill.
    """
    if not image.mode.startswith("I"):
        return image
    values = np.asarray(image)
    if values.min() < 0 or values.max() > 65535:
        raise ValueError(f"grey values from {values.min()} to {values.max()}, expected 16 bits")
    if image.mode == "I" and values.max() <= 255:
        return image
    return Image.fromarray((values // 257).astype(np.uint8))


def _decode(file: Path, size: int) -> Tensor | str:
    """The image as (3, size, size) uint8, upright, or why it could not be read."""
    try:
        with Image.open(file) as image:
            upright = ImageOps.exif_transpose(_eight_bits(image)).convert("RGB")
            fitted = ImageOps.fit(upright, (size, size), Image.Resampling.BICUBIC)
    except Exception as error:  # decoders raise whatever a broken file leads them to, also SyntaxError
        return f"{type(error).__name__}: {error}".replace(f"{file.parent}/", "")
    return torch.from_numpy(np.asarray(fitted).copy()).permute(2, 0, 1).contiguous()
