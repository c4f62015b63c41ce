"""Which places of a model are looked at: addresses PATH[#CALL][@PART], and the patterns that choose among them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from torch import nn

from collapse_lab.capture.functional import explain_functional
from collapse_lab.registry import nearest

_CONTAINERS = (nn.ModuleList, nn.ModuleDict, nn.ParameterList, nn.ParameterDict)
_ADDRESS = re.compile(r"(?P<path>[^#@]*)(?:#(?P<call>\d+))?(?:@(?P<part>.+))?")
INPUT = "input"


@dataclass(frozen=True, kw_only=True)
class Site:
    """A place in a model: `path` of a module, `call` its k-th call in a forward pass (None: every one, or the only
    one), `part` what is looked at: "" its output, KEY[.KEY] a part of it, "input" its first positional input,
    "input.1" the second, "input.NAME" one given by name. Each input may go on with keys: "input.0.KEY"."""

    path: str
    call: int | None = None
    part: str = ""

    @property
    def name(self) -> str:
        """PATH[#CALL][@PART], as it is written everywhere."""
        call = "" if self.call is None else f"#{self.call}"
        return f"{self.path}{call}{'@' if self.part else ''}{self.part}"

    @property
    def before(self) -> bool:
        """Whether it is what goes into the module."""
        return self.part.split(".")[0] == INPUT

    @property
    def keys(self) -> str:
        """The keys to follow inside the module's inputs (by place or name) or output, "" for the output itself."""
        return (self.part.removeprefix(INPUT).removeprefix(".") or "0") if self.before else self.part


def read_site(address: str) -> Site:
    """An address, or a pattern of addresses, in its parts; raises ValueError for what is none."""
    found = _ADDRESS.fullmatch(address)
    if found is None:
        raise ValueError(
            f"{address!r} is no address of a site; expected PATH, PATH#CALL, PATH@KEY or PATH@input, "
            f"for example 'encoder@last_hidden_state'"
        )
    call = found["call"]
    return Site(path=found["path"], call=None if call is None else int(call), part=found["part"] or "")


def kind_of(site: str) -> str:
    """The last name of a path, a numbered one by its parent's in the singular: `stages.2.blocks.0` is a block.

    A bare number, as in an nn.Sequential, is a layer. An input is a kind of its own: `blocks.0@input` is block@input.
    """
    place = read_site(site)
    *before, last = place.path.split(".")
    named = [name for name in (*before, last) if not name.isdigit()]
    kind = last if not last.isdigit() else named[-1].removesuffix("s") if named else "layer"
    return f"{kind}@{place.part}" if place.before else kind


def find_sites(model: nn.Module) -> dict[str, nn.Module]:
    """Every module of `model` that can be a site, by path, in the order of its definition."""
    return {name: module for name, module in model.named_modules() if name and not isinstance(module, _CONTAINERS)}


def match_sites(model: nn.Module, patterns: Iterable[str]) -> list[str]:
    """The sites of `model` that any pattern matches, in the model's order.

    A pattern is a path with `*` for (part of) one name and `**` for any number of names; `*.act` is any path that ends
    in act; `kind:block` goes by `kind_of`, `class:GELU` by the module's class. Each may end in `#CALL` and `@PART`,
    which stay as they are: `class:Linear@input`; "@PART" alone is a part of what the model itself gives or is given.
    Raises LookupError for a pattern that matches nothing, naming what
    there is, or the activation that is called as a function and so is no module.
    """
    modules = find_sites(model)
    chosen: set[Site] = set()
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        wanted = read_site(pattern)
        found = {path for path, module in modules.items() if _fits_module(wanted.path, path, module)}
        if not wanted.path and wanted.part:
            found = {""}
        if not found:
            raise LookupError(_nothing(model, modules, pattern, wanted))
        chosen |= {Site(path=path, call=wanted.call, part=wanted.part) for path in found}
    order = {path: place for place, path in enumerate(("", *modules))}
    return [site.name for site in sorted(chosen, key=lambda site: (order[site.path], site.call or 0, site.part))]


def _nothing(model: nn.Module, modules: dict[str, nn.Module], pattern: str, wanted: Site) -> str:
    """Why a pattern matches nothing, and what to write."""
    if not modules:
        return (
            f"no site matches {pattern!r}: {type(model).__name__} has no module inside; its own output is that of "
            f"module '0' of nn.Sequential(model)"
        )
    twin = dict(model.named_modules(remove_duplicate=False)).get(wanted.path)
    first = next((path for path, module in modules.items() if module is twin), None)
    if first is not None:
        return (
            f"no site matches {pattern!r}: it is the same module as {first!r}; its calls are {first}#0, {first}#1 ..."
        )
    why = explain_functional(model, wanted.path) or nearest(pattern, modules)
    return f"no site matches {pattern!r}{why} (see 'collapse-lab list sites')"


def matches_path(pattern: str, site: str) -> bool:
    """Whether a pattern of `match_sites` (without "class:") fits a site's name.

    Without `#` it fits every call, without `@` the output and its parts but no input.
    """
    wanted, found = read_site(pattern), read_site(site)
    if wanted.call not in (None, found.call):
        return False
    if wanted.part != found.part if wanted.part else found.before:
        return False
    return _fits_path(wanted.path, found.path)


def matches_module(pattern: str, site: str, module: nn.Module) -> bool:
    """`matches_path`, where the module is at hand: "class:" as well."""
    wanted = read_site(pattern)
    if not wanted.path.startswith("class:"):
        return matches_path(pattern, site)
    rest = Site(path="**", call=wanted.call, part=wanted.part).name
    return _fits_module(wanted.path, "", module) and matches_path(rest, site)


def _fits_module(pattern: str, path: str, module: nn.Module) -> bool:
    if pattern.startswith("class:"):
        return type(module).__name__ == pattern.removeprefix("class:")
    return _fits_path(pattern, path)


def _fits_path(pattern: str, path: str) -> bool:
    if pattern.startswith("kind:"):
        return kind_of(path) == pattern.removeprefix("kind:")
    return re.fullmatch(_expression(pattern), path) is not None


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
