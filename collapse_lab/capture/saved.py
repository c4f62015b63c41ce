"""What a pass has taken in, in one file that is whole or known to be torn; and a pass that goes on from it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from collapse_lab.capture.batches import Seen
from collapse_lab.capture.maps import Maps
from collapse_lab.capture.packing import Packed, as_tensor, below, pack_held, unpack_held
from collapse_lab.capture.taken import Account, Taken, bytes_of, difference
from collapse_lab.runs import write_atomically

SCHEMA = 1


def save_taken(taken: Taken, path: Path) -> Path:
    """Write one safetensors file, atomically; what is not a tensor, and a checksum, stand in its header."""
    account, maps = taken.account, taken.maps
    tensors = {
        "ids": torch.tensor(list(account.times), dtype=torch.int64),
        "times": torch.tensor(list(account.times.values()), dtype=torch.int64),
    }
    sites = {}
    for place, site in enumerate(account.sites):
        packed, sites[site] = pack_held(taken.held[site])
        if site in maps.values:
            packed |= {"maps.values": as_tensor(maps.values[site]), "maps.id": as_tensor(maps.id[site])}
        tensors |= {f"{place}.{name}": value for name, value in packed.items()}
    record = {
        "schema": SCHEMA,
        "checksum": _checksum(tensors),
        "settings": account.settings,
        "shapes": account.shapes,
        "batches": account.batches,
        "given_up": list(account.given_up),
        "maps": maps.limit,
        "held": sites,
    }
    write_atomically(path, partial(save_file, tensors, metadata={"collapse_lab": json.dumps(record)}))
    return path


def load_taken(path: Path) -> Taken:
    """Bit for bit what was saved; raises ValueError for a file that is torn or of another schema."""
    try:
        with safe_open(path, framework="pt") as file:
            record = json.loads((file.metadata() or {})["collapse_lab"])
        tensors = load_file(path)
        if record["schema"] != SCHEMA:
            raise ValueError(f"{path} has schema {record['schema']}, this version reads {SCHEMA}; capture it again")
        if _checksum(tensors) != record["checksum"]:
            raise KeyError("its numbers are not those that were written")
    except (OSError, SafetensorError, KeyError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is torn ({error}); delete it and capture again") from None
    account = Account(
        settings=record["settings"],
        shapes=record["shapes"],
        batches=record["batches"],
        given_up=record["given_up"],
        times=dict(zip(tensors["ids"].tolist(), tensors["times"].tolist(), strict=True)),
    )
    inside = {site: below(f"{place}.", tensors) for place, site in enumerate(account.sites)}
    maps = Maps(
        limit=record["maps"],
        values={site: packed["maps.values"] for site, packed in inside.items() if "maps.values" in packed},
        id={site: packed["maps.id"] for site, packed in inside.items() if "maps.id" in packed},
    )
    held = {site: unpack_held(packed, record["held"][site]) for site, packed in inside.items()}
    return Taken(account=account, held=held, maps=maps)


class Saving:
    """Saves a pass every so many batches into a folder, one file a rank, and finds it there again."""

    def __init__(self, folder: Path | str, *, every: int, rank: int = 0, world: int = 1) -> None:
        self.folder, self.every, self.world = Path(folder), every, world
        self.path = self.folder / f"pass-{rank}-of-{world}.safetensors"

    def load(self, settings: Mapping[str, Any]) -> Taken | None:
        """What an interrupted pass had taken in; None for none.

        Raises ValueError where it was one of other settings, or of another number of processes.
        """
        others = set(self.folder.glob("pass-*.safetensors")) - set(self.folder.glob(f"pass-*-of-{self.world}.*"))
        if others:
            raise self._other(f"number of processes: {min(others).stem.rpartition('-')[2]} and {self.world}")
        if not self.path.is_file():
            return None
        taken = load_taken(self.path)
        differing = difference(taken.account.settings, settings)
        if differing:
            raise self._other(differing)
        return taken

    def after(self, taken: Taken) -> None:
        """To be called after every batch; saves after every so many. That reads all sites' sums from their device."""
        if taken.account.batches % self.every == 0:
            save_taken(taken, self.path)

    def clear(self) -> None:
        """Delete the file, and the folder if nothing else is in it."""
        self.path.unlink(missing_ok=True)
        with suppress(OSError):  # other files are in it, or another rank was faster
            self.folder.rmdir()

    def _other(self, differing: str) -> ValueError:
        return ValueError(
            f"{self.folder} holds an interrupted capture of other settings ({differing}); "
            f"delete the folder, or capture with the old settings"
        )


def skip_done(batches: Iterator[Seen], account: Account, times: Mapping[int, int]) -> None:
    """Pass over the batches that are done; `times` counts images as they are read.

    Raises ValueError where these are not the images that were captured.
    """
    for _ in range(account.batches):
        next(batches, None)
    if dict(times) != dict(account.times):
        raise ValueError(
            f"these are not the batches that were captured: the first {account.batches} hold other images than before "
            f"the interruption; give the same images in the same batches, or delete what was saved"
        )


def _checksum(tensors: Packed) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(f"{name}{tuple(tensors[name].shape)}{tensors[name].dtype}".encode())
        digest.update(bytes_of(tensors[name]))
    return digest.hexdigest()
