"""Tensors in our names become a network; what is asked for differently from what they hold starts afresh."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Set
from typing import Any, cast

import torch
from torch import Tensor, nn

from collapse_lab.models.block import Block, layer_norm
from collapse_lab.models.build import family_of
from collapse_lab.models.encoder import Encoder
from collapse_lab.models.responses.table import RESPONSES

_RESPONSE = re.compile(r"(stages\.\d+\.blocks\.\d+)\.response\..+")


def on_meta(architecture: Mapping[str, Any]) -> Encoder:
    """The network without values: names and shapes alone, at no cost."""
    with torch.device("meta"):
        return family_of(architecture)(**architecture)


def assemble(
    tensors: Mapping[str, Tensor],
    architecture: Mapping[str, Any],
    source: str,
    *,
    response: str | None = None,
    classes: int | None = None,
) -> Encoder:
    """A network in eval mode that owns copies of the tensors, which fit `architecture` (see `fit.require_fit`).

    `response` and `classes` change what the tensors hold, None keeps it: what the new network lacks is dropped, what
    the tensors lack starts as `build_model` starts it with seed 0. A response is changed silently; a head or a final
    norm that starts afresh is said by a warning. Raises ValueError for a response of a network that has none.
    """
    new = {**architecture, "classes": architecture["classes"] if classes is None else classes}
    if response is not None:
        RESPONSES[response]  # an unknown name raises with the nearest one
        if "response" not in architecture:
            raise ValueError(f"{source} holds a ViT, which has no response to switch; leave response out")
        new["response"] = response
    model = on_meta(new)
    shapes = {name: value.shape for name, value in model.state_dict().items()}
    # Copies: the file may be mapped and change on the disk, and two of its tensors may share memory.
    kept = {
        name: value.clone(memory_format=torch.contiguous_format)
        for name, value in tensors.items()
        if shapes.get(name) == value.shape
    }
    _start_afresh(model, shapes.keys() - kept.keys(), tensors)
    _say_afresh(shapes.keys() - kept.keys(), architecture["classes"], new["classes"], source)
    model.load_state_dict({**model.state_dict(), **kept}, assign=True)
    return model.eval().requires_grad_(True)


def _start_afresh(model: Encoder, absent: Set[str], tensors: Mapping[str, Tensor]) -> None:
    """Give the modules of the absent tensors, still without values, their initial ones."""
    dtype = next(value.dtype for value in tensors.values() if value.is_floating_point())
    for path in dict.fromkeys(match[1] for name in sorted(absent) if (match := _RESPONSE.fullmatch(name))):
        block = cast(Block, model.get_submodule(path))
        response = RESPONSES[model.architecture["response"]](block.expand.out_features)
        model.draw(response, 0, prefix=f"{path}.response.")
        block.response = response.to(dtype)
    if "norm.weight" in absent:
        model.norm = layer_norm(model.channels).to(dtype)
    if "head.weight" in absent:
        model.head = nn.utils.skip_init(nn.Linear, model.channels, model.architecture["classes"])
        model.draw(model.head, 0, prefix="head.")
        model.head.to(dtype)


def _say_afresh(absent: Set[str], held: int | None, wanted: int | None, source: str) -> None:
    if "norm.weight" in absent:
        warnings.warn(f"{source} holds no final norm: it starts with weight 1 and bias 0", stacklevel=4)
    if "head.weight" in absent:
        has = f"a head of {held} classes" if held else "no head"
        warnings.warn(f"{source} holds {has}: a fresh one of {wanted} classes is drawn, from seed 0", stacklevel=4)
