"""What the features are worth: a linear classifier on frozen features (scikit-learn)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from collapse_lab.capture.ending import FEWEST_IMAGES
from collapse_lab.findings.compare import PROBE
from collapse_lab.findings.table import ORIGIN
from collapse_lab.findings.uncertainty import Estimate, jackknife
from collapse_lab.metrics._metric import Measurement
from collapse_lab.stats.held import group_of

STRENGTHS = (0.01, 0.1, 1.0, 10.0)
HELD_OUT = 5
"""One training image in so many chooses the strength; the classifier is then fitted to all."""


def linear_probe(train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor]) -> Tensor:
    """(M,) bool, which test images a multinomial logistic regression on standardised features gets right.

    `train` and `test` are features (N, C) and labels (N,). The inverse regularisation is chosen among STRENGTHS on a
    fifth of the training images. Raises ValueError for fewer than two classes or features that are not finite.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    (x, y), (x_test, y_test) = ((f.double().cpu().numpy(), label.cpu().numpy()) for f, label in (train, test))
    if len(np.unique(y)) < 2:
        raise ValueError(f"a probe needs images of two classes at least, got {len(np.unique(y))}")
    if not (np.isfinite(x).all() and np.isfinite(x_test).all()):
        raise ValueError("the features hold values that are not finite; no probe can be fitted")

    def fitted(strength: float, chosen: Any) -> Any:
        return make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=1000)).fit(x[chosen], y[chosen])

    # By chance, not by place: images often come sorted, or with their classes in turn.
    held = np.random.default_rng(0).permutation(len(x)) % HELD_OUT == 0
    best = 1.0
    if len(np.unique(y[~held])) > 1 and held.any():
        best = max(STRENGTHS, key=lambda strength: fitted(strength, ~held).score(x[held], y[held]))
    return torch.from_numpy(fitted(best, np.ones(len(x), dtype=bool)).predict(x_test) == y_test)


def probe_row(right: Tensor, ids: Tensor, images_hash: str, groups: int = 16) -> pd.DataFrame:
    """The probe's accuracy as one row of the tidy table, with replicates over the groups of a capture."""
    group = group_of(ids, groups)
    sizes = [int(size) for size in group.bincount(minlength=groups) if size]
    left_out = list(_left_out(right, group))
    accuracy = right.double().mean().item()
    enough = len(right) >= FEWEST_IMAGES
    estimate = jackknife(accuracy, left_out, sizes)
    inside = [min(1.0, max(0.0, v)) if enough and math.isfinite(v) else math.nan for v in _ends(estimate)]
    n = len(right)
    judged = Measurement(
        metric=PROBE, value=accuracy, status="ok", reason="", floor=0.0, n_images=n, n_rows=n, n_effective=float(n)
    )
    row = {
        **ORIGIN,
        "site": "",
        "positions": "pooled",
        "depth": 1.0,
        "channels": 0,
        **asdict(judged),
        **dict(zip(("corrected", "low", "high"), inside, strict=True)),
        "replicates": left_out if enough else None,
        "group_sizes": sizes if enough else None,
        "images_hash": images_hash,
    }
    return pd.DataFrame([row])


def _ends(estimate: Estimate) -> tuple[float, float, float]:
    return estimate.corrected, *estimate.interval()


def _left_out(right: Tensor, group: Tensor) -> Iterator[float]:
    for number in group.unique():
        yield right[group != number].double().mean().item()
