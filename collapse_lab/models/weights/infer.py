"""The architecture of a ConvNeXt from its tensors alone, in our names.

A tensor that is missing or mis-shaped must not spoil the answer, so that it can be named against it: widths are voted
for, depths are the highest number seen.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from collapse_lab.models.responses.table import RESPONSES

# Of each tensor of a block, the axis that is as long as the block is wide.
_WIDTH_AXIS = {
    "depthwise.weight": 0,
    "depthwise.bias": 0,
    "norm.weight": 0,
    "norm.bias": 0,
    "expand.weight": 1,
    "project.weight": 0,
    "project.bias": 0,
    "layer_scale": 0,
}
_BLOCK = re.compile(r"stages\.(\d+)\.blocks\.(\d+)\.(.+)")
LAYER_SCALE = 1e-6
"""V1's own initial value: tensors say that there is a LayerScale, not from where it started."""


def architecture_of(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """The settings of `ConvNeXt` that these tensors fit, or would fit if all were there and well-shaped.

    Of responses that hold tensors of the same names (GRN and its variants) the first in RESPONSES is meant.
    Raises ValueError when a stage of those that are numbered has no block.
    """
    blocks = [(int(match[1]), int(match[2]), match[3], name) for name in tensors if (match := _BLOCK.fullmatch(name))]
    stages = sorted({stage for stage, *_ in blocks})
    if stages != list(range(len(stages))):
        raise ValueError(f"there are blocks of the stages {stages}; stages count from 0 without a gap")
    response = {rest.removeprefix("response.") for *_, rest, _ in blocks if rest.startswith("response.")}
    stem = tensors.get("stem.conv.weight")
    in_channels, side = (stem.shape[1], stem.shape[3]) if stem is not None and stem.ndim == 4 else (3, 4)
    return {
        "depths": tuple(1 + max(block for each, block, *_ in blocks if each == stage) for stage in stages),
        "dims": tuple(_vote(_widths(tensors, blocks, stage)) for stage in stages),
        "stem": side,
        "response": _response(response),
        "layer_scale": LAYER_SCALE if any(rest == "layer_scale" for *_, rest, _ in blocks) else None,
        "in_channels": in_channels,
        "classes": _classes(tensors),
        "drop_path": 0.0,
    }


def _widths(tensors: Mapping[str, Tensor], blocks: list[tuple[int, int, str, str]], stage: int) -> Iterator[int]:
    for each, _, rest, name in blocks:
        axis = _WIDTH_AXIS.get(rest)
        if each == stage and axis is not None and tensors[name].ndim > axis:
            yield tensors[name].shape[axis]


def _vote(widths: Iterator[int]) -> int:
    """What most of them say; 1 when there is none."""
    return max(Counter(widths).most_common(1), default=(1, 0))[0]


def _response(held: set[str]) -> str:
    """The response with these tensors and the fewest others; none when no response has them all."""
    extra = {}
    for name in RESPONSES:
        with torch.device("meta"):
            own = set(RESPONSES[name](64).state_dict())
        if held <= own:
            extra[name] = len(own - held)
    return min(extra, key=lambda name: extra[name], default="none")


def _classes(tensors: Mapping[str, Tensor]) -> int | None:
    head = [tensors[name] for name in ("head.weight", "head.bias") if name in tensors]
    if head and head[0].ndim:
        return len(head[0])
    return 0 if {"norm.weight", "norm.bias"} & set(tensors) else None
