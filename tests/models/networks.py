"""Small networks for tests, with every tensor away from its starting value, where terms would vanish."""

from __future__ import annotations

from typing import Any, TypeVar

import torch

from collapse_lab.models.block import fill
from collapse_lab.models.convnext import ConvNeXt
from collapse_lab.models.responses.base import Response
from collapse_lab.models.vit import ViT

FAMILIES = {
    "V2": {"response": "grn"},
    "V1": {"response": "none", "layer_scale": 1e-6},
    "GRN and LayerScale": {"response": "grn", "layer_scale": 1e-6},
    "neither": {"response": "none"},
}
CLASSES = [None, 0, 3]


def small(
    depths: tuple[int, ...] = (1, 2),
    dims: tuple[int, ...] = (4, 6),
    *,
    stem: int = 2,
    response: str = "grn",
    layer_scale: float | None = None,
    in_channels: int = 3,
    classes: int | None = None,
    dtype: torch.dtype = torch.float64,
    seed: int = 0,
) -> ConvNeXt:
    """A network of random weights, norms and gates."""
    model = ConvNeXt(
        depths=depths,
        dims=dims,
        stem=stem,
        response=response,
        layer_scale=layer_scale,
        in_channels=in_channels,
        classes=classes,
    )
    scatter(model, seed)
    return model.to(dtype)


def small_vit(
    patch: int = 4,
    width: int = 12,
    depth: int = 2,
    heads: int = 3,
    *,
    dtype: torch.dtype = torch.float64,
    **settings: Any,
) -> ViT:
    """A ViT of random weights, norms and class token."""
    model = ViT(patch=patch, width=width, depth=depth, heads=heads, **settings)
    scatter(model, 0)
    return model.to(dtype)


def scatter(module: torch.nn.Module, seed: int) -> None:
    """Every tensor from a normal of std .3, in place, those of norms around 1."""
    for name, parameter in module.named_parameters():
        fill(parameter, seed, name, lambda value, source: value.normal_(std=0.3, generator=source))
        if name.endswith("norm.weight"):
            parameter.data += 1


def of_family(family: str, **settings: Any) -> ConvNeXt:
    """`small` in float32, by what stands in its blocks."""
    return small(**{"dtype": torch.float32, **FAMILIES[family], **settings})


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    """Bit for bit, and no tensor more or less."""
    assert one.keys() == other.keys()
    assert {name: value.shape for name, value in one.items()} == {name: value.shape for name, value in other.items()}
    assert [name for name, value in one.items() if not torch.equal(value, other[name])] == []


def random_images(
    count: int, height: int, width: int, *, seed: int, dtype: torch.dtype = torch.float64
) -> torch.Tensor:
    source = torch.Generator().manual_seed(seed)
    return torch.randn(count, 3, height, width, generator=source, dtype=dtype)


def distance(one: torch.Tensor, other: torch.Tensor) -> float:
    """The largest difference, relative to the largest entry."""
    return ((one - other).abs().max() / other.abs().max().clamp(min=1e-6)).item()


def ragged_removed(count: int, cells: int, share: float, *, seed: int) -> torch.Tensor:
    """Each cell removed by its own coin: images differ in how many they keep, and may keep none."""
    return torch.rand(count, cells, generator=torch.Generator().manual_seed(seed)) < share


ResponseKind = TypeVar("ResponseKind", bound=Response)


def random_response(kind: type[ResponseKind], channels: int, *, dtype: torch.dtype = torch.float64) -> ResponseKind:
    """A response away from its start, where most terms vanish."""
    module = kind(channels)
    for name, parameter in module.named_parameters():
        fill(parameter, 0, name, lambda value, source: value.normal_(std=0.5, generator=source))
    return module.to(dtype)


def feature_maps(count: int, channels: int, rows: int, columns: int) -> torch.Tensor:
    """(N, C, rows, columns) around 1, so that no mean of theirs is near 0."""
    source = torch.Generator().manual_seed(1)
    return 1 + torch.randn(count, channels, rows, columns, generator=source, dtype=torch.float64)
