"""The spectrum of a layer as data: what a reader plots, with the fit that a table only names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from collapse_lab.metrics._metric import NoValueError
from collapse_lab.metrics.decay import FIRST, LAST, PowerLaw, cumulative_share, power_law
from collapse_lab.stats.layer import LayerStats

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class Spectrum:
    """Of the centred rows of one layer with C channels; unpacks as `singular_values, floor = spectrum(stats)`.

    `singular_values` (C,) float64, descending, zero at and below `floor`; `cumulative_share` (C,) of the variance, NaN
    for a layer without a direction; `power_law` None where too few directions stand above the floor.
    """

    singular_values: Array
    floor: float
    cumulative_share: Array
    power_law: PowerLaw | None

    def __iter__(self) -> Iterator[Any]:
        """The singular values and the floor."""
        return iter((self.singular_values, self.floor))


def spectrum(stats: LayerStats, *, first: int = FIRST, last: int = LAST) -> Spectrum:
    """The spectrum of a layer, its power law fitted over directions `first` to `last` (see `decay.power_law`).

    The arrays are copies. Raises ValueError for a window that is no window.
    """
    try:
        fit = power_law(stats, first, last)
    except NoValueError:
        fit = None
    return Spectrum(
        singular_values=stats.singular_values.numpy().copy(),
        floor=stats.floor,
        cumulative_share=cumulative_share(stats).numpy(),
        power_law=fit,
    )
