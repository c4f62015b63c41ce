"""One headline metric beside one null, and when their ratio means anything."""

from __future__ import annotations

import math
from dataclasses import dataclass

from collapse_lab.metrics._metric import Measurement, Status

BROKEN: tuple[Status, ...] = ("degenerate", "insufficient", "non_finite")
"""A value of such a status has no share of anything."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One metric of one site beside one null; NaN stands for no number. See `against.against_nulls`."""

    metric: str
    value: float
    null: str
    null_value: float
    share: float
    corrected: float = math.nan
    low: float = math.nan
    high: float = math.nan
    n_images: int
    n_rows: int
    status: Status
    reason: str


def beside(observed: Measurement, null: str, null_value: float, *, no_share: str = "") -> Reading:
    """The share, unless the layer is broken, the null is not above 0, or `no_share` says why there is none."""
    status, reason, share = observed.status, observed.reason, math.nan
    if status not in BROKEN:
        no_share = no_share or ("" if null_value > 0 else "the null is not above 0, so nothing is a share of it")
        if no_share:
            status, reason = "insufficient", no_share
        else:
            share = observed.value / null_value
    return Reading(
        metric=observed.metric,
        value=observed.value,
        null=null,
        null_value=null_value,
        share=share,
        n_images=observed.n_images,
        n_rows=observed.n_rows,
        status=status,
        reason=reason,
    )
