"""A capture in memory and on disk: stats.safetensors, rows.safetensors, and capture.json, which is written last."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from collapse_lab import draws
from collapse_lab.runs import checksum, environment, now, read_json, write_atomically, write_json
from collapse_lab.shapes import Features
from collapse_lab.stats.images import ImageSums
from collapse_lab.stats.layer import LayerStats
from collapse_lab.stats.sample import KeptRows

SCHEMA = 3
Key = tuple[str, str]
"""(site, position policy)."""


@dataclass(frozen=True, kw_only=True)
class Replicates:
    """Leave-one-group-out values of each metric, and the number of images in each group left out."""

    values: Mapping[str, list[float]]
    sizes: list[int]


@dataclass(frozen=True, kw_only=True)
class Maps:
    """All positions of a few images, those of smallest hash: `values` site -> (m, P, C) float32, `id` site -> (m,)."""

    limit: int
    values: Mapping[str, Tensor]
    id: Mapping[str, Tensor]

    @staticmethod
    def none(limit: int) -> Maps:
        return Maps(limit=limit, values={}, id={})

    def take(self, site: str, features: Features, ids: Tensor) -> Maps:
        """With the images of one batch considered."""
        if not self.limit:
            return self
        values, known = features.cpu().float(), ids.cpu()
        if site in self.values:
            if self.values[site].shape[1:] != values.shape[1:]:
                raise ValueError(
                    f"site {site!r} gives maps of {tuple(self.values[site].shape[1:])} and of "
                    f"{tuple(values.shape[1:])}; maps are kept of images of one size only, set keep_maps=0"
                )
            values, known = torch.cat([self.values[site], values]), torch.cat([self.id[site], known])
        order = draws.hashed(draws.key("maps"), known, 1)[:, 0].argsort(stable=True)[: self.limit]
        return replace(self, values={**self.values, site: values[order]}, id={**self.id, site: known[order]})


class Capture(Mapping[Key, LayerStats]):
    """(site, positions) -> LayerStats, in the order in which the sites fire; `capture[site]` is the first policy."""

    def __init__(
        self,
        stats: Mapping[Key, LayerStats],
        *,
        replicates: Mapping[Key, Replicates] | None = None,
        maps: Maps | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        self._stats = dict(stats)
        self.replicates = dict(replicates or {})
        self.maps = maps or Maps.none(0)
        self.facts = dict(facts or {})

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

    def save(self, path: Path | str) -> Path:
        """Write the capture into a folder; capture.json comes last, so a folder that has one is whole."""
        folder = Path(path)
        names = {f"{site}|{policy}": stats for (site, policy), stats in self._stats.items()}
        tensors: dict[str, Tensor] = {}
        rows: dict[str, Tensor] = {}
        for name, stats in names.items():
            tensors |= {f"{name}|{field}": value for field, value in _pack(stats).items()}
            if stats.rows is not None:
                rows |= {
                    f"{name}|rows.{field.name}": _tensor(getattr(stats.rows, field.name)) for field in fields(KeptRows)
                }
        rows |= {f"{site}|maps.values": _tensor(value) for site, value in self.maps.values.items()}
        rows |= {f"{site}|maps.id": _tensor(value) for site, value in self.maps.id.items()}
        files = {"stats.safetensors": tensors, "rows.safetensors": rows}
        for name, content in files.items():
            write_atomically(folder / name, partial(save_file, content))
        record = {
            "schema": SCHEMA,
            "checksums": {name: checksum(folder / name) for name in files},
            "created": now(),
            **environment(),
            **self.facts,
            "keys": [list(key) for key in self._stats],
            "maps": self.maps.limit,
            "replicates": [_pack_replicates(key, value) for key, value in self.replicates.items()],
        }
        write_json(folder / "capture.json", record)
        return folder


def load_capture(path: Path | str) -> Capture:
    """A capture from its folder; raises FileNotFoundError where there is none, ValueError where it is torn or newer."""
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
        for name, told in record["checksums"].items():
            if checksum(folder / name) != told:
                raise KeyError(f"{name} is not the file that was written with capture.json")
        tensors = load_file(folder / "stats.safetensors") | load_file(folder / "rows.safetensors")
        keys: list[Key] = [(site, policy) for site, policy in record["keys"]]
        stats = {key: _unpack(_below("|".join(key) + "|", tensors)) for key in keys}
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
    return Capture(stats, replicates=dict(map(_unpack_replicates, record["replicates"])), maps=maps, facts=facts)


def _tensor(value: Any) -> Tensor:
    if isinstance(value, Tensor):
        return value.clone(memory_format=torch.contiguous_format)  # policies of a site may share a tensor, files not
    if isinstance(value, int):
        return torch.tensor(value - (1 << 64) if value >= 1 << 63 else value)
    return torch.tensor(value, dtype=torch.float64)


def _pack(stats: LayerStats) -> dict[str, Tensor]:
    """Every number of the statistics as a tensor; of the symmetric scatter the upper triangle."""
    packed = {each.name: getattr(stats, each.name) for each in fields(stats) if each.name not in ("images", "rows")}
    packed |= {f"images.{each.name}": getattr(stats.images, each.name) for each in fields(ImageSums)}
    if stats.has_scatter:
        packed["scatter"] = stats.scatter[tuple(torch.triu_indices(stats.channels, stats.channels))]
    return {name: _tensor(value) for name, value in packed.items()}


def _unpack(tensors: dict[str, Tensor]) -> LayerStats:
    channels = tensors["mean"].numel()
    values = {name: _number(value) for name, value in tensors.items()}
    if channels == 1 or tensors["scatter"].numel() > channels:  # else the diagonal alone was kept
        upper = torch.zeros(channels, channels, dtype=torch.float64)
        upper[tuple(torch.triu_indices(channels, channels))] = tensors["scatter"]
        values["scatter"] = upper + upper.triu(1).T
    values["images_key"] %= 1 << 64
    images = ImageSums(**_below("images.", values))
    rows = KeptRows(**_below("rows.", values)) if "rows.values" in values else None
    own = {name: value for name, value in values.items() if "." not in name}
    return LayerStats(**own, images=images, rows=rows)


def _number(value: Tensor) -> Any:
    return value if value.ndim else value.item()


def _below(prefix: str, values: Mapping[str, Any]) -> dict[str, Any]:
    return {name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix)}


def _pack_replicates(key: Key, replicates: Replicates) -> dict[str, Any]:
    values = {name: [None if math.isnan(v) else v for v in row] for name, row in replicates.values.items()}
    return {"key": list(key), "values": values, "sizes": replicates.sizes}


def _unpack_replicates(record: dict[str, Any]) -> tuple[Key, Replicates]:
    values = {name: [math.nan if v is None else v for v in row] for name, row in record["values"].items()}
    site, policy = record["key"]
    return (site, policy), Replicates(values=values, sizes=record["sizes"])
