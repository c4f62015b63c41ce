"""The one tensor a site means in what a module takes or gives: a tensor, or tuples, dicts, dataclasses of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor

from collapse_lab.capture.sites import INPUT, Site


def parts_of(value: Any) -> dict[str, Any] | None:
    """What lies directly inside, by key as it is written in an address; None for what holds nothing."""
    if isinstance(value, Mapping):
        return {str(key): inside for key, inside in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: getattr(value, each.name) for each in fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return dict(zip(value._fields, value, strict=True))
    if isinstance(value, tuple | list):
        return {str(place): inside for place, inside in enumerate(value)}
    return None


def tensors_in(value: Any) -> dict[str, Tensor]:
    """Every tensor in a value, by its keys joined with dots; a bare tensor has the key ""."""
    if isinstance(value, Tensor):
        return {"": value}
    found: dict[str, Tensor] = {}
    for key, inside in (parts_of(value) or {}).items():
        found |= {f"{key}.{rest}" if rest else key: tensor for rest, tensor in tensors_in(inside).items()}
    return found


def tensor_at(value: Any, site: Site) -> Tensor:
    """The floating-point tensor that `site` means in its module's output, or in its inputs {place or name: value}.

    Without keys a sole floating-point tensor is meant, however deep it lies. Raises LookupError for keys that are not
    there and TypeError for no tensor, several, or one of whole numbers, each with what there is and what to write.
    """
    try:
        inside = _at(value, site.keys)
    except KeyError:
        what = "its inputs have" if site.before else f"its output, a {type(value).__name__}, has"
        known = _listed(tensors_in(value), site)
        raise LookupError(f"site {site.name!r}: {what} no {site.keys!r}; there is: {known}") from None
    found = tensors_in(inside)
    floating = {key: tensor for key, tensor in found.items() if tensor.is_floating_point()}
    if len(floating) == 1:
        return _plain(next(iter(floating.values())), site)
    if floating:
        deeper = {_joined(site.keys, key): tensor for key, tensor in floating.items()}
        raise TypeError(
            f"site {site.name!r} gives a {type(inside).__name__} of {len(floating)} tensors: "
            f"{_listed(deeper, site)}; write one of these"
        )
    if found:
        dtypes = ", ".join(dict.fromkeys(str(tensor.dtype) for tensor in found.values()))
        raise TypeError(f"site {site.name!r} gives {dtypes}, not floating-point features; choose another module")
    raise TypeError(
        f"site {site.name!r} gives a {type(inside).__name__}, and no tensor in it; choose a module inside it"
    )


def _plain(tensor: Tensor, site: Site) -> Tensor:
    if tensor.layout is torch.strided and tensor.dtype.itemsize > 1:
        return tensor
    kind = "a sparse tensor" if tensor.layout is not torch.strided else str(tensor.dtype).removeprefix("torch.")
    raise TypeError(f"site {site.name!r} gives {kind}, of which no sums are taken; choose a module beside it")


def _at(value: Any, keys: str) -> Any:
    """What lies at keys joined with dots, a key of which may hold dots itself; raises KeyError."""
    if not keys:
        return value
    parts = parts_of(value) or {}
    for key in sorted(parts, key=len, reverse=True):
        if keys == key:
            return parts[key]
        if keys.startswith(f"{key}."):
            return _at(parts[key], keys.removeprefix(f"{key}."))
    raise KeyError(keys)


def _listed(tensors: Mapping[str, Tensor], site: Site) -> str:
    """Each floating tensor as the address to write, with its shape."""
    known = []
    for keys, tensor in tensors.items():
        if tensor.is_floating_point():
            part = _joined(INPUT, "" if keys == "0" else keys) if site.before else keys
            known.append(f"{Site(path=site.path, call=site.call, part=part).name!r} {tuple(tensor.shape)}")
    return ", ".join(known[:12]) + (" ..." if len(known) > 12 else "") if known else "no floating-point tensor"


def _joined(*keys: str) -> str:
    return ".".join(key for key in keys if key)
