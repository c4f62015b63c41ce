"""Hooks on chosen modules that are always taken off again, and one call of the model on a batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import nn

from collapse_lab.capture.batches import Seen

Tap: TypeAlias = tuple[str, bool]
"""(path of a module, whether before it runs)."""


@dataclass(frozen=True, kw_only=True)
class Firing:
    """One call of a module. `value`: before it runs its inputs by place ("0") or name, after it its output."""

    path: str
    before: bool
    call: int
    value: Any


@contextmanager
def watching(model: nn.Module, taps: Iterable[Tap], take: Callable[[Firing], None]) -> Iterator[Counter[Tap]]:
    """Call `take` whenever a tapped module runs, in evaluation mode; restore mode and hooks on leaving.

    Yields how often each tap fired; it is to be cleared before each pass. Inputs are seen before the module runs, so
    one that works in place cannot change them first.
    """
    modes = {module: module.training for module in model.modules()}
    fired: Counter[Tap] = Counter()

    def note(tap: Tap, value: Any) -> None:
        fired[tap] += 1
        take(Firing(path=tap[0], before=tap[1], call=fired[tap] - 1, value=value))

    handles = []
    try:
        for path, before in dict.fromkeys(taps):
            module, hook = model.get_submodule(path), partial(_before if before else _after, note, (path, before))
            register = module.register_forward_pre_hook if before else module.register_forward_hook
            handles.append(register(hook, with_kwargs=True))
        model.eval()
        yield fired
    finally:
        for handle in handles:
            handle.remove()
        for module, training in modes.items():
            module.training = training


_Note: TypeAlias = Callable[[Tap, Any], None]


def _before(note: _Note, tap: Tap, _: nn.Module, inputs: tuple[Any, ...], named: Mapping[str, Any]) -> None:
    note(tap, {**{str(place): value for place, value in enumerate(inputs)}, **named})


def _after(note: _Note, tap: Tap, _: nn.Module, _inputs: object, _named: object, output: Any) -> None:
    note(tap, output)


def run_model(model: nn.Module, batch: Seen) -> None:
    """Send a batch through the model, on its device: `forward_masked` where cells are removed, else a plain call."""
    parameter = next(model.parameters(), None)
    device = torch.device("cpu") if parameter is None else parameter.device
    images = batch.image.to(device)
    if batch.removed is None:
        model(images)
        return
    masked = getattr(model, "forward_masked", None)
    if not callable(masked):
        raise ValueError(f"the batch has removed cells, but {type(model).__name__} has no forward_masked")
    masked(images, batch.removed.to(device))


def require_hookable(model: nn.Module, paths: Iterable[str]) -> None:
    """Raise ValueError with the remedy where a module on the way to a path runs past hooks that are set later."""
    if isinstance(model, nn.DataParallel) and len(model.device_ids) > 1:
        raise ValueError("nn.DataParallel runs copies of the model, each with a part of the images; give its .module")
    for path in paths:
        for place, module in way_to(model, path):
            remedy = _bypasses(module)
            if remedy:
                where = f"{place!r}, on the way to site {path!r}," if place else "the model"
                raise ValueError(f"{where} {remedy}")


def is_hookable(model: nn.Module, path: str) -> bool:
    """Whether nothing on the way to a path runs past hooks."""
    return not any(_bypasses(module) for _, module in way_to(model, path))


def way_to(model: nn.Module, path: str) -> Iterator[tuple[str, nn.Module]]:
    """Every module from the model itself (its path is "") down to `path`."""
    yield "", model
    names = path.split(".") if path else []
    for count in range(1, len(names) + 1):
        place = ".".join(names[:count])
        yield place, model.get_submodule(place)


def _bypasses(module: nn.Module) -> str:
    if isinstance(module, torch.jit.ScriptModule):
        return "is a TorchScript program, in which hooks never run; give the module it was made from"
    if hasattr(module, "_orig_mod"):
        return "is a compiled module and runs past hooks set later; give the module it was compiled from (._orig_mod)"
    if getattr(module, "_compiled_call_impl", None) is not None:
        return (
            "is a compiled module (module.compile()) and runs past hooks set later; "
            "capture before compiling it, or load the weights into a fresh one"
        )
    return ""
