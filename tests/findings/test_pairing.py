"""Kept rows of two layers at the same images and positions, or a reason why there are none."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from collapse_lab.findings.pairing import matched_rows
from collapse_lab.stats.accumulate import stats_of, summarise
from collapse_lab.stats.layer import LayerStats
from tests.metrics.planted import normal, of_rows

X = normal(40, 9, 3)


def sampled(x: Tensor, ids: Tensor, *, policy: str = "sampled:4", keep: int = 999, **settings: object) -> LayerStats:
    return summarise(x, ids, (policy,), keep=keep, **settings)[policy]


def test_common_images_are_matched_by_their_identity():
    x, ids = normal(60, 2), torch.arange(60)
    one, other = of_rows(x[:45], ids=ids[:45]), of_rows(x.flip(0)[:45], ids=ids.flip(0)[:45])
    (a, b), images = matched_rows([one, other])
    assert torch.equal(a, b)
    assert torch.equal(a, x[images])
    assert sorted(images.tolist()) == list(range(15, 45))


def test_three_layers_have_the_images_that_all_hold():
    x = normal(60, 2)
    layers = [of_rows(x[part], ids=torch.arange(60)[part]) for part in (slice(40), slice(10, 60), slice(5, 35))]
    rows, images = matched_rows(layers)
    assert sorted(images.tolist()) == list(range(10, 35))
    assert all(torch.equal(each, x[images]) for each in rows)


def test_pooled_rows_of_other_seeds_and_sizes_are_the_same_images():
    ids = torch.arange(40)
    one = sampled(X, ids, policy="pooled")
    other = sampled(X[:, :4], ids, policy="pooled", seed=5)
    (a, b), images = matched_rows([one, other])
    assert sorted(images.tolist()) == list(range(40))
    assert torch.allclose(a, X.mean(dim=1)[images])
    assert torch.allclose(b, X[:, :4].mean(dim=1)[images])


def test_the_same_positions_of_the_same_images_are_matched():
    ids, order = torch.arange(40), torch.arange(40).flip(0)
    one, other = sampled(X[:30], ids[:30]), sampled(-X[order], order)
    (a, b), images = matched_rows([one, other])
    assert torch.equal(a, -b)
    assert images.bincount().tolist() == [4] * 30


@pytest.mark.parametrize("keep", [40, 100])
def test_samples_that_reach_less_far_are_matched_as_far_as_they_reach(keep):
    ids = torch.arange(40)
    (a, b), images = matched_rows([sampled(X, ids, keep=keep), sampled(2 * X, ids)])
    assert torch.equal(2 * a, b)
    assert len(images) == keep


@pytest.mark.parametrize(
    "other",
    [
        sampled(normal(40, 4, 3), torch.arange(40)),  # smaller maps: position 3 lies elsewhere in them
        sampled(normal(40, 36, 3), torch.arange(40)),
        sampled(X, torch.arange(40), policy="sampled:3"),
        sampled(X, torch.arange(40), policy="all"),
        sampled(X, torch.arange(40), seed=1),
        sampled(X, torch.arange(40), visible=torch.arange(9).expand(40, 9) > 1),
        sampled(X, torch.arange(40), policy="sampled:3", keep=60),  # of 29 images, as far as it reaches
    ],
)
def test_rows_at_different_positions_are_refused(other):
    with pytest.raises(ValueError, match=r"at different positions: of the \d+ common images .* rows are kept"):
        matched_rows([sampled(X, torch.arange(40)), other])


def test_one_row_an_image_is_not_compared_with_several():
    with pytest.raises(ValueError, match=r"one layer has one row an image and another several.* best 'pooled'"):
        matched_rows([stats_of(X), stats_of(X.mean(dim=1, keepdim=True))])


def test_too_few_common_images_are_refused_with_their_number():
    x = normal(50, 2)
    one, other = of_rows(x[:30], ids=torch.arange(30)), of_rows(x[11:], ids=torch.arange(11, 50))
    with pytest.raises(ValueError, match=r"19 images in common, at least 20 are needed \(kept are 30, 39 images\)"):
        matched_rows([one, other])
    assert len(matched_rows([one, of_rows(x[10:], ids=torch.arange(10, 50))])[1]) == 20


def test_a_layer_without_kept_rows_is_refused():
    with pytest.raises(ValueError, match="no rows were kept of this layer"):
        matched_rows([sampled(X, torch.arange(40), keep=0)] * 2)
