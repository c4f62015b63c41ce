"""Write a pack: decode in worker processes, append block after block; a killed writer goes on after its last block.

A block is a fixed number of listed images, so how often the writing was interrupted, and how many workers there were,
changes no byte. The journal has a line for each block that is safely on the disk; pack.json, written last, makes it a
pack.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from collapse_lab.data.address import PACK
from collapse_lab.data.decode import decode_block
from collapse_lab.data.listing import Listing, drawn, passed_over
from collapse_lab.data.packed import CHANNELS, VERSION, Block, Pack, read_pack, rows_digest
from collapse_lab.data.source import open_listings
from collapse_lab.data.workers import blocks_of, decoders
from collapse_lab.runs import Run, read_lines, write_atomically, write_json

BLOCK_BYTES = 8 << 20


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Before anything is decoded: images a split, bytes still to be written, bytes that are free there."""

    images: dict[str, int]
    needed: int
    free: int


@dataclass
class _Written:
    """What stands on the disk of one split: its blocks, and of the listing the places that could not be read."""

    blocks: list[Block] = field(default_factory=list)
    failed: list[tuple[int, str]] = field(default_factory=list)


def pack(
    uri: str,
    out: Path,
    *,
    side: int = 256,
    most: Mapping[str, int] = MappingProxyType({}),
    workers: int | None = None,
    on_plan: Callable[[Plan], object] = lambda _: None,
    on_block: Callable[[int], object] = lambda _: None,
) -> dict[str, Pack]:
    """Every split of a folder, of Parquet files or of a data set of the hub as side x side uint8 pixels in `out`.

    `most`: how many images of a split at most, drawn by their identities; of a split that it does not name, all.
    `workers` processes decode, one a core without it; 0 decodes here. `on_block` is called with the number of listed
    images done. The same call goes on after an interruption, and leaves a finished split as it is: images are told
    apart by identity, file name and label, so delete the pack when the content of a file has changed.

    Raises ValueError when more than 1 % of a split cannot be read, FileExistsError when `out` holds a pack of something
    else, RuntimeError while another process writes there, OSError when the disk is, or would be, full.
    """
    listings = open_listings(uri)
    if unknown := most.keys() - listings.keys():
        raise FileNotFoundError(f"{uri} has no split {min(unknown)!r} to take a part of; it has {', '.join(listings)}")
    listings = {split: drawn(listing, most.get(split)) for split, listing in listings.items()}
    with Run(out).locked(), decoders(workers) as pool:
        for split, listing in listings.items():
            for part in (out / split).glob(".*.part"):  # of a writer that was killed
                part.unlink()
            _require_same(out / split, listing, side)
        plan = _plan(listings, out, side)
        on_plan(plan)
        if plan.needed > plan.free:
            raise OSError(
                errno.ENOSPC,
                f"the pack needs {plan.needed / 2**30:.2f} GiB more in {out}, {plan.free / 2**30:.2f} are free",
            )
        return {split: _pack_split(listing, out / split, side, pool, on_block) for split, listing in listings.items()}


def _plan(listings: dict[str, Listing], out: Path, side: int) -> Plan:
    there = sum(path.stat().st_size for path in out.glob("*/pixels.u8"))
    needed = sum(map(len, listings.values())) * side * side * CHANNELS - there
    images = {split: len(listing) for split, listing in listings.items()}
    return Plan(images=images, needed=max(0, needed), free=shutil.disk_usage(out).free)


