"""What several metrics of one layer need is made once and given up with the layer, or when the next one comes."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TypeVar
from weakref import WeakKeyDictionary

Layer = TypeVar("Layer")
Made = TypeVar("Made")


def latest(make: Callable[[Layer], Made]) -> Callable[[Layer], Made]:
    """Remember what was made of the last layer asked about; a layer is known by identity, not by its numbers.

    One layer's worth is held, since it may be as large as the scatter: a capture has hundreds of layers. What is given
    is shared, so nobody may write into it.
    """
    held: WeakKeyDictionary[Layer, Made] = WeakKeyDictionary()

    @wraps(make)
    def remembered(layer: Layer) -> Made:
        found = held.get(layer)
        if found is None:
            held.clear()  # first, so that two are never held at once
            held[layer] = found = make(layer)
        return found

    return remembered
