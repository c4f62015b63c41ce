"""What the headline metrics are without each group of images: the raw material of every interval."""

from __future__ import annotations

from collections.abc import Sequence

from collapse_lab.findings.leading import rows_worth, tied, tied_stable_rank
from collapse_lab.metrics._metric import HEADLINE, measure
from collapse_lab.stats.layer import LayerStats

TIED = "stable_rank_tied"
"""Leave-one-out values beside those of the metrics, where the strongest direction is not alone: see `leading`."""


def without_each(whole: LayerStats, left_out: Sequence[LayerStats], sizes: Sequence[int]) -> dict[str, list[float]]:
    """The values of the headline metrics on each of `left_out`, the statistics of all images but one group's."""
    values = {name: [measure(name, others).value for others in left_out] for name in HEADLINE}
    if whole.degenerate or not whole.has_scatter:
        return values
    count = tied(whole, rows_worth(whole, values["stable_rank"], sizes))
    if count > 1:
        values[TIED] = [tied_stable_rank(others, count) for others in left_out]
    return values
