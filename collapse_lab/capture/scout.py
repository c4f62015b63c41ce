"""One image through the model before the pass: what stands at every chosen site, or why it cannot be captured."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from collapse_lab.capture.batches import Seen
from collapse_lab.capture.firing import Firing, is_hookable, require_hookable, run_model, watching, way_to
from collapse_lab.capture.layouts import Layout, Tensors, known_layout, said_layout, unknown
from collapse_lab.capture.parts import tensor_at, tensors_in
from collapse_lab.capture.sites import Site, find_sites, kind_of, match_sites, read_site
from collapse_lab.shapes import as_features


@dataclass(frozen=True, kw_only=True)
class Place:
    """What one image shows of a site. `shape` is that of its tensor without the image axis; `positions` and `channels`
    are of the features; `calls` how often the module runs in a pass. `fault`: why it cannot be captured, if so; what
    could not be found out is then empty."""

    site: Site
    kind: str
    module: str
    calls: int
    shape: tuple[int, ...] = ()
    dtype: torch.dtype | None = None
    layout: str | None = None
    positions: int = 0
    channels: int = 0
    fault: Exception | None = None

    @property
    def name(self) -> str:
        return self.site.name

    @property
    def bytes_a_row(self) -> int:
        """Of one position of one image, as the model computes it."""
        return self.channels * (0 if self.dtype is None else self.dtype.itemsize)


def scout(model: nn.Module, patterns: Iterable[str], image: Seen, layout: Layout = None) -> tuple[Place, ...]:
    """Every site that the patterns choose, in the order in which they fire; `image` is a batch of one.

    A site that never fires is left out with a warning where it was not named but matched. Raises LookupError for an
    unknown site, call or part, TypeError for what is no floating-point tensor, ValueError for no site at all, a
    compiled module, a named site that never fires, or an axis order that is not known, does not fit, or is said of no
    site: each by name, with what to write.
    """
    _refuse_idle(model, layout)
    asked = [patterns] if isinstance(patterns, str) else list(patterns)
    places = survey(model, match_sites(model, asked), image, layout)
    silent = [place.name for place in places if not place.calls]
    named = [name for name in silent if name in asked]
    places = tuple(place for place in places if place.calls)
    if named or not places:
        never = ", ".join((named or silent)[:5]) or "no site was asked for"
        raise ValueError(f"these sites never fired in a forward pass: {never}; leave them out, and name one that does")
    if silent:
        warnings.warn(f"left out, for they never fired in a forward pass: {', '.join(silent)}", stacklevel=2)
    for place in places:
        if place.fault is not None:
            raise place.fault
    return places


def _refuse_idle(model: nn.Module, layout: Layout) -> None:
    """A layout that is said of no site of the model, chosen or not, is a slip of the pen."""
    try:
        match_sites(model, layout if isinstance(layout, Mapping) else ())
    except LookupError as error:
        raise LookupError(f"layout: {error}") from None


def survey(model: nn.Module, names: Sequence[str], image: Seen, layout: Layout = None) -> tuple[Place, ...]:
    """As `scout`, of sites by name, but what cannot be captured is told in each place's `fault`; silent ones last."""
    sites = [read_site(name) for name in names]
    require_hookable(model, {site.path for site in sites})
    scouting = _Scouting(model, sites, layout)
    with torch.no_grad(), watching(model, scouting.taps(), scouting.take) as fired:
        run_model(model, image)
    return tuple(scouting.places(fired))


