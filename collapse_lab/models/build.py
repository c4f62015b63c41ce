"""Networks by name, and what is settled of each by its family."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch

from collapse_lab.models.convnext import SIZES, ConvNeXt, Size, convnext
from collapse_lab.models.encoder import Encoder
from collapse_lab.models.vit import PATCH, VITS, ViT, ViTSize, vit
from collapse_lab.registry import Registry

MODELS: Registry[Size | ViTSize] = Registry(
    "model", {**{name: SIZES[name] for name in SIZES}, **{name: VITS[name] for name in VITS}}
)


def build_model(
    name: str,
    *,
    response: str = "published",
    layer_scale: float | Literal["published"] | None = "published",
    in_channels: int = 3,
    classes: int | None = None,
    drop_path: float = 0.0,
    head_init_scale: float = 1.0,
    seed: int = 0,
    widths: tuple[int, ...] | None = None,
    patch: int | None = None,
    depth: int | None = None,
) -> Encoder:
    """A network by name, its initial values a function of (seed, parameter name).

    `convnext_{atto..xlarge}` are V1 (no response, LayerScale 1e-6), `convnextv2_{atto..huge}` V2 (GRN, no LayerScale);
    `convnext_digits` (three stages, stem of stride 2) and `convnext_cifar` (Atto's four stages, stem of stride 1) have
    cells of 8 x 8 pixels, so 4 x 4 of them at 32 px; they are ours and not published: say response and layer_scale,
    and, for others than their own, the channels of each stage (`widths`). `layer_scale` is its initial value, None
    turns it off.

    `vit_{tiny, small, base}` are 192, 384 and 768 wide, 12 blocks deep, with 3, 6 and 12 heads. `patch` is the side of
    a patch in pixels (16), `depth` another number of blocks and `widths=(w,)` another width, for small studies.

    `classes=None` builds no head, which is what is trained without labels, and a ConvNeXt no final norm either;
    `classes=0` the final norm alone, what others call a model without its classifier. The head's initial values are
    multiplied by `head_init_scale`. Raises LookupError for an unknown name or response, ValueError for settings that
    do not fit or are of another family.
    """
    MODELS[name]  # an unknown name raises with the nearest one
    shared: dict[str, Any] = {
        "widths": widths,
        "in_channels": in_channels,
        "classes": classes,
        "drop_path": drop_path,
    }
    model: Encoder
    if name in VITS:
        _refuse_of_convnext(name, response=response, layer_scale=layer_scale)
        model = vit(name, patch=patch, depth=depth, **shared)
    else:
        _refuse_of_vit(name, patch=patch, depth=depth)
        model = convnext(name, response=response, layer_scale=layer_scale, **shared)
    model.draw(model, seed)
    if model.head is not None:
        with torch.no_grad():
            model.head.weight.mul_(head_init_scale)
            model.head.bias.mul_(head_init_scale)
    return model


def family_of(architecture: Mapping[str, Any]) -> type[Encoder]:
    """The class whose settings these are."""
    return ViT if "patch" in architecture else ConvNeXt


def _refuse_of_convnext(name: str, **settings: object) -> None:
    said = [f"{setting} = {value}" for setting, value in settings.items() if value != "published"]
    if said:
        raise ValueError(f"{name} is a ViT, which has no response and no LayerScale; leave out {' and '.join(said)}")


def _refuse_of_vit(name: str, **settings: int | None) -> None:
    said = [f"{setting} = {value}" for setting, value in settings.items() if value is not None]
    if said:
        raise ValueError(
            f"{name} is a ConvNeXt, whose cells and depths are settled by its name; leave out {' and '.join(said)}, "
            f"which {', '.join(VITS)} take (patches of {PATCH} pixels without a word)"
        )
