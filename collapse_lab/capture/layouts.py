"""In which order the axes of a site stand. Nothing is guessed from sizes: it is said, declared, defined or unknown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from torch import nn

from collapse_lab.capture.families import FAMILIES, LAST, MAPS, ROWS, Axes, family_of, in_library, of_class
from collapse_lab.capture.sites import Site, matches_module
from collapse_lab.shapes import CANONICAL

Layout: TypeAlias = str | Mapping[str, str] | None
"""One layout for every site, or one a pattern of sites, or None for what is known of the model."""

_LINES = "image channel position"
_VOLUMES = "image channel depth height width"
_KNOWN: tuple[tuple[tuple[type[nn.Module], ...], Axes], ...] = (
    ((nn.BatchNorm1d,), {2: ROWS, 3: _LINES}),
    ((nn.Conv1d, nn.ConvTranspose1d, nn.InstanceNorm1d), {3: _LINES}),
    ((nn.MaxPool1d, nn.AvgPool1d, nn.AdaptiveAvgPool1d, nn.AdaptiveMaxPool1d), {3: _LINES}),
    ((nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d, nn.InstanceNorm2d), {4: MAPS}),
    ((nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.LPPool2d), {4: MAPS}),
    ((nn.PixelShuffle, nn.PixelUnshuffle, nn.UpsamplingBilinear2d, nn.UpsamplingNearest2d), {4: MAPS}),
    ((nn.Conv3d, nn.ConvTranspose3d, nn.BatchNorm3d, nn.InstanceNorm3d), {5: _VOLUMES}),
    ((nn.MaxPool3d, nn.AvgPool3d, nn.AdaptiveAvgPool3d, nn.AdaptiveMaxPool3d), {5: _VOLUMES}),
    ((nn.GroupNorm,), {2: ROWS, 3: _LINES, 4: MAPS, 5: _VOLUMES}),
)
_LAST_AXIS = (nn.Linear, nn.LayerNorm, nn.RMSNorm)
_SEQUENCES = (nn.MultiheadAttention, nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)
_KEEPING_FILES = (
    *("torch.nn.modules.activation", "torch.nn.modules.dropout", "transformers.activations"),
    *("timm.layers.activations", "timm.layers.activations_me", "timm.layers.drop", "timm.layers.layer_scale"),
)
_KEEPING_NAMES = ("Identity", "StochasticDepth", "LayerScale")


@dataclass(frozen=True, kw_only=True)
class Tensors:
    """What is known of the tensor at a site during one pass: its shape; the layout of the very same tensor where
    another module gave it; shape and layout of the very tensor that the module was given, where a module gave that."""

    shape: tuple[int, ...]
    same: str | None = None
    entering: str | None = None
    entering_shape: tuple[int, ...] = ()


def said_layout(site: Site, module: nn.Module, layout: Layout) -> str | None:
    """What the user says of a site: the one layout there is, or that of the first pattern that fits."""
    if isinstance(layout, str):
        return layout
    fitting = (said for pattern, said in (layout or {}).items() if matches_module(pattern, site.name, module))
    return next(fitting, None)


def known_layout(way: Sequence[nn.Module], site: Site, tensors: Tensors) -> str | None:
    """The axis order of a site's tensor by what is known; `way` holds the modules from the model down to the site's.

    In this order: what a module on the way declares (`layout`); what torch.nn or a library defines for the very class;
    the layout of the very same tensor, or of the very tensor that a module which keeps shapes was given; the family of
    networks (`families`). None where none of these knows.
    """
    module, axes = way[-1], len(tensors.shape)
    return (
        _declared(way, axes)
        or _kept(module, site, tensors)
        or _defined(way, site, axes)
        or tensors.same
        or _permuted(module, site, tensors)
        or _of_family(way, axes)
    )


def unknown(site: Site, module: nn.Module, shape: tuple[int, ...]) -> ValueError:
    """The error for a site whose layout must be told: what was seen, and what to write."""
    name, kind = site.name, type(module).__name__
    example = {2: ROWS, 4: MAPS, 5: _VOLUMES}.get(len(shape), CANONICAL)
    return ValueError(
        f"site {name!r} ({kind}) gives a tensor of shape {shape} and its axis order is not known; say it, "
        f"for example layout={{{name!r}: {example!r}}}, on the command line --layout '{name}={example}'"
    )


def _declared(way: Sequence[nn.Module], axes: int) -> str | None:
    for module in reversed(way):
        said = getattr(module, "layout", None)
        if isinstance(said, str) and {"image", "channel"} <= set(said.split()) and len(said.split()) == axes:
            return said
    return None


def _kept(module: nn.Module, site: Site, tensors: Tensors) -> str | None:
    """Of a module that leaves the axes where they are, those of the very tensor it was given."""
    into = tensors.entering
    if site.before or into is None or len(into.split()) != len(tensors.shape):
        return None
    if type(module) in _LAST_AXIS:
        return into if into.endswith("channel") else None
    return into if _keeps_shapes(module) and tensors.shape == tensors.entering_shape else None


def _keeps_shapes(module: nn.Module) -> bool:
    kind = type(module)
    if kind is nn.MultiheadAttention:
        return False
    return kind.__module__ in _KEEPING_FILES or kind.__name__ in _KEEPING_NAMES or kind.__name__.endswith("DropPath")


def _defined(way: Sequence[nn.Module], site: Site, axes: int) -> str | None:
    """By the class itself."""
    module = way[-1]
    if isinstance(module, _SEQUENCES):
        return _of_sequence(module, site, axes)
    # Not subclasses: the LayerNorm2d of timm and of torchvision is a LayerNorm on channels-first maps.
    own = of_class(module) or (LAST if type(module) in _LAST_AXIS and _over_one_axis(module) else None)
    if own is LAST:
        return _last(way, axes)
    if own is not None:
        return own.get(axes)
    if type(module) is nn.Flatten and not site.before and (module.start_dim, module.end_dim) == (1, -1):
        return ROWS
    if len(way) > 1 and _keeps_shapes(module):  # the activation inside timm's BatchNormAct2d
        module = way[-2]
    return next((known.get(axes) for kinds, known in _KNOWN if isinstance(module, kinds)), None)


def _last(way: Sequence[nn.Module], axes: int) -> str | None:
    if axes == 3 and any(_batch_first(module) is False for module in way):
        return "position image channel"
    family = next((found for found in map(family_of, reversed(way)) if found), "")
    # Four axes in a network of tokens are heads or windows: no map.
    return None if axes == 4 and family and 4 not in FAMILIES[family] else LAST.get(axes)


def _over_one_axis(module: nn.Module) -> bool:
    return len(getattr(module, "normalized_shape", (0,))) == 1


def _batch_first(module: nn.Module) -> bool | None:
    attention = getattr(module, "self_attn", module) if isinstance(module, _SEQUENCES) else None
    return attention.batch_first if isinstance(attention, nn.MultiheadAttention) else None


def _of_sequence(module: nn.Module, site: Site, axes: int) -> str | None:
    """Of torch's attention and transformer layers; the weights that attention gives as well are no features."""
    weights = isinstance(module, nn.MultiheadAttention) and site.part not in ("", "0") and not site.before
    if axes != 3 or weights:
        return None
    return CANONICAL if _batch_first(module) else "position image channel"


def _permuted(module: nn.Module, site: Site, tensors: Tensors) -> str | None:
    """Of torchvision's Permute."""
    into, order = (tensors.entering or "").split(), getattr(module, "dims", None)
    if site.before or type(module).__name__ != "Permute" or order is None or len(into) != len(order):
        return None
    return " ".join(into[axis] for axis in order)


def _of_family(way: Sequence[nn.Module], axes: int) -> str | None:
    """Of a module of the library that the nearest network above it is of, or of one that keeps the shapes in it."""
    family = next((found for found in map(family_of, reversed(way)) if found), "")
    if not family or not (in_library(way[-1], family) or _keeps_shapes(way[-1])):
        return None
    if axes == 4 and any("Attention" in type(module).__name__ for module in way):  # (window, head, query, key)
        return None
    return FAMILIES[family].get(axes)
