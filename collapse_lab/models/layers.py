"""Parameters and multiply-accumulates (MACs) of any network, layer by layer, counted by a forward without values."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


@dataclass(frozen=True, kw_only=True)
class Layer:
    """What one module holds and does itself, its children apart; or a sum of such, of `kind` "total".

    `shape` is that of its output (the last one where it runs more than once, the first of a tuple), None for no tensor.
    `macs` are of the whole image, `visible_macs` of the masked forward, None where none was asked for.
    """

    name: str
    kind: str
    shape: tuple[int, ...] | None
    parameters: int
    macs: int
    visible_macs: int | None = None

    @property
    def limit(self) -> float | None:
        """`macs` over `visible_macs`: how many times faster leaving out removed cells can be by arithmetic alone."""
        return self.macs / self.visible_macs if self.visible_macs else None


def count_layers(
    model: nn.Module,
    image: tuple[int, int, int] = (3, 224, 224),
    *,
    visible: Callable[[int], int] | None = None,
) -> list[Layer]:
    """Every module of `model` that holds parameters or multiplies, in the order of its definition, for one image.

    Counted are the products of convolutions and of matrices (linear layers, attention, a response that has them): one
    MAC is one product and its sum, half of what is called a FLOP. Norms, activations and other work of single elements
    are not. The forward runs in eval mode on a copy on the meta device: no memory is taken, nothing is computed.

    `visible` (all cells -> those that stay) also counts `forward_masked` with so many visible cells: a position costs
    what it costs in the whole image, so a layer costs the share of its positions that are visible, an attention what it
    costs among them, a layer that does not run (the head) nothing. It is a bound that no code need reach: a depthwise
    convolution of the whole map does more. Raises TypeError for a model without `forward_masked`, ValueError for an
    image that does not fit the model.
    """
    if visible is not None and not hasattr(model, "forward_masked"):
        raise TypeError(f"{type(model).__name__} has no forward_masked, so nothing is known of its visible cells")
    bare = _without_values(model)
    images = torch.empty(1, *image, device="meta")
    with torch.no_grad(), _counted(bare) as (macs, shapes):
        bare(images)
    seen: dict[str, tuple[int, ...]] | None = None
    spent: Counter[str] = Counter()
    if visible is not None:
        with torch.no_grad(), _counted(bare) as (spent, seen):
            _masked(bare, images, visible)
    layers = []
    for name, module in bare.named_modules():
        parameters = sum(value.numel() for value in module.parameters(recurse=False))
        if not (parameters or macs[name]):
            continue
        shape = shapes.get(name)
        share = None if seen is None else min(spent[name], _share(macs[name], shape, seen.get(name)))
        kind = type(module).__name__
        layers.append(
            Layer(name=name, kind=kind, shape=shape, parameters=parameters, macs=macs[name], visible_macs=share)
        )
    return layers


def by_part(layers: list[Layer]) -> dict[str, list[Layer]]:
    """The layers of each part: the first name of a path, with its number where there is one (`stem`, `stages.2`)."""
    return {part: list(own) for part, own in groupby(layers, key=lambda layer: _part(layer.name))}


def total(layers: list[Layer], name: str) -> Layer:
    """The sum of layers under one name."""
    shares = [layer.visible_macs for layer in layers if layer.visible_macs is not None]
    return Layer(
        name=name,
        kind="total",
        shape=None,
        parameters=sum(layer.parameters for layer in layers),
        macs=sum(layer.macs for layer in layers),
        visible_macs=sum(shares) if shares else None,
    )


def _part(name: str) -> str:
    first, second = (*name.split("."), "")[:2]
    return f"{first}.{second}" if second.isdigit() else first


def _without_values(model: nn.Module) -> nn.Module:
    """A copy on the meta device: deepcopy finds these tensors where it would copy values."""
    tensors: dict[int, Any] = {
        id(value): nn.Parameter(torch.empty_like(value, device="meta"), requires_grad=value.requires_grad)
        for value in model.parameters()
    }
    tensors |= {id(value): torch.empty_like(value, device="meta") for value in model.buffers()}
    return copy.deepcopy(model, tensors).eval()


def _masked(model: Any, images: Tensor, visible: Callable[[int], int]) -> None:
    model.check(images)
    cells = images.shape[2] * images.shape[3] // model.stride**2
    removed = torch.ones(1, cells, dtype=torch.bool, device="meta")
    model.forward_masked(images, removed, keep=visible(cells))


@contextmanager
def _counted(model: nn.Module) -> Iterator[tuple[Counter[str], dict[str, tuple[int, ...]]]]:
    """MACs of every module, its children apart, and the shape of its output; both fill up while the model runs."""
    macs: Counter[str] = Counter()
    shapes: dict[str, tuple[int, ...]] = {}
    counter = FlopCounterMode(display=False)
    running: list[tuple[int, int]] = []  # what was counted when the module began, and what its children took

    def enter(module: nn.Module, given: Any) -> None:
        running.append((counter.get_total_flops(), 0))

    def leave(name: str, output: Any) -> None:
        began, inside = running.pop()
        spent = counter.get_total_flops() - began
        macs[name] += (spent - inside) // 2
        if running:
            running[-1] = (running[-1][0], running[-1][1] + spent)
        first = output[0] if isinstance(output, tuple) and output else output
        if isinstance(first, Tensor):
            shapes[name] = tuple(first.shape)

    handles = []
    for name, module in model.named_modules():
        handles.append(module.register_forward_pre_hook(enter))
        handles.append(module.register_forward_hook(lambda _, given, output, name=name: leave(name, output)))
    try:
        with counter:
            yield macs, shapes
    finally:
        for handle in handles:
            handle.remove()


def _share(macs: int, shape: tuple[int, ...] | None, seen: tuple[int, ...] | None) -> int:
    if shape is None or seen is None:
        return 0
    return macs * torch.Size(seen).numel() // torch.Size(shape).numel()
