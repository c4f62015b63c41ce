"""Images by number, whatever they come from, and what becomes of their pixels before a network sees them."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from collapse_lab import draws
from collapse_lab.data.address import FORMS, LISTED, SOURCES, address
from collapse_lab.data.crop import resized

if TYPE_CHECKING:
    from collapse_lab.data.listing import Listing

CACHED = 1 << 18
"""Numbers normalised at once on a CPU: 1 MiB of float32, which its cache holds."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """`image` (n, C, H, W) uint8; `label` (n,) int64, -1 = none; `id` (n,) int64 the images' identities."""

    image: Tensor
    label: Tensor
    id: Tensor


@dataclass(frozen=True, kw_only=True)
class Images:
    """A split: `image` (N, C, H, W) uint8 in memory, or a memory map of a file; `label` and `id` (N,) int64.

    `size` is the side of what `batch` gives, None for that of `image`. `files` names where each image comes from, in
    their order, empty for no files; `skipped` lists files that could not be read, with the reason. Of a pack,
    `checksum` stands for its content, and `still_there` raises when its file is no longer the one that was opened.
    """

    name: str
    split: str
    image: Tensor
    label: Tensor
    id: Tensor
    classes: tuple[str, ...] = ()
    size: int | None = None
    files: tuple[str, ...] = field(default=(), repr=False)
    skipped: tuple[str, ...] = field(default=(), repr=False)
    checksum: str | None = None
    still_there: Callable[[], object] = field(default=lambda: None, repr=False)

    def __len__(self) -> int:
        return len(self.image)

    def stored(self, indices: Tensor) -> Batch:
        """The images at these places, in this order, of the size in which they are kept."""
        self.still_there()
        last = self.image.is_contiguous(memory_format=torch.channels_last)
        rows = self.image.permute(0, 2, 3, 1) if last else self.image.contiguous()
        # numpy's take copies image by image, in one thread, into huge pages: 10 times as fast as indexing a tensor.
        taken = torch.from_numpy(np.take(rows.numpy(), indices.numpy(), axis=0))
        image = taken.permute(0, 3, 1, 2) if last else taken
        return Batch(image=image, label=self.label[indices], id=self.id[indices])

    def pinned(self, indices: Tensor) -> Batch:
        """`stored`, with the pixels in memory that a GPU can read by itself; needs CUDA."""
        batch = self.stored(indices)
        return replace(batch, image=batch.image.pin_memory())

    def batch(self, indices: Tensor) -> Batch:
        """The images at these places, in this order, whole and square of `size` pixels."""
        batch = self.stored(indices)
        return replace(batch, image=resized(batch.image, self.size)) if self.size else batch

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
        """A hash of every pixel as it is kept, label and identity: equal data, equal fingerprint.

        Of a pack it is made from the checksums of its pixels and rows, which were taken when they were written.
        """
        if self.checksum:
            return self.checksum
        digest = hashlib.blake2b(digest_size=8)
        for tensor in (self.image, self.label, self.id):
            digest.update(repr(tuple(tensor.shape)).encode())
            for part in tensor.split(1024):  # the same bytes, without a second copy of all pixels
                digest.update(part.contiguous().numpy().tobytes())
        return digest.hexdigest()


def normalise(images: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """uint8 (n, C, H, W) to float32 of that shape: divide by 255, less `mean`, over `std`, a number a channel (or one).

    Raises ValueError where there are more or fewer numbers than channels.
    """
    centre, scale = _by_channel(images, mean, std)
    if images.device.type != "cpu":
        return (images.to(torch.float32, memory_format=torch.contiguous_format) / 255 - centre) / scale
    out = torch.from_numpy(np.empty(images.shape, dtype=np.float32))  # in huge pages
    at_once = max(1, CACHED // max(1, images[:1].numel()))
    for values, part in zip(out.split(at_once), images.split(at_once), strict=True):
        values.copy_(part).div_(255).sub_(centre).div_(scale)
    return out


def denormalise(pixels: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """What `normalise` does, undone, but for the 255: black is 0 and white 1. A model's values may lie outside."""
    centre, scale = _by_channel(pixels, mean, std)
    return pixels * scale + centre


def _by_channel(images: Tensor, *numbers: tuple[float, ...]) -> list[Tensor]:
    if not set(map(len, numbers)) <= {1, images.shape[1]}:
        given = " and ".join(map(str, numbers))
        raise ValueError(f"mean and std need 1 or {images.shape[1]} numbers, got {given}")
    # Made on the CPU, so that nothing waits for the device.
    return [torch.tensor(each)[:, None, None].to(images.device, non_blocking=True) for each in numbers]


def open_images(uri: str, split: str, size: int) -> Images:
    """Images of one split ("train" or "test"), square of `size` pixels; `uri` as `address` reads it.

    Raises LookupError for no address, FileNotFoundError for what is not there, with the splits that are, ValueError for
    data that cannot be read, ImportError for an extra that is missing.
    """
    if split not in ("train", "test"):
        raise ValueError(f"split is 'train' or 'test', got {split!r}")
    kind, place = address(uri)
    if kind == "digits":
        images: Images = _resolve("digits")(split, size)
    elif kind == "packed":
        images = _resolve("packed")(place, split, size)
    else:
        from collapse_lab.data.listing import held  # and with it an image decoder, which is slow to load

        images = held(_resolve(kind)(place, split), size)
    return images


def open_listings(uri: str) -> dict[str, Listing]:
    """The splits of a source whose images lie encoded; those that are not there are left out.

    Raises ValueError for a source of another kind, FileNotFoundError where there is no split at all.
    """
    kind, place = address(uri)
    if kind not in LISTED:
        raise ValueError(f"{uri} holds pixels already; give {', or '.join(FORMS[name] for name in LISTED)}")
    found: dict[str, Listing] = {}
    missing = None
    for split in ("train", "test"):
        try:
            found[split] = _resolve(kind)(place, split)
        except FileNotFoundError as error:
            missing = missing or error
    if missing and not found:
        raise missing
    return found


def _resolve(kind: str) -> Callable[..., Any]:
    module, _, function = SOURCES[kind].partition(":")
    source: Callable[..., Any] = getattr(importlib.import_module(module), function)
    return source
