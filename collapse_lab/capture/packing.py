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
    return {name: as_tensor(value) for name, value in _numbers(stats).items()}


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
    tensors = _prefixed("parts", _stacked([_numbers(held.parts[key]) for key in keys]))
    tensors |= _prefixed("inside", _stacked([vars(held.inside[group]) for group in groups]))
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
    return torch.tensor(_signed(value), dtype=torch.int64 if isinstance(value, int) else torch.float64)


def below(prefix: str, values: Mapping[str, Tensor]) -> Packed:
    """Those whose name begins so, without it."""
    return {name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix)}


def _numbers(stats: LayerStats) -> dict[str, Any]:
    """The fields of the statistics, and below `images.` those of what lies inside the images."""
    numbers = {each.name: getattr(stats, each.name) for each in fields(stats) if each.name not in ("images", "rows")}
    numbers |= {f"images.{name}": value for name, value in vars(stats.images).items()}
    scatter = numbers.pop("scatter")
    if stats.has_scatter:
        numbers["scatter"] = scatter[tuple(torch.triu_indices(stats.channels, stats.channels))]
    else:
        numbers["diagonal"] = scatter
    return numbers


def _stacked(numbers: Sequence[Mapping[str, Any]]) -> Packed:
    return {name: _in_one([each[name] for each in numbers]) for name in numbers[0]} if numbers else {}


def _in_one(values: Sequence[Any]) -> Tensor:
    first = values[0]
    if isinstance(first, Tensor):
        return torch.stack([value.cpu() for value in values])
    kind = torch.int64 if isinstance(first, int) else torch.float64
    return torch.tensor([_signed(value) for value in values], dtype=kind)


def _signed(value: Any) -> Any:
    return value - (1 << 64) if isinstance(value, int) and value >= 1 << 63 else value


def _number(value: Tensor) -> Any:
    return value if value.ndim else value.item()


def _prefixed(prefix: str, packed: Packed) -> Packed:
    return {f"{prefix}.{name}": value for name, value in packed.items()}
