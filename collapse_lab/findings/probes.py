"""What the features are worth: how well simple methods tell the classes apart on frozen features (scikit-learn)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from collapse_lab.capture.ending import FEWEST_IMAGES
from collapse_lab.findings.classifiers import HELD_OUT, Numbers, Task
from collapse_lab.findings.scores import PROBES, Score, metrics_of
from collapse_lab.findings.table import ORIGIN
from collapse_lab.findings.uncertainty import interval_of
from collapse_lab.metrics._metric import Measurement, Status
from collapse_lab.stats.held import group_of
from collapse_lab.stats.identity import images_hash, images_keys, read_ids

Features = tuple[Any, Any]
"""Features (N, C) and labels (N,), as tensors or arrays."""


def probe(
    train: Features,
    test: Features,
    kinds: Iterable[str] = ("linear",),
    *,
    ids: Any = None,
    groups: int = 16,
) -> pd.DataFrame:
    """What frozen features are worth: one row of the tidy table for each score of each of `kinds` (see PROBES).

    `train` and `test` are features (N, C) and labels (N,), tensors or arrays. `ids` (M,) are the identities of the test
    images, by which they fall into groups: `low` and `high` are the 95 % interval over images that leaving out each
    group gives, the fit taken as it is; without ids their places serve. Below 64 test images there is no interval. Its
    centre is `corrected`, the value without its bias of few images: k-means scores of pure noise read .1 and correct to
    about 0, so their interval need not hold `value`.

    Raises LookupError for an unknown kind, ValueError for shapes that do not fit, labels that are missing (-1), one
    class, features that are not finite, or, for linear and svm, a class of fewer than 5 training images.
    """
    chosen = [PROBES[kind] for kind in ([kinds] if isinstance(kinds, str) else kinds)]
    if not chosen or groups < 2:
        raise ValueError(f"a probe needs one kind at least and 2 groups or more, got {len(chosen)} and {groups}")
    (x, y), (x_test, label) = _checked_pair(train, test, linear=any(each.linear for each in chosen))
    tasks = {way: _task(x, y, x_test, standardised=way) for way in {each.linear for each in chosen}}
    count = len(label)
    identities = torch.arange(count) if ids is None else torch.tensor(read_ids(ids, count), dtype=torch.int64)
    group = group_of(identities, groups).numpy()
    rows = []
    for each in chosen:
        answer = each.answer(tasks[each.linear])
        rows += [_row(score, label, answer, group, x.shape[1]) for score in each.scores]
    return pd.DataFrame([{**row, "images_hash": images_hash(images_keys(identities))} for row in rows])


def too_few(labels: Tensor) -> str:
    """Why training images with these labels cannot be probed with a split; "" where they can."""
    counts = labels.unique(return_counts=True)
    if len(counts[0]) < 2:
        return f"a probe needs images of two classes at least, got {len(counts[0])}"
    least = int(counts[1].argmin())
    if counts[1][least] < HELD_OUT:
        return (
            f"a probe needs {HELD_OUT} training images a class, one to choose its strength, and class "
            f"{int(counts[0][least])} has {int(counts[1][least])}; take more images, or knn or kmeans"
        )
    return ""


def missing_rows(kinds: Iterable[str], reason: str, images: int, status: Status = "insufficient") -> pd.DataFrame:
    """The rows of probes that cannot be made of the data: without a value, with the reason."""
    return pd.DataFrame([_cells(metric, math.nan, images, 0, status, reason) for metric in metrics_of(kinds)])


def _checked_pair(
    train: Features, test: Features, *, linear: bool
) -> tuple[tuple[Numbers, Numbers], tuple[Numbers, Numbers]]:
    """Features in float64 and labels, of training and of test images, that fit each other."""
    (x, y), (x_test, label) = (_checked(name, *given) for name, given in (("training", train), ("test", test)))
    if x.shape[1] != x_test.shape[1]:
        raise ValueError(f"training and test features have {x.shape[1]} and {x_test.shape[1]} channels")
    why = too_few(torch.from_numpy(y))
    if why and (linear or len(np.unique(y)) < 2):
        raise ValueError(why)
    return (x, y), (x_test, label)


def _task(x: Numbers, y: Numbers, x_test: Numbers, *, standardised: bool) -> Task:
    """Centred on the training images and scaled by them, each channel by itself or all by one number."""
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler(with_std=standardised).fit(x)
    first, second = scaler.transform(x), scaler.transform(x_test)
    size = 1.0 if standardised else np.sqrt(np.mean(first**2)) or 1.0
    return Task(x=(first / size).astype(np.float32), y=y, x_test=(second / size).astype(np.float32))


def _checked(name: str, features: Any, labels: Any) -> tuple[Numbers, Numbers]:
    x = torch.as_tensor(features).detach().cpu().double().numpy()
    y = torch.as_tensor(labels).detach().cpu().long().numpy()
    if x.ndim != 2 or y.shape != x.shape[:1] or not len(x):
        shapes = f"{tuple(x.shape)} and {tuple(y.shape)}"
        raise ValueError(f"{name}: expected features (N, C) and labels (N,) of N > 0 images, got {shapes}")
    if (y < 0).any():
        raise ValueError(f"{name}: {int((y < 0).sum())} of {len(y)} images have no label (-1); leave them out")
    bad = int((~np.isfinite(x)).any(axis=1).sum())
    if bad:
        raise ValueError(
            f"{name}: the features of {bad} of {len(x)} images are not finite; find where with 'collapse-lab analyze'"
        )
    return x, y


def _row(score: Score, label: Numbers, answer: Numbers, group: Numbers, channels: int) -> dict[str, Any]:
    n, value = len(label), score.function(label, answer)
    row = _cells(score.metric, value, n, channels)
    if n < FEWEST_IMAGES:
        return row
    numbers, sizes = np.unique(group, return_counts=True)
    left_out = [score.function(label[group != number], answer[group != number]) for number in numbers]
    found = asdict(interval_of(value, left_out, sizes.tolist()))
    ends = {name: float(np.clip(end, score.low, 1.0)) for name, end in found.items()}
    return {**row, **ends, "replicates": left_out, "group_sizes": sizes.tolist()}


def _cells(metric: str, value: float, n: int, channels: int, status: Status = "ok", reason: str = "") -> dict[str, Any]:
    judged = Measurement(
        metric=metric, value=value, status=status, reason=reason, floor=0.0, n_images=n, n_rows=n, n_effective=float(n)
    )
    return {
        **ORIGIN,
        "site": "",
        "positions": "pooled",
        "depth": 1.0,
        "channels": channels,
        **asdict(judged),
        **dict.fromkeys(("corrected", "low", "high"), math.nan),
        "replicates": None,
        "group_sizes": None,
        "images_hash": "",
    }
