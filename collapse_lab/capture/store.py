"""A capture in memory and on disk: stats.safetensors, rows.safetensors, groups.safetensors where the groups of images
are kept, and capture.json, which is written last."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from collapse_lab import markup
from collapse_lab.capture.maps import Maps
from collapse_lab.capture.packing import (
    Packed,
    as_tensor,
    below,
    pack_rows,
    pack_stats,
    unpack_rows,
    unpack_stats,
)
from collapse_lab.capture.saved import load_taken, save_taken
from collapse_lab.capture.taken import Account, Taken
from collapse_lab.runs import checksum, environment, now, read_json, write_atomically, write_json
from collapse_lab.stats.held import Held
from collapse_lab.stats.layer import LayerStats

SCHEMA = 3
STATS, ROWS, GROUPS = "stats.safetensors", "rows.safetensors", "groups.safetensors"
ROW_TYPES = {"float32": torch.float32, "float16": torch.float16}
Key = tuple[str, str]
"""(site, position policy)."""


@dataclass(frozen=True, kw_only=True)
class Replicates:
    """Leave-one-group-out values of each metric, and the number of images in each group left out."""

    values: Mapping[str, list[float]]
    sizes: list[int]


class Capture(Mapping[Key, LayerStats]):
    """(site, positions) -> LayerStats, in the order in which the sites fire; `capture[site]` is the first policy.

    `capture[site].rows` are the kept rows with their images and positions, see `KeptRows`; `maps` whole maps of a few
    images. `held` (site -> Held) and `account` are there where the groups of images were kept, for merging.
    """

    def __init__(
        self,
        stats: Mapping[Key, LayerStats],
        *,
        replicates: Mapping[Key, Replicates] | None = None,
        maps: Maps | None = None,
        facts: Mapping[str, Any] | None = None,
        held: Mapping[str, Held] | None = None,
        account: Account | None = None,
    ) -> None:
        self._stats = dict(stats)
        self.replicates = dict(replicates or {})
        self.maps = maps or Maps.none(0)
        self.facts = dict(facts or {})
        self.held = dict(held or {})
        self.account = account

    @property
    def sites(self) -> list[str]:
        return list(dict.fromkeys(site for site, _ in self._stats))

    @property
    def positions(self) -> list[str]:
        return list(dict.fromkeys(policy for _, policy in self._stats))

    def depth(self, site: str) -> float:
        """0 for the site that fires first, 1 for the last."""
        return self.sites.index(site) / max(1, len(self.sites) - 1)

    def __getitem__(self, key: Key | str) -> LayerStats:
        found = (key, self.positions[0] if self._stats else "") if isinstance(key, str) else key
        if found not in self._stats:
            raise KeyError(f"{key!r} was not captured; there is: {', '.join(self.sites)} x {', '.join(self.positions)}")
        return self._stats[found]

    def __iter__(self) -> Iterator[Key]:
        return iter(self._stats)

    def __len__(self) -> int:
        return len(self._stats)

    def __repr__(self) -> str:
        return (
            f"Capture of {self.facts.get('images', '?')} images: {len(self.sites)} sites x {', '.join(self.positions)}"
        )

    def _repr_html_(self) -> str:
        """A row a site, as a notebook shows it; nothing is measured for it."""
        rows = []
        for site in self.sites:
            own = {policy: self[site, policy] for policy in self.positions if (site, policy) in self}
            first = next(iter(own.values()))
            taken = ", ".join(f"{policy}: {stats.n_rows}" for policy, stats in own.items())
            kept = len(first.rows.key) if first.rows is not None else 0
            shape = " x ".join(map(str, self.facts.get("shapes", {}).get(site, ()))) or None
            maps = len(self.maps.values.get(site, ()))
            rows.append((site, shape, first.channels, taken, kept, maps, first.bad_values))
        columns = ("site", "shape", "channels", "rows", "kept rows", "kept maps", "bad values")
        return markup.table(columns, rows, title=repr(self), note="; ".join(self.facts.get("given_up", ())))

    def save(self, path: Path | str, *, rows_dtype: str | None = None) -> Path:
        """Write the capture into a folder; capture.json comes last, so a folder that has one is whole.

        `rows_dtype` is what kept rows are stored in, "float32" or "float16" (3 digits; they are read back in float32);
        without it as they are, and with a warning where one lies beyond its range. Groups that were kept are stored
        whole, their rows too, in a file of their own. Raises ValueError for another type.
        """
        folder = Path(path)
        stats: Packed = {}
        for key, value in self._stats.items():
            stats |= {f"{'|'.join(key)}|{name}": tensor for name, tensor in pack_stats(value).items()}
        rows = self._packed_rows(rows_dtype)
        rows |= {f"{site}|maps.values": as_tensor(value) for site, value in self.maps.values.items()}
        rows |= {f"{site}|maps.id": as_tensor(value) for site, value in self.maps.id.items()}
        files = {STATS: stats, ROWS: rows}
        for name, content in files.items():
            write_atomically(folder / name, partial(save_file, content))
        if self.account is not None:
            save_taken(Taken(account=self.account, held=self.held, maps=Maps.none(0)), folder / GROUPS)
        else:
            (folder / GROUPS).unlink(missing_ok=True)  # of a capture that was here before
        written = [*files, GROUPS] if self.account is not None else list(files)
        record = {
            "schema": SCHEMA,
            "checksums": {name: checksum(folder / name) for name in written},
            "created": now(),
            **environment(),
            **self.facts,
            "keys": [list(key) for key in self._stats],
            "maps": self.maps.limit,
            "replicates": [_pack_replicates(key, value) for key, value in self.replicates.items()],
        }
        write_json(folder / "capture.json", record)
        return folder

    def _packed_rows(self, dtype: str | None) -> Packed:
        packed: Packed = {}
        for (site, policy), stats in self._stats.items():
            if stats.rows is not None:
                rows = pack_rows(stats.rows)
                rows["values"] = _stored(rows["values"], dtype, site)
                packed |= {f"{site}|{policy}|rows.{name}": tensor for name, tensor in rows.items()}
        return packed


def load_capture(path: Path | str, *, groups: bool = True) -> Capture:
    """A capture from its folder; raises FileNotFoundError where there is none, ValueError where it is torn or newer.

    Kept groups of images, many times as large as the rest and of use for merging alone, are left out by `groups=False`.
    """
    folder = Path(path)
    if not (folder / "capture.json").is_file():
        raise FileNotFoundError(
            f"{folder} is not a capture: it has no capture.json (make one with 'collapse-lab capture')"
        )
    try:
        record = read_json(folder / "capture.json")
    except json.JSONDecodeError as error:
        raise ValueError(f"the capture {folder} is torn ({error}); delete it and capture again") from None
    if record.get("schema") != SCHEMA:
        raise ValueError(f"{folder} has schema {record.get('schema')}, this version reads {SCHEMA}; capture it again")
    try:
        wanted = [name for name in record["checksums"] if groups or name != GROUPS]
        for name in wanted:
            if checksum(folder / name) != record["checksums"][name]:
                raise KeyError(f"{name} is not the file that was written with capture.json")
        tensors = load_file(folder / STATS) | load_file(folder / ROWS)
        keys: list[Key] = [(site, policy) for site, policy in record["keys"]]
        stats = {key: _unpacked(below("|".join(key) + "|", tensors)) for key in keys}
        taken = load_taken(folder / GROUPS) if GROUPS in wanted else None
    except (OSError, SafetensorError, KeyError) as error:
        raise ValueError(f"the capture {folder} is torn ({error}); delete it and capture again") from None
    maps = Maps(
        limit=record["maps"],
        values={
            name.removesuffix("|maps.values"): value for name, value in tensors.items() if name.endswith("|maps.values")
        },
        id={name.removesuffix("|maps.id"): value for name, value in tensors.items() if name.endswith("|maps.id")},
    )
    own = {"schema", "checksums", "keys", "maps", "replicates"}
    facts = {name: value for name, value in record.items() if name not in own}
    return Capture(
        stats,
        replicates=dict(map(_unpack_replicates, record["replicates"])),
        maps=maps,
        facts=facts,
        held=None if taken is None else taken.held,
        account=None if taken is None else taken.account,
    )


def _unpacked(tensors: Packed) -> LayerStats:
    rows, own = below("rows.", tensors), {name: value for name, value in tensors.items() if name[:5] != "rows."}
    return unpack_stats(own, unpack_rows(rows) if rows else None)


def _stored(values: Tensor, dtype: str | None, site: str) -> Tensor:
    if dtype is None:
        return values
    if dtype not in ROW_TYPES:
        raise ValueError(f"rows are stored in {' or '.join(ROW_TYPES)}, got {dtype!r}")
    largest, most = values.abs().max().item() if values.numel() else 0.0, torch.finfo(ROW_TYPES[dtype]).max
    if not largest <= most:
        note = f"the rows of site {site!r} are stored as they came: one has a number of size {largest:.4g}"
        warnings.warn(f"{note}, and {dtype} ends at {most:.4g}", stacklevel=4)
        return values
    return values.to(ROW_TYPES[dtype])


def _pack_replicates(key: Key, replicates: Replicates) -> dict[str, Any]:
    values = {name: [None if math.isnan(v) else v for v in row] for name, row in replicates.values.items()}
    return {"key": list(key), "values": values, "sizes": replicates.sizes}


def _unpack_replicates(record: dict[str, Any]) -> tuple[Key, Replicates]:
    values = {name: [math.nan if v is None else v for v in row] for name, row in record["values"].items()}
    site, policy = record["key"]
    return (site, policy), Replicates(values=values, sizes=record["sizes"])
