"""Classifiers on frozen features (scikit-learn): what a simple one can read off them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[Any]

STRENGTHS = (0.01, 0.1, 1.0, 10.0)
"""Inverse regularisation of the logistic regression."""
SVM_STRENGTHS = (0.1, 1.0, 10.0, 100.0, 1000.0)
"""Of the SVM, over the number of training images: its loss is a sum over them. The time grows with it, so they are
tried from the least on, as long as more is better."""
HELD_OUT = 5
"""One training image in so many chooses the strength; the classifier is then fitted to all."""
NEIGHBOURS = 20
STEPS = 200
"""Of an optimiser, at most: on 10,000 images of up to 1,000 features it needs 15 to 100."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """Scaled float32 features of training and test images, (N, C) and (M, C), and the training labels (N,)."""

    x: Numbers
    y: Numbers
    x_test: Numbers


def linear(task: Task) -> Numbers:
    """(M,) the classes that a multinomial logistic regression (L2, L-BFGS) predicts."""
    from sklearn.linear_model import LogisticRegression

    return _of_best(task, STRENGTHS, lambda strength: LogisticRegression(C=strength, max_iter=STEPS), climb=False)


def svm(task: Task) -> Numbers:
    """(M,) the classes that linear SVMs predict, one against the rest, squared hinge loss."""
    from sklearn.svm import LinearSVC

    # The dual: at these strengths 2 s for 10,000 images of 384 features, where the primal takes 9.
    def classifier(strength: float) -> Any:
        return LinearSVC(C=strength / len(task.x), dual=True, tol=0.01, max_iter=STEPS, random_state=0)

    return _of_best(task, SVM_STRENGTHS, classifier, climb=True)


def nearest_neighbours(task: Task) -> Numbers:
    """(M,) the most frequent class among the NEIGHBOURS nearest training images (Euclid).

    As many neighbours as the smallest class has images, where that is fewer: it could not win a vote otherwise.
    """
    from sklearn.neighbors import KNeighborsClassifier

    k = min(NEIGHBOURS, int(np.unique(task.y, return_counts=True)[1].min()))
    answer: Numbers = KNeighborsClassifier(n_neighbors=k, algorithm="brute").fit(task.x, task.y).predict(task.x_test)
    return answer


def clusters(task: Task) -> Numbers:
    """(M,) the nearest of k centres that k-means finds in the training images, k their number of classes."""
    from sklearn.cluster import KMeans

    model = KMeans(n_clusters=len(np.unique(task.y)), n_init=4, random_state=0)
    with _quiet():
        answer: Numbers = model.fit(task.x).predict(task.x_test)
    return answer


def _of_best(task: Task, strengths: Sequence[float], classifier: Callable[[float], Any], *, climb: bool) -> Numbers:
    """The answers at the strength that is right most often on a fifth of the training images, the first of several.

    With `climb` none is tried after one that is worse than the one before.
    """
    # By chance, not by place: images often come sorted, or with their classes in turn.
    held = np.random.default_rng(0).permutation(len(task.x)) % HELD_OUT == 0
    x, y, x_held, y_held = task.x[~held], task.y[~held], task.x[held], task.y[held]
    best, right = strengths[0], -1.0
    with _quiet():
        for strength in strengths:
            score = classifier(strength).fit(x, y).score(x_held, y_held)
            if score > right:
                best, right = strength, score
            elif climb and score < right:
                break
        answer: Numbers = classifier(best).fit(task.x, task.y).predict(task.x_test)
    return answer


@contextmanager
def _quiet() -> Iterator[None]:
    """No word of a fit that STEPS end, or of fewer distinct images than clusters: it is judged by its answers."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield
