"""A pack: images decoded once, side by side in a file that is read through a memory map; see `pack` for writing one.

FOLDER/train/pixels.u8       (N, side, side, 3) uint8, as the CPU's kernel for scaling reads them fastest
FOLDER/train/rows.parquet    label, id and, of files, their names, in the same order
FOLDER/train/pack.json       side, classes, what was skipped, a checksum of every block; written last
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch

from collapse_lab.data.address import PACK
from collapse_lab.data.listing import SPLITS
from collapse_lab.data.source import Images
from collapse_lab.runs import read_json

VERSION = 1
CHANNELS = 3
AT_ONCE = 1 << 30
"""Bytes up to which a pack is checked whole when it is opened; of a larger one, SPREAD blocks over all of it are."""
SPREAD = 16


@dataclass(frozen=True, kw_only=True)
class Block:
    """So many images, one after the other, and the SHA-256 of their pixels."""

    images: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Pack:
    """What pack.json says of one split. `source` is a hash of what was listed; `rows` of label, id and files."""

    version: int
    name: str
    split: str
    side: int
    source: str
    classes: tuple[str, ...]
    skipped: tuple[str, ...]
    blocks: tuple[Block, ...]
    rows: str

    def __len__(self) -> int:
        return sum(block.images for block in self.blocks)

    @property
    def bytes_an_image(self) -> int:
        return self.side * self.side * CHANNELS

    def checksum(self) -> str:
        """16 hexadecimal digits that stand for pixels, labels, identities and files, wherever they come from."""
        content = [self.side, [(block.images, block.sha256) for block in self.blocks], self.rows]
        return hashlib.blake2b(json.dumps(content).encode(), digest_size=8).hexdigest()

    def write(self) -> dict[str, object]:
        """As it stands in pack.json: with its checksum."""
        return {**asdict(self), "checksum": self.checksum()}


def packed(place: str, split: str, size: int) -> Images:
    """One split of the pack in this folder; `batch` gives its images scaled to `size`, `stored` as they are.

    Its pixels are checked against their checksums: all of them up to 1 GiB, else 16 blocks spread over the file
    ('collapse-lab data check' reads every block). Raises FileNotFoundError for no pack or a split that it has not,
    ValueError for one that is unfinished, torn, changed or of another version.
    """
    folder = Path(place).expanduser() / split
    pack = read_pack(folder)
    path = folder / "pixels.u8"
    spread = None if len(pack) * pack.bytes_an_image <= AT_ONCE else SPREAD
    for fault in faults(folder, pack, spread):
        raise ValueError(f"{path} is not what was packed: {fault}; pack it again, in a new folder")
    rows = pq.read_table(folder / "rows.parquet")
    files = tuple(rows["file"].to_pylist()) if "file" in rows.column_names else ()
    label, identity = (torch.from_numpy(rows[name].to_numpy().copy()) for name in ("label", "id"))
    if rows_digest(label, identity, files) != pack.rows or len(label) != len(pack):
        raise ValueError(f"{folder / 'rows.parquet'} is not what was packed; pack it again, in a new folder")
    pixels = np.memmap(path, dtype=np.uint8, mode="c", shape=(len(pack), pack.side, pack.side, CHANNELS))
    return Images(
        name=pack.name,
        split=split,
        image=torch.from_numpy(pixels).permute(0, 3, 1, 2),
        label=label,
        id=identity,
        classes=pack.classes,
        size=size,
        files=files,
        skipped=pack.skipped,
        checksum=pack.checksum(),
        still_there=_watch(path),
    )


def read_pack(folder: Path) -> Pack:
    """The pack.json of one split's folder; raises as `packed` does."""
    path = folder / PACK
    if not path.is_file():
        raise _missing(folder)
    try:
        values = read_json(path)
        version = values["version"]
    except (json.JSONDecodeError, KeyError, TypeError):
        raise ValueError(f"{path} is not the description of a pack; pack it again, in a new folder") from None
    if version != VERSION:
        raise ValueError(f"{path} has version {version}, this program reads {VERSION}; pack it again, in a new folder")
    if set(values) != {field.name for field in fields(Pack)} | {"checksum"}:
        raise ValueError(f"{path} has other entries than a pack's; pack it again, in a new folder")
    recorded = values.pop("checksum")
    blocks = tuple(Block(**block) for block in values.pop("blocks"))
    classes, skipped = (tuple(values.pop(name)) for name in ("classes", "skipped"))
    pack = Pack(blocks=blocks, classes=classes, skipped=skipped, **values)
    if pack.checksum() != recorded:
        raise ValueError(f"{path} is not what was written: its checksum is another; pack it again, in a new folder")
    return pack


def faults(folder: Path, pack: Pack, spread: int | None = None) -> Iterator[str]:
    """What differs from the checksums in the file of pixels: its length, or blocks of images, each or `spread` of them.

    An OSError (the file is gone, the disk fails) goes through.
    """
    path = folder / "pixels.u8"
    expected, there = len(pack) * pack.bytes_an_image, path.stat().st_size
    if there != expected:
        yield f"{there:,} bytes, expected {expected:,}"
        return
    starts = np.cumsum([0, *(block.images for block in pack.blocks)])
    last = len(pack.blocks) - 1
    chosen = sorted({round(place) for place in np.linspace(0, last, last + 1 if spread is None else spread)})
    with path.open("rb") as file:
        for number in chosen:
            block, first = pack.blocks[number], int(starts[number])
            file.seek(first * pack.bytes_an_image)
            if hashlib.sha256(file.read(block.images * pack.bytes_an_image)).hexdigest() != block.sha256:
                yield f"the images {first:,} to {first + block.images - 1:,} have another checksum"


def rows_digest(label: torch.Tensor, identity: torch.Tensor, files: tuple[str, ...]) -> str:
    """SHA-256 of what stands beside the pixels."""
    digest = hashlib.sha256()
    for tensor in (label, identity):
        digest.update(tensor.numpy().astype("<i8").tobytes())
    digest.update("\0".join(files).encode())
    return digest.hexdigest()


def _missing(folder: Path) -> Exception:
    """Why there is no pack of this split."""
    there = [split for split in SPLITS if (folder.parent / split / PACK).is_file()]
    if (folder / "pixels.u8").exists():
        return ValueError(f"the pack {folder} is not finished; the same 'collapse-lab data pack' goes on with it")
    if there:
        return FileNotFoundError(f"{folder.parent} has no split {folder.name!r}; it has {' and '.join(there)}")
    return FileNotFoundError(f"{folder.parent} is no pack; write one with 'collapse-lab data pack URI {folder.parent}'")


def _watch(path: Path) -> Callable[[], None]:
    """Raises once the file is not the one that is there now: reading a map of a file that was cut kills the process."""
    opened = path.stat()

    def still_there() -> None:
        now = path.stat() if path.exists() else None
        if now is None or (now.st_ino, now.st_size) != (opened.st_ino, opened.st_size):
            raise FileNotFoundError(f"the pixels {path} vanished or changed while they were read; restore them")

    return still_there
