"""Statistics as named tensors and back, bit for bit: what the files of a capture hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, TypeAlias

import torch
from torch import Tensor

from collapse_lab.stats.held import Held
from collapse_lab.stats.images import ImageSums
from collapse_lab.stats.layer import LayerStats
from collapse_lab.stats.sample import KeptRows

Packed: TypeAlias = dict[str, Tensor]


def pack_stats(stats: LayerStats) -> Packed:
    """Every number of the statistics but the kept rows; of the symmetric scatter the upper triangle."""
    packed = {each.name: getattr(stats, each.name) for each in fields(stats) if each.name not in ("images", "rows")}
    packed |= {f"images.{name}": value for name, value in pack_images(stats.images).items()}
    scatter = packed.pop("scatter")
    if stats.has_scatter:
        packed["scatter"] = scatter[tuple(torch.triu_indices(stats.channels, stats.channels))]
    else:
        packed["diagonal"] = scatter
    return {name: as_tensor(value) for name, value in packed.items()}


def unpack_stats(tensors: Mapping[str, Tensor], rows: KeptRows | None = None) -> LayerStats:
    values = {name: _number(value) for name, value in tensors.items() if "." not in name}
    if "scatter" in values:
        channels = tensors["mean"].numel()
        upper = torch.zeros(channels, channels, dtype=torch.float64)
        upper[tuple(torch.triu_indices(channels, channels))] = tensors["scatter"]
        values["scatter"] = upper + upper.triu(1).T
    else:
        values["scatter"] = values.pop("diagonal")
    values["images_key"] %= 1 << 64
    return LayerStats(**values, images=unpack_images(below("images.", tensors)), rows=rows)


def pack_images(images: ImageSums) -> Packed:
    return {each.name: as_tensor(getattr(images, each.name)) for each in fields(ImageSums)}


def unpack_images(tensors: Mapping[str, Tensor]) -> ImageSums:
    return ImageSums(**{name: _number(value) for name, value in tensors.items()})


def pack_rows(rows: KeptRows) -> Packed:
    return {each.name: as_tensor(getattr(rows, each.name)) for each in fields(KeptRows)}


def unpack_rows(tensors: Mapping[str, Tensor]) -> KeptRows:
    """Rows stored in float16 come back in float32."""
    values = {name: _number(value) for name, value in tensors.items()}
    if values["values"].dtype == torch.float16:
        values["values"] = values["values"].float()
    return KeptRows(**values)


def pack_held(held: Held) -> tuple[Packed, dict[str, Any]]:
    """Tensors, those of the groups stacked, and the plain values that say what stands where."""
    keys, groups, policies = list(held.parts), list(held.inside), list(held.rows)
    tensors = _prefixed("parts", _stacked([pack_stats(held.parts[key]) for key in keys]))
    tensors |= _prefixed("inside", _stacked([pack_images(held.inside[group]) for group in groups]))
    for policy, rows in held.rows.items():
        tensors |= _prefixed(f"rows.{policy}", pack_rows(rows))
    counts = [[group, count] for group, count in held.counts.items()]
    record = {"settings": dict(held.settings), "parts": keys, "inside": groups, "counts": counts, "rows": policies}
    return tensors, record


def unpack_held(tensors: Mapping[str, Tensor], record: Mapping[str, Any]) -> Held:
    parts, inside = below("parts.", tensors), below("inside.", tensors)
    settings = {name: tuple(value) if isinstance(value, list) else value for name, value in record["settings"].items()}
    return Held(
        settings=settings,
        parts={
            (policy, group): unpack_stats({name: value[place] for name, value in parts.items()})
            for place, (policy, group) in enumerate(record["parts"])
        },
        inside={
            group: unpack_images({name: value[place].clone() for name, value in inside.items()})
            for place, group in enumerate(record["inside"])
        },
        counts=dict(record["counts"]),
        rows={policy: unpack_rows(below(f"rows.{policy}.", tensors)) for policy in record["rows"]},
    )


def as_tensor(value: Any) -> Tensor:
    """On its own memory, on the CPU; a whole number of 64 bits as a signed one."""
    if isinstance(value, Tensor):
        return value.cpu().clone(memory_format=torch.contiguous_format)  # policies of a site may share one, files not
    if isinstance(value, int):
        return torch.tensor(value - (1 << 64) if value >= 1 << 63 else value)
    return torch.tensor(value, dtype=torch.float64)


def below(prefix: str, values: Mapping[str, Tensor]) -> Packed:
    """Those whose name begins so, without it."""
    return {name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix)}


def _number(value: Tensor) -> Any:
    return value if value.ndim else value.item()


def _prefixed(prefix: str, packed: Packed) -> Packed:
    return {f"{prefix}.{name}": value for name, value in packed.items()}


def _stacked(packed: Sequence[Packed]) -> Packed:
    return {name: torch.stack([each[name] for each in packed]) for name in packed[0]} if packed else {}
