"""The definitions, slow and obvious, in NumPy: what the streaming statistics and the metrics must agree with."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def unit(rows: Array) -> Array:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def mean_off_diagonal(matrix: Array) -> float:
    """Of a square matrix, the mean over all i != j."""
    n = len(matrix)
    return float((matrix.sum() - np.trace(matrix)) / (n * (n - 1)))


def singular_values(rows: Array) -> Array:
    """Of the centred rows, by a float64 singular value decomposition."""
    return np.linalg.svd(rows - rows.mean(axis=0), compute_uv=False)


def entropy_rank(weights: Array) -> float:
    share = weights[weights > 0] / weights.sum()
    return float(np.exp(-(share * np.log(share)).sum()))


def channel_distances(maps: Array) -> dict[str, float]:
    """(P, C) maps of one image -> the paper's distance, that of live channels, and that of mean-removed maps."""
    return {"paper": _paper(maps), "live": _off(maps), "centred": _off(maps - maps.mean(axis=0))}


def _paper(maps: Array) -> float:
    channels = maps.shape[1]
    total = 0.0
    for i in range(channels):
        for j in range(channels):
            size = np.linalg.norm(maps[:, i]) * np.linalg.norm(maps[:, j])
            total += (1 - (maps[:, i] @ maps[:, j] / size if size else 0.0)) / 2
    return total / channels**2


def _off(maps: Array) -> float:
    size = np.linalg.norm(maps, axis=0)
    live = maps[:, size > 1e-6 * size.max()]
    return float("nan") if live.shape[1] < 2 else (1 - mean_off_diagonal(unit(live.T) @ unit(live.T).T)) / 2


def position_cosine_raw(images: Array) -> float:
    """(N, P, C): the mean cosine between two positions, averaged over images."""
    return float(np.mean([mean_off_diagonal(unit(image) @ unit(image).T) for image in images]))


def position_cosine_centred(images: Array) -> float:
    """(N, P, C): mean of y_p . y_q over pairs of positions, over mean of |y_p|^2; y less the mean of all images."""
    y = images - images.mean(axis=(0, 1))
    together = np.mean([mean_off_diagonal(image @ image.T) for image in y])
    return float(together / np.mean((y**2).sum(axis=2)))


def intra_class_correlation(images: Array) -> float:
    """(N, P, C): one-way analysis of variance over images, summed over channels."""
    n, p, _ = images.shape
    means = images.mean(axis=1)
    between = p * ((means - images.mean(axis=(0, 1))) ** 2).sum() / (n - 1)
    within = ((images - means[:, None]) ** 2).sum() / (n * (p - 1))
    return float((between - within) / (between + (p - 1) * within))


def participation_ratio_corrected(rows: Array) -> float:
    """(tr Sigma)^2 over tr Sigma^2, each the average of an unbiased kernel over all four different rows."""
    above, below = 0.0, 0.0
    for i, j, k, m in permutations(range(len(rows)), 4):
        one, two = rows[i] - rows[j], rows[k] - rows[m]
        above += (one @ one) * (two @ two)
        below += (one @ two) ** 2
    return float(above / below)


def gini(values: Array) -> float:
    """Half of the mean absolute difference of all pairs, over the mean."""
    return float(np.abs(values[:, None] - values[None, :]).mean() / (2 * values.mean()))


def gate_facts(maps: Array) -> dict[str, float]:
    """(P, C) of one image -> how the norms of its channels are spread, each by its definition."""
    energy = np.array([np.sqrt(sum(value**2 for value in channel)) for channel in maps.T])
    share = energy / energy.sum()
    return {
        "gate_variation": float(energy.std() / energy.mean()),
        "gate_gini": gini(energy),
        "gate_largest_share": float(share.max()),
        "gate_entropy": entropy_rank(energy) / len(energy),
    }


def class_selectivity(rows: Array, labels: Array) -> Array:
    """(n, C) activities and (n,) classes -> the index of each channel that is active."""
    found = []
    for channel in np.abs(rows).T:
        means = sorted(channel[labels == label].mean() for label in np.unique(labels))
        rest = np.mean(means[:-1])
        if means[-1] > 0:
            found.append((means[-1] - rest) / (means[-1] + rest))
    return np.array(found)


def debiased_cka(x: Array, y: Array) -> float:
    """Linear CKA, each HSIC the average of the unbiased kernel over all four different rows."""

    def hsic(k: Array, m: Array) -> float:
        # tr(KL) / (n)_2 + sum K sum L / (n)_4 - 2 sum K_ij L_jq / (n)_3, over different indices only.
        rows = range(len(k))
        pairs = [k[i, j] * m[i, j] for i, j in permutations(rows, 2)]
        triples = [k[i, j] * m[j, q] for i, j, q in permutations(rows, 3)]
        quads = [k[i, j] * m[q, r] for i, j, q, r in permutations(rows, 4)]
        return float(np.mean(pairs) + np.mean(quads) - 2 * np.mean(triples))

    k, m = x @ x.T, y @ y.T
    return hsic(k, m) / float(np.sqrt(hsic(k, k) * hsic(m, m)))


def knn_overlap(x: Array, y: Array, k: int) -> float:
    """Share of the k nearest other rows, by Euclidean distance, that both have in common."""

    def nearest(rows: Array, i: int) -> set[int]:
        distance = {j: float(np.linalg.norm(rows[i] - rows[j])) for j in range(len(rows)) if j != i}
        return set(sorted(distance, key=lambda j: distance[j])[:k])

    return float(np.mean([len(nearest(x, i) & nearest(y, i)) / k for i in range(len(x))]))


def resized(image: Array, box: tuple[int, int, int, int], size: int) -> Array:
    """(H, W, C) and top, left, height, width -> (size, size, C): bilinear, a triangle at least a pixel wide."""
    top, left, high, wide = box
    part = image[top : top + high, left : left + wide].astype(float)
    lines = np.stack([_weighted(part, size, row, axis=0) for row in range(size)], axis=0)
    return np.stack([_weighted(lines, size, column, axis=1) for column in range(size)], axis=1)


def _weighted(values: Array, size: int, place: int, axis: int) -> Array:
    """The mean around the centre of one output pixel along an axis, weights falling linearly to 0."""
    length = values.shape[axis]
    scale = length / size
    centre, reach = (place + 0.5) * scale, max(1.0, scale)
    weights = np.array([max(0.0, 1 - abs(pixel + 0.5 - centre) / reach) for pixel in range(length)])
    return np.average(values, axis=axis, weights=weights)
