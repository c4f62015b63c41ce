"""Images by number, whatever they come from, and the table of places they come from."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from collapse_lab import draws
from collapse_lab.registry import Registry


@dataclass(frozen=True, kw_only=True)
class Batch:
    """`image` (n, C, H, W) uint8; `label` (n,) int64, -1 = none; `id` (n,) int64 the images' identities."""

    image: Tensor
    label: Tensor
    id: Tensor


@dataclass(frozen=True, kw_only=True)
class Images:
    """A split held in memory. `files` names where each image comes from, in their order, empty for no files;
    `skipped` lists files that could not be read, with the reason."""

    name: str
    split: str
    image: Tensor
    label: Tensor
    id: Tensor
    classes: tuple[str, ...] = ()
    files: tuple[str, ...] = field(default=(), repr=False)
    skipped: tuple[str, ...] = field(default=(), repr=False)

    def __len__(self) -> int:
        return len(self.image)

    def batch(self, indices: Tensor) -> Batch:
        """The images at these places, in this order."""
        return Batch(image=self.image[indices], label=self.label[indices], id=self.id[indices])

    def sample(self, count: int, seed: int) -> Tensor:
        """Places of `count` images, ascending; drawn from their identities, so their order in the data is no matter.

        Raises ValueError when there are fewer.
        """
        if count > len(self):
            raise ValueError(f"{count} images asked for, but there are {len(self)} ({self.name}); ask for fewer")
        return draws.hashed(draws.key("sample", seed), self.id, 1)[:, 0].argsort()[:count].sort().values

    def batches(self, size: int) -> Iterator[Batch]:
        """All images once, in their own order."""
        for indices in torch.arange(len(self)).split(size):
            yield self.batch(indices)

    def fingerprint(self) -> str:
        """A hash of every pixel, label and identity: equal data, equal fingerprint."""
        digest = hashlib.blake2b(digest_size=8)
        for tensor in (self.image, self.label, self.id):
            digest.update(repr(tuple(tensor.shape)).encode())
            digest.update(tensor.contiguous().numpy().tobytes())
        return digest.hexdigest()


def normalise(images: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """uint8 (n, C, H, W) to float32: divide by 255, less `mean`, over `std`, a number a channel (or one for all).

    Raises ValueError where there are more or fewer numbers than channels.
    """
    centre, scale = _by_channel(images, mean, std)
    return (images.float() / 255 - centre) / scale


def denormalise(pixels: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """What `normalise` does, undone, but for the 255: black is 0 and white 1. A model's values may lie outside."""
    centre, scale = _by_channel(pixels, mean, std)
    return pixels * scale + centre


def _by_channel(images: Tensor, *numbers: tuple[float, ...]) -> list[Tensor]:
    if not set(map(len, numbers)) <= {1, images.shape[1]}:
        given = " and ".join(map(str, numbers))
        raise ValueError(f"mean and std need 1 or {images.shape[1]} numbers, got {given}")
    return [torch.tensor(each, device=images.device)[:, None, None] for each in numbers]


SOURCES: Registry[str] = Registry("data source", {"digits": "collapse_lab.data.digits:digits"})
"""Name -> where its function (split, size) -> Images is; imported when asked for, an image decoder is slow to load."""


def open_images(uri: str, split: str, size: int) -> Images:
    """Images of one split ("train" or "test"), square of `size` pixels.

    `uri` is a name in SOURCES ("digits") or a folder (./digits would be one). Raises LookupError for neither.
    """
    if split not in ("train", "test"):
        raise ValueError(f"split is 'train' or 'test', got {split!r}")
    if uri not in SOURCES and (Path(uri).exists() or any(mark in uri for mark in "/\\.")):
        return _resolve("collapse_lab.data.folder:folder")(Path(uri).expanduser(), split, size)
    try:
        source = SOURCES[uri]
    except LookupError as error:
        raise LookupError(f"{error}; or give the path of a folder of images, such as ./{uri}") from None
    return _resolve(source)(split, size)


def _resolve(name: str) -> Callable[..., Images]:
    module, _, function = name.partition(":")
    source: Callable[..., Images] = getattr(importlib.import_module(module), function)
    return source
