"""Metrics of kept rows look at 256 at a time: more of them give what all at once would."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from collapse_lab.metrics.embedding import class_variance_share, pair_cosine_centred
from collapse_lab.metrics.labels import activity_by_class
from collapse_lab.metrics.pairs import duplicate_share, self_cluster, uniformity
from tests import reference
from tests.metrics.planted import normal, of_rows
from tests.tolerances import EXACT64

ROWS = 600
LABELS = torch.arange(ROWS) % 7 - 1  # the first class has none


@pytest.fixture(scope="module")
def rows():
    """Uneven directions around an offset, the second half of each hundred a copy of its first."""
    x = (normal(ROWS, 6).exp() @ normal(6, 6, seed=1) + 2).reshape(6, 2, 50, 6)
    x[:, 1, :20] = x[:, 0, :20]
    return x.reshape(ROWS, 6)


def test_cosines_are_those_of_all_pairs(rows):
    stats = of_rows(rows)
    y = rows.numpy() - rows.numpy().mean(axis=0)
    assert pair_cosine_centred(stats) == pytest.approx(
        reference.mean_off_diagonal(reference.unit(y) @ reference.unit(y).T), rel=EXACT64
    )
    cosine = reference.unit(rows.numpy()) @ reference.unit(rows.numpy()).T
    potential = reference.mean_off_diagonal(np.exp(-4 * (1 - cosine)))
    assert uniformity(stats) == pytest.approx(np.log(potential), rel=EXACT64)
    squared = reference.mean_off_diagonal(cosine**2)
    assert self_cluster(stats) == pytest.approx((6 * squared - 1) / 5, rel=EXACT64)


def test_copies_are_found_wherever_they_stand(rows):
    assert duplicate_share(of_rows(rows)) == pytest.approx(0.4)


@pytest.mark.parametrize("labels", [LABELS, LABELS + 1], ids=["some without a class", "all with one"])
def test_sums_by_class_take_every_labelled_row(rows, labels):
    stats = of_rows(rows, labels=labels)
    held, x = labels.numpy(), rows.numpy()
    classes = [x[held == label] for label in np.unique(held[held >= 0])]
    expected = np.stack([np.abs(own).mean(axis=0) for own in classes])
    assert np.allclose(activity_by_class(stats).numpy(), expected, rtol=EXACT64)
    middle = x[held >= 0].mean(axis=0)
    between = sum(len(own) * ((own.mean(axis=0) - middle) ** 2).sum() for own in classes)
    total = ((x[held >= 0] - middle) ** 2).sum()
    assert class_variance_share(stats) == pytest.approx(between / total, rel=EXACT64)
