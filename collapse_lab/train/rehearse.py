"""A run without the run: everything is built and checked, two images pass, nothing is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from collapse_lab.runs import Run
from collapse_lab.train.admit import refuse_another
from collapse_lab.train.config import Config
from collapse_lab.train.loop import Part, Prepared, prepare
from collapse_lab.train.place import entered
from collapse_lab.train.resolve import Resolved


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """What a run would be: `parameters` of all that is trained, `images` to learn from, the `shape` of what the network
    is given at a time, and `memory` in bytes a process by what holds it; libraries and what the allocator wastes come
    on top."""

    config: Resolved
    device: str
    ranks: int
    parts: int
    parameters: int
    images: int
    shape: tuple[int, ...]
    memory: Mapping[str, int]


def rehearse(config: Config) -> Rehearsal:
    """Raises all that `train` would raise before its first step.

    The activations, which are what the gradient needs of a forward pass, are measured with one image and with two, and
    grow in proportion from there.
    """
    run = Run(Path(config.out))
    eager = config.compute.model_copy(update={"compile": False})
    with entered(config.model_copy(update={"compute": eager})) as place:
        ready = prepare(run, config, place)
        if run.exists():
            refuse_another(run, run.read(), ready.config, ready.images.fingerprint())
        network = place.prepare(ready.objective)
        places = place.parts(config.data.batch)[0]
        (one, _), (two, shape) = (_activations(ready, network, ready.part(0, places[:count])) for count in (1, 2))
        trained = [parameter for parameter in ready.objective.parameters() if parameter.requires_grad]
        held = sum(parameter.nbytes for parameter in trained)
        weights = sum(value.nbytes for value in ready.objective.state_dict().values())
        memory = {
            "weights": weights,
            "gradients": held,
            "optimiser": 2 * held,
            "average": weights if config.optim.ema else 0,
            "activations": one + (len(places) - 1) * max(0, two - one),
        }
        return Rehearsal(
            config=ready.config,
            device=str(place.device),
            ranks=place.ranks.world,
            parts=config.compute.accumulate,
            parameters=sum(parameter.numel() for parameter in trained),
            images=len(ready.images),
            shape=(len(places), *shape[1:]),
            memory=memory,
        )


def _activations(ready: Prepared, network: nn.Module, part: Part) -> tuple[int, tuple[int, ...]]:
    """Bytes kept for the gradient, each storage once and parameters not, and the shape of the images that came in."""
    parameters = {value.untyped_storage().data_ptr() for value in network.parameters()}
    storages: dict[int, int] = {}
    shapes: list[tuple[int, ...]] = []
    kept: list[Tensor] = []  # or a freed storage would lend its place to the next

    def keep(value: Tensor) -> Tensor:
        kept.append(value)
        storages[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
        return value

    hook = ready.objective.register_forward_pre_hook(lambda _, given: shapes.append(tuple(given[0].shape)))
    try:
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
            ready.forward(network, 0, part)
    finally:
        hook.remove()
    return sum(size for place, size in storages.items() if place not in parameters), shapes[0]