def _pack_split(listing: Listing, folder: Path, side: int, pool: Executor, on_block: Callable[[int], object]) -> Pack:
    if (folder / PACK).is_file():
        on_block(len(listing))
        return read_pack(folder)
    folder.mkdir(parents=True, exist_ok=True)
    at_once = max(1, BLOCK_BYTES // (side * side * CHANNELS))
    with (folder / "pixels.u8").open("a+b") as pixels, (folder / "journal.jsonl").open("ab") as journal:
        written = _resume(folder, pixels, side)
        done = len(written.blocks) * at_once
        on_block(min(done, len(listing)))
        for count, (block, failed) in blocks_of(listing.contents(done), at_once, decode_block, pool, side):
            lost = [(done + place, why) for place, why in failed]
            entry = Block(images=count - len(lost), sha256=hashlib.sha256(block).hexdigest())
            _append(pixels, block)  # the pixels before the line that vouches for them
            _append(journal, json.dumps({**asdict(entry), "failed": lost}).encode() + b"\n")
            written.blocks.append(entry)
            written.failed += lost
            done += count
            passed_over(listing, written.failed)  # too many already: the rest cannot mend it
            on_block(done)
    return _finish(listing, folder, side, written)


def _resume(folder: Path, pixels: BinaryIO, side: int) -> _Written:
    """The blocks whose pixels are on the disk as the journal says; what lies behind them is cut off."""
    written, journal = _Written(), folder / "journal.jsonl"
    pixels.seek(0)
    end = 0
    for line in read_lines(journal):
        block = Block(images=line["images"], sha256=line["sha256"])
        content = pixels.read(block.images * side * side * CHANNELS)
        if hashlib.sha256(content).hexdigest() != block.sha256:
            break
        written.blocks.append(block)
        written.failed += [(place, why) for place, why in line["failed"]]
        end += len(content)
    pixels.truncate(end)
    lines = journal.read_text(encoding="utf-8").splitlines(keepends=True)[: len(written.blocks)]
    with journal.open("r+", encoding="utf-8") as file:
        file.truncate(len("".join(lines).encode()))
    return written


def _finish(listing: Listing, folder: Path, side: int, written: _Written) -> Pack:
    skipped = passed_over(listing, written.failed)
    lost = {place for place, _ in written.failed}
    kept = torch.tensor([place for place in range(len(listing)) if place not in lost], dtype=torch.int64)
    label, identity = listing.label[kept], listing.id[kept]
    files = tuple(listing.files[place] for place in kept.tolist()) if listing.files else ()
    columns = {"label": label.numpy(), "id": identity.numpy()} | ({"file": files} if files else {})
    write_atomically(folder / "rows.parquet", lambda part: pq.write_table(pa.table(columns), part))
    finished = Pack(
        version=VERSION,
        name=listing.name,
        split=listing.split,
        side=side,
        source=_source(listing),
        classes=listing.classes,
        skipped=skipped,
        blocks=tuple(written.blocks),
        rows=rows_digest(label, identity, files),
    )
    write_json(folder / PACK, finished.write())
    for name in ("journal.jsonl", "source.json"):
        (folder / name).unlink(missing_ok=True)
    return finished


def _require_same(folder: Path, listing: Listing, side: int) -> None:
    """Raise FileExistsError unless what lies there is this very pack, or its beginning; a new one is noted."""
    here, note = {"source": _source(listing), "side": side}, folder / "source.json"
    if (folder / PACK).is_file():
        done = read_pack(folder)
        there: Any = {"source": done.source, "side": done.side}
    elif note.is_file():
        there = json.loads(note.read_text(encoding="utf-8"))
    elif folder.exists() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} is no pack and not empty; choose another folder")
    else:
        write_json(note, here)
        return
    if there != here:
        differ = f"side {there['side']} there, {side} here" if there["side"] != side else "other images"
        raise FileExistsError(
            f"{folder} holds a pack of something else ({differ}); choose another folder, or delete it"
        )


def _source(listing: Listing) -> str:
    """A hash of what is listed: how many images, whose, of which classes."""
    digest = hashlib.sha256(rows_digest(listing.label, listing.id, listing.files).encode())
    digest.update("\0".join((listing.split, *listing.classes)).encode())
    return digest.hexdigest()


def _append(file: BinaryIO, content: bytes) -> None:
    """Onto the disk itself: the next write relies on it."""
    try:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    except OSError as error:
        what = f"cannot write {file.name}: {error.strerror}; what was packed before is not lost"
        raise OSError(error.errno, what) from error