class _Scouting:
    """Follows tensors from module to module by identity, each kept alive so that no other can take its place."""

    def __init__(self, model: nn.Module, sites: Sequence[Site], layout: Layout) -> None:
        self.model, self.sites, self.layout = model, sites, layout
        self.given: dict[int, tuple[Tensor, tuple[int, ...], str]] = {}
        self.entering: dict[tuple[str, int], Tensor | None] = {}
        self.found: list[Place] = []

    def taps(self) -> list[tuple[str, bool]]:
        """Every module, before and after it runs, but for what is compiled: a hook there would compile it anew."""
        free = [path for path in ("", *find_sites(self.model)) if is_hookable(self.model, path)]
        return [(path, before) for path in free for before in (True, False)]

    def take(self, firing: Firing) -> None:
        way = [module for _, module in way_to(self.model, firing.path)]
        if firing.before:
            tensors = tensors_in(firing.value)
            self.entering[firing.path, firing.call] = next(iter(tensors.values()), None)
        else:
            for key, tensor in tensors_in(firing.value).items():
                self._follow(Site(path=firing.path, call=firing.call, part=key), way, tensor)
        for site in self.sites:
            if (site.path, site.before) == (firing.path, firing.before) and site.call in (None, firing.call):
                self.found.append(self._look(replace(site, call=firing.call), way, firing.value))

    def places(self, fired: Counter[tuple[str, bool]]) -> list[Place]:
        """In the order in which they fire, each once, an only call without its number; silent ones last."""
        named: dict[str, Place] = {}
        for place in self.found:
            calls = fired[place.site.path, place.site.before]
            site = place.site if calls > 1 else replace(place.site, call=None)
            named.setdefault(site.name, replace(place, site=site, calls=calls))
        for site in self.sites:
            calls = fired[site.path, site.before]
            if not calls or (site.call or 0) >= calls:
                named.setdefault(site.name, self._silent(site, calls))
        return list(named.values())

    def _silent(self, site: Site, calls: int) -> Place:
        error: Exception = ValueError(f"site {site.name!r} never fired in a forward pass; leave it out")
        if calls:
            error = LookupError(f"site {site.name!r}: {site.path} runs {calls} times in a pass, counted from #0")
        module = type(self.model.get_submodule(site.path)).__name__
        return Place(site=site, kind=kind_of(site.name), module=module, calls=calls, fault=error)

    def _look(self, site: Site, way: Sequence[nn.Module], value: Any) -> Place:
        """What a chosen site gives, or its fault."""
        place = Place(site=site, kind=kind_of(site.name), module=type(way[-1]).__name__, calls=1)
        plain = replace(site, call=None)  # how often it fires is not known yet: errors say the shorter name
        try:
            tensor = tensor_at(value, plain if not site.call else site)
        except (TypeError, LookupError) as error:
            return replace(place, fault=error)
        shape = tuple(tensor.shape)
        layout = said_layout(site, way[-1], self.layout) or known_layout(way, site, self._tensors(site, tensor))
        place = replace(place, shape=shape[1:], dtype=tensor.dtype, layout=layout)
        if layout is None:
            return replace(place, fault=unknown(plain if not site.call else site, way[-1], shape))
        try:
            features = as_features(tensor.detach(), layout)
        except ValueError as error:
            return replace(place, fault=ValueError(f"site {plain.name!r}: {error}"))
        image = layout.split().index("image")
        place = replace(place, shape=shape[:image] + shape[image + 1 :])
        if len(features) != 1:
            return replace(place, fault=_no_image(plain, len(features), layout))
        return replace(place, positions=features.shape[1], channels=features.shape[2])

    def _follow(self, site: Site, way: Sequence[nn.Module], tensor: Tensor) -> None:
        """Remember the layout of a module's output, where it is known."""
        said = None if isinstance(self.layout, str) else said_layout(site, way[-1], self.layout)
        layout = said or known_layout(way, site, self._tensors(site, tensor))
        if layout is not None:
            self.given[id(tensor)] = (tensor, tuple(tensor.shape), layout)

    def _tensors(self, site: Site, tensor: Tensor) -> Tensors:
        entering = self.entering.get((site.path, site.call or 0))
        return Tensors(
            shape=tuple(tensor.shape),
            same=self._layout(tensor),
            entering=None if entering is None else self._layout(entering),
            entering_shape=() if entering is None else tuple(entering.shape),
        )

    def _layout(self, tensor: Tensor) -> str | None:
        """That of the very tensor, unless it was reshaped in place since a module gave it."""
        _, shape, layout = self.given.get(id(tensor), (None, None, None))
        return layout if shape == tuple(tensor.shape) else None


def _no_image(site: Site, count: int, layout: str) -> ValueError:
    return ValueError(
        f"site {site.name!r} gives {count} images for a batch of 1: its layout {layout!r} does not fit; say the right "
        f"one, or where its rows are windows or heads of one image, choose the module around it"
    )
