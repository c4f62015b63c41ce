"""What the images are worth without learning: pixels, principal components and Fourier magnitudes, probed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from collapse_lab import draws
from collapse_lab.findings.probes import probe
from collapse_lab.findings.scores import metrics_of
from collapse_lab.registry import Registry
from collapse_lab.stats.identity import read_ids

Array = npt.NDArray[np.float32]
Method = Callable[[Array, Array], tuple[Array, Array]]
"""Training and test images (N, C, H, W) in [0, 1] to the features (N, D) of both; it may learn from the first alone."""

COMPONENTS = 64
KINDS = ("linear", "knn", "svm", "kmeans")
COLUMNS = ("method", "features", "seed", "metric", "value", "corrected", "low", "high", "n_train", "n_images", "status")


def pixels(train: Array, test: Array) -> tuple[Array, Array]:
    """Every number of an image."""
    return train.reshape(len(train), -1), test.reshape(len(test), -1)


def components(train: Array, test: Array) -> tuple[Array, Array]:
    """The COMPONENTS strongest principal components of the training pixels, or as many as there are."""
    from sklearn.decomposition import PCA

    x, x_test = pixels(train, test)
    count = min(COMPONENTS, *x.shape)
    model = PCA(n_components=count, random_state=0).fit(x)  # many pixels: a randomised solver
    return model.transform(x), model.transform(x_test)


def fourier(train: Array, test: Array) -> tuple[Array, Array]:
    """Magnitudes of the 2-D Fourier transform of each channel: what stays of an image under any circular shift."""
    first, second = (np.abs(np.fft.rfft2(images)).reshape(len(images), -1) for images in (train, test))
    return first.astype(np.float32), second.astype(np.float32)


METHODS: Registry[Method] = Registry("method", {"pixels": pixels, "pca": components, "fourier": fourier})


def baselines(
    images: Any,
    labels: Any,
    *,
    seeds: Iterable[int] = (0, 1, 2),
    methods: Iterable[str] = tuple(METHODS),
    kinds: Iterable[str] = KINDS,
    test_share: float = 0.25,
    ids: Any = None,
    on_method: Callable[[str, int], object] = lambda *_: None,
) -> pd.DataFrame:
    """Probes (see `probe`) of features that nothing learnt: one row for each method, seed of the split and score.

    `images` (N, C, H, W) uint8, `labels` (N,). Each seed splits them by their identities `ids` (without them their
    places) into `test_share` for judging and the rest. k-means clusters the training images, as many clusters as
    classes. [low, high] is the 95 % interval over the test images of a split, around `corrected`. `summary` averages
    the seeds. `on_method` is called with method and seed when these are done.

    Raises ValueError for images of another type or shape, a share outside (0, 1), too few images, and what `probe`
    raises of labels; LookupError for an unknown method or probe.
    """
    pictures, classes = torch.as_tensor(images), torch.as_tensor(labels).cpu()
    if pictures.dtype != torch.uint8 or pictures.ndim != 4 or len(pictures) != len(classes):
        raise ValueError(
            f"expected images (N, C, H, W) uint8 and labels (N,), got {pictures.dtype} {tuple(pictures.shape)} and "
            f"{tuple(classes.shape)}"
        )
    if not 0 < test_share < 1:
        raise ValueError(f"test_share lies between 0 and 1, both apart, got {test_share}")
    if not (seeds := tuple(seeds)):
        raise ValueError("a baseline needs one seed of the split at least, got none")
    known = {name: METHODS[name] for name in methods}
    metrics_of(kinds := tuple(kinds))
    count = len(pictures)
    identities = torch.arange(count) if ids is None else torch.tensor(read_ids(ids, count), dtype=torch.int64)
    scaled = pictures.cpu().numpy().astype(np.float32) / 255
    rows: list[dict[str, Any]] = []
    for seed in seeds:
        judged = split(identities, test_share, seed)
        for name, method in known.items():
            learnt, held = method(scaled[~judged.numpy()], scaled[judged.numpy()])
            table = probe((learnt, classes[~judged]), (held, classes[judged]), kinds, ids=identities[judged])
            here = {"method": name, "features": learnt.shape[1], "seed": seed, "n_train": len(learnt)}
            rows += [{**{str(cell): value for cell, value in row.items()}, **here} for row in table.to_dict("records")]
            on_method(name, seed)
    return pd.DataFrame(rows)[list(COLUMNS)]


def split(ids: Tensor, test_share: float, seed: int) -> Tensor:
    """(N,) bool, the images that are judged: those of the smallest hash of identity and seed, whatever their order.

    Raises ValueError where one side would be empty.
    """
    judged = round(test_share * len(ids))
    if not 0 < judged < len(ids):
        raise ValueError(f"{len(ids)} images cannot be split at {test_share}; take more")
    chosen = torch.zeros(len(ids), dtype=torch.bool)
    chosen[draws.hashed(draws.key("split", seed), ids, 1)[:, 0].argsort(stable=True)[:judged]] = True
    return chosen


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Over the seeds of each method and score: mean, the least low and the greatest high end, and the number of seeds.

    The splits draw from the same images and are not independent: the range of their intervals is told, not a narrower
    one.
    """
    found = table.groupby(["method", "metric"], sort=False).agg(
        features=("features", "first"),
        value=("value", "mean"),
        spread=("value", lambda values: values.std(ddof=1) if len(values) > 1 else math.nan),
        corrected=("corrected", "mean"),
        low=("low", "min"),
        high=("high", "max"),
        n_seeds=("seed", "nunique"),
        n_train=("n_train", "min"),
        n_images=("n_images", "min"),
    )
    return found.reset_index()
