"""Rows in tight clusters are told from rows of low rank, whatever their tails."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import silhouette_samples
from torch import Tensor

from collapse_lab.findings.clusters import cluster_silhouette, silhouettes
from collapse_lab.metrics._metric import NoValueError, measure
from tests.metrics.planted import normal, of_rows, rotation
from tests.tolerances import EXACT64


def clusters(count: int, spread: float, rows: int = 500) -> Tensor:
    """Rows around the corners of a simplex, a deviation of `spread` of the distance between them along each edge."""
    corner = torch.eye(count, dtype=torch.float64)[torch.arange(rows) % count]
    return (corner + 2**0.5 * spread * normal(rows, count)) @ rotation(64)[:count]


@pytest.mark.parametrize("count", [2, 3, 7, 20, 50])
def test_tight_clusters_are_seen_up_to_fifty(count):
    assert cluster_silhouette(of_rows(clusters(count, 0.02))) > 0.7


@pytest.mark.parametrize("count", [2, 3, 7])
def test_clusters_that_touch_are_none(count):
    assert cluster_silhouette(of_rows(clusters(count, 0.4))) < 0.2


def heavy(rank: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(rank).standard_t(3, size=(500, rank)))


def uniform(rank: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(rank).uniform(size=(500, rank)))


def exponential(rank: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(rank).exponential(size=(500, rank)))


@pytest.mark.parametrize("rank", [1, 2, 3, 8])
@pytest.mark.parametrize(
    "family", [lambda rank: normal(500, rank), uniform, heavy, exponential, lambda rank: normal(500, rank).clamp(min=0)]
)
def test_a_low_rank_of_any_tail_is_not_clusters(family, rank):
    assert cluster_silhouette(of_rows(family(rank) @ rotation(32)[:rank])) < 0.4


def test_the_mean_silhouette_would_call_the_halves_of_a_line_clusters():
    x = normal(500, 1).sort(dim=0).values
    half = torch.arange(500) >= 250
    assert silhouette_samples(x.numpy(), half.numpy()).mean() > 0.5
    assert cluster_silhouette(of_rows(x)) < 0.2


def test_strays_hide_no_clusters_until_they_are_many():
    x = clusters(4, 0.02)
    for strays, seen in ((20, True), (60, False)):
        away = x.clone()
        away[:strays] = 10 * normal(strays, 64, seed=1)
        assert (cluster_silhouette(of_rows(away)) > 0.5) == seen


def test_silhouettes_are_those_of_an_independent_library():
    x, place = normal(60, 5), torch.arange(60) % 4
    member = place[:, None] == torch.arange(4)
    own, neighbour = silhouettes(
        torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist") @ member.double(), member
    )
    assert own.numpy() == pytest.approx(silhouette_samples(x.numpy(), place.numpy()), abs=EXACT64)
    centre_free = torch.stack([torch.cdist(x, x[place == one]).mean(dim=1) for one in range(4)], dim=1)
    assert torch.equal(neighbour, centre_free.masked_fill(member, torch.inf).argmin(dim=1))


def test_too_few_or_equal_rows_have_no_clusters():
    assert measure("cluster_silhouette", of_rows(clusters(2, 0.02, rows=19))).reason.startswith("19 kept rows")
    assert cluster_silhouette(of_rows(clusters(2, 0.02, rows=20))) > 0.7
    with pytest.raises(NoValueError, match="all kept rows are the same"):
        cluster_silhouette(of_rows(torch.ones(30, 3)))
