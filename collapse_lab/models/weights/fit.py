"""Whether tensors are those of an architecture: every one used once, or one error that lists all that is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from collapse_lab.models.build import family_of
from collapse_lab.models.weights.assemble import on_meta
from collapse_lab.models.weights.translate import Translated

MOST_SHOWN = 5


def require_fit(found: Translated, architecture: Mapping[str, Any], source: str) -> None:
    """Raise ValueError naming missing, unexpected and mis-shaped tensors as the file does (`Translated`)."""
    expected = on_meta(architecture).state_dict()
    missing = [found.layout.theirs(name) or name for name in expected if name not in found.tensors]
    unexpected = [found.known_as[name] for name in found.tensors if name not in expected]
    mis_shaped = [
        f"{found.known_as[name]}: expected {_shape(expected[name])}, got {_shape(value)}"
        for name, value in found.tensors.items()
        if name in expected and _shape(value) != _shape(expected[name])
    ]
    faults = {"missing": missing, "unexpected": [*unexpected, *found.unexpected], "mis-shaped": mis_shaped}
    if any(faults.values()):
        said = "; ".join(f"{len(names)} {fault}: {shown(names)}" for fault, names in faults.items() if names)
        raise ValueError(
            f"{source} does not fit a {family_of(architecture).__name__} in the layout {found.layout.name}: {said}"
        )


def shown(names: Iterable[str]) -> str:
    """The first few of them."""
    names = list(names)
    return ", ".join(names[:MOST_SHOWN]) + (" ..." if len(names) > MOST_SHOWN else "")


def _shape(value: Tensor) -> str:
    """A shape, with the type where it is not one of weights."""
    return f"{tuple(value.shape)}" + ("" if value.is_floating_point() else f" of {value.dtype}")
