"""In which order the axes stand in networks of transformers, timm and torchvision, by the file their class is from.

Kept here is only what the source of those libraries fixes: an order of axes for a number of axes, of what modules of
such a network give. What torch.nn's own layers inside give is in `layouts`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from torch import nn

from collapse_lab.shapes import CANONICAL

Axes: TypeAlias = Mapping[int, str]
"""Number of axes -> their order."""

ROWS = "image channel"
MAPS = "image channel height width"
MAPS_LAST = "image height width channel"
LAST: Axes = {2: ROWS, 3: CANONICAL, 4: MAPS_LAST}
"""Of modules that work on the last axis, whatever comes before."""

_TOKENS: Axes = {2: ROWS, 3: CANONICAL}
"""Tokens include the class token and registers, where a network has them: they are positions like the others."""
_FIRST: Axes = {2: ROWS, 4: MAPS}
_WINDOWS: Axes = {2: ROWS, 4: MAPS_LAST}

_OF_TOKENS = (
    *(f"transformers.models.{name}.modeling_{name}" for name in ("vit", "deit", "beit", "dinov2", "swin", "swinv2")),
    *(f"transformers.models.{name}.modeling_{name}" for name in ("clip", "siglip", "siglip2", "vit_mae", "vit_msn")),
    *(f"transformers.models.{name}.modeling_{name}" for name in ("dinov2_with_registers", "dinov3_vit")),
    *(f"timm.models.{name}" for name in ("vision_transformer", "vision_transformer_relpos", "deit", "beit", "eva")),
    "timm.models.vision_transformer_hybrid",
    "torchvision.models.vision_transformer",
)
_OF_MAPS = (
    *(f"transformers.models.{name}.modeling_{name}" for name in ("convnext", "convnextv2", "resnet")),
    *(f"timm.models.{name}" for name in ("convnext", "resnet", "resnetv2", "efficientnet", "mobilenetv3")),
    *(f"torchvision.models.{name}" for name in ("convnext", "resnet")),
)
_OF_WINDOWS = ("timm.models.swin_transformer", "timm.models.swin_transformer_v2", "torchvision.models.swin_transformer")

FAMILIES: Mapping[str, Axes] = {
    **dict.fromkeys(_OF_TOKENS, _TOKENS),
    **dict.fromkeys(_OF_MAPS, _FIRST),
    **dict.fromkeys(_OF_WINDOWS, _WINDOWS),
}

CLASSES: Mapping[str, Axes] = {
    "transformers.models.convnextv2.modeling_convnextv2.ConvNextV2GRN": {4: MAPS_LAST},
    "timm.layers.norm.LayerNorm": LAST,
    "timm.layers.norm.LayerNormFp32": LAST,
    "timm.layers.norm.RmsNorm": LAST,
    "timm.layers.norm.RmsNormFp32": LAST,
    "timm.layers.norm.SimpleNorm": LAST,
    "timm.layers.norm.SimpleNormFp32": LAST,
    "timm.layers.norm.LayerNorm2d": {4: MAPS},
    "timm.layers.norm.LayerNorm2dFp32": {4: MAPS},
    "timm.layers.norm.LayerNormExp2d": {4: MAPS},
    "timm.layers.norm.RmsNorm2d": {4: MAPS},
    "timm.layers.norm.RmsNorm2dFp32": {4: MAPS},
    "timm.layers.norm.SimpleNorm2d": {4: MAPS},
    "timm.layers.norm.SimpleNorm2dFp32": {4: MAPS},
    "timm.layers.linear.Linear": LAST,
}
"""Single classes that differ from their family, or stand in many."""


def family_of(module: nn.Module) -> str:
    """The file in FAMILIES that the module's class, or a class it is derived from, comes from; "" for none."""
    return next((kind.__module__ for kind in type(module).__mro__ if kind.__module__ in FAMILIES), "")


def in_library(module: nn.Module, family: str) -> bool:
    """Whether the module's class, or one it is derived from, is of the library that a family is of."""
    library = family.partition(".")[0]
    return any(kind.__module__.partition(".")[0] == library for kind in type(module).__mro__)


def of_class(module: nn.Module) -> Axes | None:
    """What a single class fixes: by its name, or by the setting that it keeps for this very purpose."""
    kind = type(module)
    known = CLASSES.get(f"{kind.__module__}.{kind.__name__}")
    if known is not None:
        return known
    if kind.__module__.startswith("transformers.") and hasattr(module, "data_format"):  # the LayerNorm of ConvNeXt
        return {4: MAPS} if module.data_format == "channels_first" else LAST
    if f"{kind.__module__}.{kind.__name__}" == "timm.layers.grn.GlobalResponseNorm":
        return {4: MAPS} if getattr(module, "channel_dim", None) == 1 else LAST
    return None
