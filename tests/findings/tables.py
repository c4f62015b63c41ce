"""Tidy tables with planted values, for what compares and diagnoses tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

METRIC = "effective_rank"


def row(value: float, *, seed: int, site: str = "blocks.0", metric: str = METRIC, **changes: Any) -> dict[str, Any]:
    """One row, as `analyze` gives it to a run."""
    return {
        "run": f"run-{seed}",
        "arm": "",
        "seed": seed,
        "step": 100,
        "site": site,
        "positions": "sampled:8",
        "depth": 1.0,
        "channels": 16,
        "metric": metric,
        "value": value,
        "status": "ok",
        "reason": "",
        "n_images": 640,
        "n_rows": 5120,
        "n_effective": 3000.0,
        "corrected": float("nan"),
        "low": float("nan"),
        "high": float("nan"),
        "replicates": None,
        "group_sizes": None,
        "images_hash": "same",
        **changes,
    }


def table(*rows: dict[str, Any]) -> pd.DataFrame:
    return pd.DataFrame(list(rows))


def arm(values: Sequence[float], **changes: Any) -> list[pd.DataFrame]:
    """One table a seed, of one metric at one site."""
    return [table(row(value, seed=seed, **changes)) for seed, value in enumerate(values)]
