"""The methods that probe features, by name, and the scores of their answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from collapse_lab.findings import classifiers
from collapse_lab.findings.classifiers import Numbers, Task
from collapse_lab.registry import Registry


@dataclass(frozen=True, kw_only=True)
class Score:
    """A number that says how well answers agree with labels, and its bounds."""

    metric: str
    function: Callable[[Numbers, Numbers], float]
    low: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Probe:
    """A method: its answer for every test image, and the scores of the answers."""

    answer: Callable[[Task], Numbers]
    scores: tuple[Score, ...]
    linear: bool
    """Whether channels are standardised and a strength is chosen on a fifth of the training images; or the distances
    of the features count as they are."""


def accuracy(label: Numbers, answer: Numbers) -> float:
    """The share of images whose answer is their label."""
    return float(np.mean(label == answer))


def nmi(label: Numbers, answer: Numbers) -> float:
    """Mutual information of labels and clusters over the mean of their entropies: 0 unrelated, 1 the same."""
    from sklearn.metrics import normalized_mutual_info_score

    return float(normalized_mutual_info_score(label, answer))


def ari(label: Numbers, answer: Numbers) -> float:
    """Pairs of images on which labels and clusters agree, adjusted for chance: 0 by chance, 1 the same, at least -.5
    (Hubert & Arabie 1985)."""
    from sklearn.metrics import adjusted_rand_score

    return float(adjusted_rand_score(label, answer))


PROBES: Registry[Probe] = Registry(
    "probe",
    {
        "linear": Probe(
            answer=classifiers.linear,
            scores=(Score(metric="linear_probe_accuracy", function=accuracy),),
            linear=True,
        ),
        "knn": Probe(
            answer=classifiers.nearest_neighbours,
            scores=(Score(metric="knn_accuracy", function=accuracy),),
            linear=False,
        ),
        "svm": Probe(
            answer=classifiers.svm,
            scores=(Score(metric="svm_accuracy", function=accuracy),),
            linear=True,
        ),
        "kmeans": Probe(
            answer=classifiers.clusters,
            scores=(Score(metric="kmeans_nmi", function=nmi), Score(metric="kmeans_ari", function=ari, low=-0.5)),
            linear=False,
        ),
    },
)
"""linear: logistic regression on standardised channels, its strength chosen on a fifth of the training images; svm:
linear, likewise; knn: the vote of 20 neighbours; kmeans: clusters of the training images, as many as classes, to which
the test images are assigned. Both of these judge by the distances of the features as they are: standardised, a channel
of noise would count as much as any."""


def metrics_of(kinds: Iterable[str]) -> list[str]:
    """The metrics that these probes give; raises LookupError for an unknown one."""
    return [score.metric for kind in kinds for score in PROBES[kind].scores]
