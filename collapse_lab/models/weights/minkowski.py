"""Weights of the official sparse encoder, stored for MinkowskiEngine, in the names and shapes of the dense one.

Facts from facebookresearch/ConvNeXt-V2 (utils.py) and MinkowskiEngine (kernel_region.hpp); reading only.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from torch import Tensor


def is_sparse(names: Iterable[str]) -> bool:
    """Whether any name is one that only the sparse encoder has."""
    return any(name.endswith(".kernel") or {"ln", "linear"} & set(name.split(".")) for name in names)


def densified(name: str, value: Tensor) -> tuple[str, Tensor]:
    """One tensor as the dense encoder names and shapes it; what is dense already comes back as it is."""
    name = ".".join(part for part in name.split(".") if part not in ("ln", "linear"))
    if name.endswith(".kernel"):
        return name.removesuffix("kernel") + "weight", _convolution(value)
    if name.endswith("bias") and value.ndim == 2 and len(value) == 1:
        return name, value.flatten()
    return name, value


def _convolution(kernel: Tensor) -> Tensor:
    """(k * k, in, out) as (out, in, k, k); depthwise, (k * k, C) as (C, 1, k, k); any other shape unchanged.

    Offsets run with the row fastest: weight[o, i, row, column] = kernel[row + k * column, i, o].
    """
    side = math.isqrt(len(kernel)) if kernel.ndim else 0
    if kernel.ndim not in (2, 3) or side * side != len(kernel):
        return kernel
    across = kernel[:, None] if kernel.ndim == 2 else kernel  # (k * k, 1, C) or (k * k, in, out)
    weight: Tensor = across.permute(2, 1, 0).unflatten(2, (side, side))  # (out, in, column, row)
    return weight.transpose(2, 3)
