"""Which module outputs are looked at, and in which order their axes stand. Nothing is guessed from sizes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from torch import nn

from collapse_lab.registry import nearest
from collapse_lab.shapes import CANONICAL

Layout = str | Mapping[str, str] | None
"""One layout for every site, or one a pattern of sites, or None for what is known of the model."""

_CONTAINERS = (nn.ModuleList, nn.ModuleDict, nn.ParameterList, nn.ParameterDict)
_MAPS = (nn.Conv2d, nn.BatchNorm2d, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)
_CHANNELS_LAST = {2: "image channel", 3: CANONICAL, 4: "image height width channel"}


def kind_of(site: str) -> str:
    """The last name of a path, a numbered one by its parent's in the singular: `stages.2.blocks.0` is a block.

    A bare number, as in an nn.Sequential, is a layer.
    """
    *before, last = site.split(".")
    named = [name for name in (*before, last) if not name.isdigit()]
    if not last.isdigit():
        return last
    return named[-1].removesuffix("s") if named else "layer"


def find_sites(model: nn.Module) -> dict[str, nn.Module]:
    """Every module of `model` that can be a site, by path, in the order of its definition."""
    return {name: module for name, module in model.named_modules() if name and not isinstance(module, _CONTAINERS)}


def match_sites(model: nn.Module, patterns: Iterable[str]) -> list[str]:
    """The sites of `model` that any pattern matches, in the model's order.

    A pattern is a path with `*` for (part of) one name and `**` for any number of names; `*.act` is any path that ends
    in act; `kind:block` goes by `kind_of`, `class:GELU` by the module's class. Raises LookupError for a pattern that
    matches nothing, naming what there is.
    """
    sites = find_sites(model)
    chosen: set[str] = set()
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        found = {name for name, module in sites.items() if _matches(pattern, name, module)}
        if not found:
            raise LookupError(f"no site matches {pattern!r}{nearest(pattern, sites)} (see 'collapse-lab list sites')")
        chosen |= found
    return [name for name in sites if name in chosen]


def matches_path(pattern: str, path: str) -> bool:
    """Whether a pattern of `match_sites` (without "class:") fits a site's path."""
    if pattern.startswith("kind:"):
        return kind_of(path) == pattern.removeprefix("kind:")
    return re.fullmatch(_expression(pattern), path) is not None


def _matches(pattern: str, path: str, module: nn.Module) -> bool:
    if pattern.startswith("class:"):
        return type(module).__name__ == pattern.removeprefix("class:")
    return matches_path(pattern, path)


def _expression(pattern: str) -> str:
    names = pattern.split(".")
    if names[0] == "*" and len(names) > 1:
        names[0] = "**"
    parts = []
    for place, name in enumerate(names):
        last = place == len(names) - 1
        if name == "**":
            parts.append(r".*" if last else r"(?:[^.]+\.)*")
        else:
            parts.append(_NAME.sub(_within_a_name, name) + ("" if last else r"\."))
    return "".join(parts)


_NAME = re.compile(r"\*|\?|\[!?[^\]]+\]|.", re.DOTALL)


def _within_a_name(piece: re.Match[str]) -> str:
    """One piece of a shell pattern as a regular expression that never reaches across a dot."""
    text = piece.group()
    if text == "*":
        return "[^.]*"
    if text == "?":
        return "[^.]"
    if len(text) > 1:  # [abc], [!abc]
        return f"[{'^.' if text[1] == '!' else ''}{text[1:-1].removeprefix('!')}]"
    return re.escape(text)


def layout_of(model: nn.Module, site: str, shape: tuple[int, ...], layout: Layout) -> str:
    """The axis order of a site's output: as the user says, as the model declares (`layout`), or as torch defines it.

    Raises ValueError with the shape that was seen and what to write where none of these knows.
    """
    if isinstance(layout, str):
        return layout
    for pattern, said in (layout or {}).items():
        if matches_path(pattern, site):
            return said
    declared = getattr(model, "layout", None)
    if isinstance(declared, str) and len(declared.split()) == len(shape):
        return declared
    module = model.get_submodule(site)
    if isinstance(module, _MAPS) and len(shape) == 4:
        return "image channel height width"
    # Not subclasses: the LayerNorm2d of timm and of torchvision is a LayerNorm on channels-first maps.
    if type(module) in (nn.Linear, nn.LayerNorm) and len(shape) in _CHANNELS_LAST:
        return _CHANNELS_LAST[len(shape)]
    example = {4: "image channel height width", 3: CANONICAL, 2: "image channel"}.get(len(shape), CANONICAL)
    raise ValueError(
        f"site {site!r} ({type(module).__name__}) gives a tensor of shape {shape} and its axis order is not known; "
        f"say it, for example layout={{{site!r}: {example!r}}}"
    )
