"""Axis names and the one canonical layout: every feature tensor is (image, position, channel)."""

from __future__ import annotations

import math
from typing import TypeAlias

from torch import Tensor

Features: TypeAlias = Tensor
"""A float tensor (N images, P positions, C channels). A position is a place in the map, or a token."""

CANONICAL = "image position channel"
_POSITION_AXES = ("position", "height", "width", "depth", "token")


def as_features(tensor: Tensor, layout: str = CANONICAL) -> Features:
    """Bring a tensor of a *declared* layout to (image, position, channel); nothing is guessed from sizes.

    `layout` names each axis once, in order: "image" and "channel" are required, the others (position, height,
    width, depth, token) are flattened in the order they stand. "image channel" gives one position an image.
    Raises ValueError when the names do not fit the tensor.
    """
    axes = layout.split()
    unknown = [axis for axis in axes if axis not in ("image", "channel", *_POSITION_AXES)]
    if unknown or len(set(axes)) != len(axes) or "image" not in axes or "channel" not in axes:
        raise ValueError(
            f"layout {layout!r} is not a layout; name each axis once, with 'image' and 'channel' among them, "
            f"for example 'image channel height width'"
        )
    if tensor.ndim != len(axes):
        raise ValueError(
            f"a tensor of shape {tuple(tensor.shape)} has {tensor.ndim} axes, layout {layout!r} names {len(axes)}; "
            f"name every axis in its order"
        )
    image, channel = axes.index("image"), axes.index("channel")
    between = [axis for axis in range(tensor.ndim) if axis not in (image, channel)]
    moved = tensor.permute(image, *between, channel)
    return moved.reshape(moved.shape[0], math.prod(moved.shape[1:-1]), moved.shape[-1])  # (N, P, C)
