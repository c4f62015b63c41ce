"""A folder of images: a class a subfolder, or flat and unlabelled; with train/ and test/ (or val/) above, or not."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from collapse_lab import draws
from collapse_lab.data.decode import decode
from collapse_lab.data.listing import SPLITS, Listing, in_split
from collapse_lab.data.source import Images

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".ppm", ".tif", ".tiff"}


def folder(place: str, split: str) -> Listing:
    """Every image of one split, in the order of their names.

    Without split folders a fifth of the images, chosen by a hash of their names, is "test". Classes are numbered over
    all splits. An image's identity is a hash of its path in the folder. Raises FileNotFoundError for no folder, no
    image, or a split that is not there.
    """
    path = Path(place)
    if not path.is_dir():
        raise FileNotFoundError(f"{path} is not a folder; give a folder with images ({', '.join(sorted(SUFFIXES))})")
    roots = {name: _root(path, folders) for name, folders in SPLITS.items()}
    divided = any(roots.values())
    root = roots[split] if divided else path
    if root is None:
        expected = ", ".join(f"{name}/" for name in SPLITS[split])
        there = ", ".join(f"{found.name}/" for found in roots.values() if found is not None)
        raise FileNotFoundError(
            f"{path} has split folders but none for {split!r}: expected one of {expected}, there is {there}"
        )
    if divided:
        _say_left_out(path, [found.name for found in roots.values() if found is not None])
    everything = {place: _files(place) for place in (roots.values() if divided else [path]) if place is not None}
    classes = tuple(sorted({_class(file, place) for place, files in everything.items() for file in files} - {""}))
    files = everything[root]
    if not divided and files:
        keys = torch.tensor([draws.key("split", _name(file, path)) for file in files])
        files = [file for file, inside in zip(files, in_split(keys, split).tolist(), strict=True) if inside]
    _check(files, len(everything[root]), root, split)
    names = tuple(_name(file, path) for file in files)
    numbers = {name: number for number, name in enumerate(classes)}
    return Listing(
        name=path.resolve().name,
        split=split,
        label=torch.tensor([numbers.get(_class(file, root), -1) for file in files]),
        id=torch.tensor([draws.key(name) for name in names]),
        contents=lambda first: iter(files[first:]),
        called=names.__getitem__,
        classes=classes,
        files=names,
    )


def image_files(paths: Sequence[Path], size: int) -> Images:
    """Single files, scaled and cropped as those of a folder, in the order given; without labels.

    An image's identity is a hash of its file's name. Raises FileNotFoundError for a file that is not there,
    ValueError for one that cannot be read.
    """
    for path in paths:
        if not path.is_file():
            raise FileNotFoundError(f"there is no image {path}")
    decoded = {path: decode(path, size) for path in paths}
    broken = [f"{path}: {result}" for path, result in decoded.items() if isinstance(result, str)]
    if broken:
        raise ValueError(f"{len(broken)} of {len(paths)} images cannot be read: {'; '.join(broken[:5])}")
    pixels = np.stack([result for path in paths if not isinstance(result := decoded[path], str)])
    return Images(
        name="given files",
        split="",
        image=torch.from_numpy(pixels).permute(0, 3, 1, 2),
        label=torch.full((len(paths),), -1),
        id=torch.tensor([draws.key(path.name) for path in paths]),
        files=tuple(map(str, paths)),
    )


def _root(path: Path, folders: tuple[str, ...]) -> Path | None:
    return next((path / name for name in folders if (path / name).is_dir()), None)


def _say_left_out(path: Path, divided: list[str]) -> None:
    """A class that is called train would make the other classes vanish without a word."""
    known = {name for names in SPLITS.values() for name in names}
    beside = sorted(each for each in path.iterdir() if each.is_dir() and each.name not in known)
    lost = [each.name for each in beside if each.name[0] != "." and any(map(_is_image, each.rglob("*")))]
    if lost:
        warnings.warn(
            f"{path} is read by its folders {', '.join(divided)}; images in {', '.join(lost[:5])} are left out",
            stacklevel=4,
        )


def _is_image(file: Path) -> bool:
    return file.suffix.lower() in SUFFIXES and not file.name.startswith(".") and file.is_file()


def _files(root: Path) -> list[Path]:
    """All images below, by name; hidden files (and macOS's ._ shadows of images) are none."""
    return sorted(filter(_is_image, root.rglob("*")))


def _name(file: Path, path: Path) -> str:
    return file.relative_to(path).as_posix()


def _class(file: Path, root: Path) -> str:
    parts = file.relative_to(root).parts
    return parts[0] if len(parts) > 1 else ""


def _check(files: list[Path], there: int, root: Path, split: str) -> None:
    """Refuse what cannot be trained on before any file is decoded."""
    if not there:
        raise FileNotFoundError(f"{root} has no images; expected files ending in {', '.join(sorted(SUFFIXES))}")
    if not files:
        raise FileNotFoundError(
            f"none of the {there} images of {root} falls into the split {split!r}; "
            f"put them into folders train/ and test/ to choose yourself"
        )
