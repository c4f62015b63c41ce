"""How a rank grows with the number of rows: whether it has settled, or would grow on with more images."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from collapse_lab.capture.store import Capture
from collapse_lab.findings.table import as_capture
from collapse_lab.metrics._metric import METRICS, NoValueError, measure
from collapse_lab.metrics.embedding import kept_rows
from collapse_lab.stats.accumulate import stats_of
from collapse_lab.stats.layer import LayerStats

PARTS = (4, 2, 1)
ENTROPY_RANKS = ("effective_rank", "rankme", "effective_rank_energy")


def n_curve(measured: Capture | LayerStats, metrics: Sequence[str] = ENTROPY_RANKS) -> pd.DataFrame:
    """Each metric on a quarter, a half and all of the kept rows, those of smallest hash first, then on all rows.

    Columns site, positions, metric, rows, value, status. The smaller samples lie inside the larger ones and are the
    same in every run. A rank that still rises from half to all says that rows are missing, not that the layer is rich;
    one that has settled may be read. A site without kept rows has the last point alone. Raises LookupError for an
    unknown metric.
    """
    for name in metrics:
        METRICS[name]
    whole = as_capture(measured)
    rows = []
    for (site, positions), stats in whole.items():
        for part in _samples(stats):
            for name in metrics:
                judged = measure(name, part)
                facts = {"metric": name, "rows": part.n_rows, "value": judged.value, "status": judged.status}
                rows.append({"site": site, "positions": positions, **facts})
    return pd.DataFrame(rows)


def _samples(stats: LayerStats) -> list[LayerStats]:
    """Statistics of growing numbers of kept rows, then of all rows where these are more."""
    try:
        values = kept_rows(stats).values
    except NoValueError:
        return [stats]
    sizes = [len(values) // part for part in PARTS if len(values) // part < stats.n_rows]
    return [*(stats_of(values[:size], layout="image channel") for size in sizes if size), stats]
