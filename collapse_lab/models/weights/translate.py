"""What a file of weights holds, in our names and shapes: which layout it is in, and what has no place in that."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from collapse_lab.models.weights import minkowski
from collapse_lab.models.weights.layouts import LAYOUTS, OURS, Layout

_OF_A_BLOCK = re.compile(r"(stages\.\d+\.)?blocks\.")
A_NAME = "stages.0.blocks.0.depthwise.weight"
"""Shows in a message what the names of a layout look like."""


@dataclass(frozen=True, kw_only=True)
class Translated:
    """What a file holds, in our names: `tensors`; `known_as` the file's own name of each.

    `unexpected` are names that the layout does not have, `left_out` those of what an encoder was trained with.
    """

    layout: Layout
    tensors: dict[str, Tensor]
    known_as: dict[str, str]
    unexpected: tuple[str, ...]
    left_out: tuple[str, ...]
    sparse: bool


def translate(stored: Mapping[str, Tensor], source: str) -> Translated:
    """Tensors of any known layout in our names and shapes; the layout is the one that knows most of the names.

    Raises ValueError when no layout knows at least half of them, and for two tensors that are one of ours.
    """
    sparse = minkowski.is_sparse(stored)
    dense = {name: minkowski.densified(name, value) if sparse else (name, value) for name, value in stored.items()}
    layout = max((LAYOUTS[name] for name in LAYOUTS), key=lambda layout: _known(layout, dense))
    left_out = [name for name in dense if layout.bare(name).split(".")[0] in layout.others]
    if 2 * _known(layout, dense) < len(dense) - len(left_out) or not _known(layout, dense):
        raise ValueError(_no_convnext(list(stored), source))
    tensors: dict[str, Tensor] = {}
    known_as: dict[str, str] = {}
    unexpected = []
    for name, (theirs, value) in dense.items():
        if name in left_out:
            continue
        ours = layout.ours(layout.bare(theirs))
        if ours is None:
            unexpected.append(name)
        elif ours in tensors:
            raise ValueError(
                f"{source} holds two tensors for one place: {known_as[ours]} and {name}; delete one of them"
            )
        else:
            tensors[ours] = value if layout is OURS else _our_shape(ours, value)
            known_as[ours] = name
    return Translated(
        layout=layout,
        tensors=tensors,
        known_as=known_as,
        unexpected=tuple(sorted(unexpected)),
        left_out=tuple(left_out),
        sparse=sparse,
    )


def _known(layout: Layout, dense: Mapping[str, tuple[str, Tensor]]) -> int:
    """How many names the layout knows; 0 when none of them is of a block: others have a norm and a head as well."""
    found = [layout.ours(layout.bare(name)) for name, _ in dense.values()]
    return sum(name is not None for name in found) if any(name and _OF_A_BLOCK.match(name) for name in found) else 0


def _our_shape(name: str, value: Tensor) -> Tensor:
    """GRN's vectors without their leading ones, a 1 x 1 convolution as the linear map that it is."""
    if ".response." in name and value.ndim > 1 and value.numel() == value.shape[-1]:
        return value.flatten()
    if name.endswith(("expand.weight", "project.weight")) and value.ndim == 4 and value.shape[2:] == (1, 1):
        return value.flatten(1)
    return value


def _no_convnext(names: list[str], source: str) -> str:
    seen = ", ".join(names[:4]) + (f" ... ({len(names)} tensors)" if len(names) > 4 else "")
    known = ", ".join(f"{name} ({LAYOUTS[name].theirs(A_NAME)})" for name in LAYOUTS)
    return f"{source} holds no ConvNeXt V1 or V2: it has {seen or 'no tensors'}; the layouts that are known: {known}"
