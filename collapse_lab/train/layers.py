"""Which layer a parameter belongs to, for a learning rate that falls from the head to the stem."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Literal

GROUPED = (3, 3, 27, 3)
"""The depths that the published grouping is for: those of ConvNeXt small, base, large, xlarge and huge."""
_BLOCK = re.compile(r"encoder\.blocks\.(\d+)\.")
_STAGE = re.compile(r"encoder\.stages\.(\d+)\.(?:blocks\.(\d+)|downsample)\.")


def layer_scales(depths: Sequence[int], decay: float, layers: Literal["single", "grouped"]) -> Callable[[str], float]:
    """decay ** (number of layers above a parameter), by the name that it has in an objective.

    "single": every block is a layer, and the stem belongs to the first of them. "grouped": the stem is a layer of its
    own, and so are three blocks that follow each other, 12 such for depths 3, 3, 27, 3. In both a downsampling belongs
    to the block behind it, and final norm, head and whatever an objective has besides its encoder are the last layer,
    at scale 1. As in the official fine-tuning (Woo et al. 2023). Raises ValueError for groups of other depths.

    Of a ViT patches and class token are a layer of their own below the first block, and the final norm is in the last
    (He et al. 2022).
    """
    if layers == "grouped" and tuple(depths) != GROUPED:
        raise ValueError(
            f"optim.layers = grouped is for depths {GROUPED}, this network has {tuple(depths)}; use single"
        )
    number = _grouped if layers == "grouped" else _single
    last = 13 if layers == "grouped" else sum(depths) + 1

    def scale(name: str) -> float:
        return float(decay ** (last - number(name, depths, last)))

    return scale


def _single(name: str, depths: Sequence[int], last: int) -> int:
    if name.startswith(("encoder.stem.conv.", "encoder.stem.norm.")):
        return 1
    if name.startswith(("encoder.stem.", "encoder.cls_token")):  # of a ViT
        return 0
    if match := _BLOCK.match(name):
        return int(match[1]) + 1
    if match := _STAGE.match(name):
        return sum(depths[: int(match[1])]) + int(match[2] or 0) + 1
    return last


def _grouped(name: str, _: Sequence[int], last: int) -> int:
    if name.startswith("encoder.stem."):
        return 0
    match = _STAGE.match(name)
    if match is None:
        return last
    stage, block = int(match[1]), int(match[2] or 0)
    return (1, 2, 3 + block // 3, 12)[stage]
