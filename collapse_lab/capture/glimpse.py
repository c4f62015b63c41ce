"""A few sites of a saved capture, without reading the rest: what a page shows of a capture of any size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from collapse_lab.capture.maps import Maps
from collapse_lab.capture.packing import Packed, unpack_rows, unpack_stats
from collapse_lab.capture.store import ROWS, STATS
from collapse_lab.runs import read_json
from collapse_lab.stats.layer import LayerStats


@dataclass(frozen=True, kw_only=True)
class Glimpse:
    """Of the asked sites: `stats` site -> statistics under the capture's first policy, with `rows` where any were kept
    under any policy; `maps` of those that have them."""

    stats: dict[str, LayerStats]
    maps: Maps


def glimpse(folder: Path, sites: Sequence[str]) -> Glimpse:
    """Read those of the sites that a capture's folder holds, in the order given; checksums are not looked at.

    Raises ValueError for a folder that holds no whole capture.
    """
    try:
        record = read_json(folder / "capture.json")
        with safe_open(folder / STATS, framework="pt") as stats, safe_open(folder / ROWS, framework="pt") as rows:
            return _read(record, stats, rows, sites)
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise ValueError(f"{folder} holds no whole capture ({error}); capture it again") from None


def _read(record: dict[str, Any], stats: Any, rows: Any, sites: Sequence[str]) -> Glimpse:
    policies: dict[str, list[str]] = {}
    for site, policy in record["keys"]:
        policies.setdefault(site, []).append(policy)
    numbers, kept = list(stats.keys()), list(rows.keys())
    found, values, ids = {}, {}, {}
    for site in [site for site in sites if site in policies]:
        samples = [own for policy in policies[site] if (own := _under(rows, kept, f"{site}|{policy}|rows."))]
        own = _under(stats, numbers, f"{site}|{policies[site][0]}|")
        found[site] = unpack_stats(own, unpack_rows(samples[0]) if samples else None)
        if f"{site}|maps.values" in kept:
            values[site], ids[site] = (rows.get_tensor(f"{site}|maps.{name}") for name in ("values", "id"))
    return Glimpse(stats=found, maps=Maps(limit=record["maps"], values=values, id=ids))


def _under(file: Any, names: Sequence[str], prefix: str) -> Packed:
    """The tensors of the names that begin so, without this beginning."""
    return {name.removeprefix(prefix): file.get_tensor(name) for name in names if name.startswith(prefix)}
