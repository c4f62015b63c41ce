"""Known values of the likeness of positions."""

from __future__ import annotations

import pytest
import torch

from collapse_lab.metrics._metric import METRICS, measure
from collapse_lab.metrics.spatial import between_image_share, position_cosine_centred, position_cosine_raw
from collapse_lab.stats.accumulate import stats_of, summarise
from tests import reference
from tests.metrics.planted import features, normal
from tests.tolerances import EXACT64


def test_position_cosines_are_their_definitions():
    x = features(8, images=10, positions=6) + 0.5
    assert position_cosine_raw(stats_of(x)) == pytest.approx(reference.position_cosine_raw(x.numpy()), rel=EXACT64)
    expected = reference.position_cosine_centred(x.numpy())
    assert position_cosine_centred(stats_of(x)) == pytest.approx(expected, rel=EXACT64)


def test_positions_of_an_image_that_are_the_same_have_cosine_one():
    stats = stats_of(normal(20, 1, 5).repeat(1, 9, 1))
    assert position_cosine_raw(stats) == pytest.approx(1)
    assert position_cosine_centred(stats) == pytest.approx(1)
    assert between_image_share(stats) == pytest.approx(1)


@pytest.mark.parametrize("metric", [position_cosine_raw, position_cosine_centred, between_image_share])
def test_the_bounds_are_those_of_opposite_and_of_like_positions(metric):
    one = normal(20, 1, 5)
    reached = (metric(stats_of(torch.cat([one, -one], dim=1))), metric(stats_of(torch.cat([one, one], dim=1))))
    assert METRICS[metric.__name__].bounds == pytest.approx(reached, abs=EXACT64)


def test_independent_positions_have_cosine_about_zero():
    stats = stats_of(normal(200, 9, 16))
    assert position_cosine_centred(stats) == pytest.approx(0, abs=0.01)
    assert between_image_share(stats) == pytest.approx(0, abs=0.01)


def test_an_offset_alone_brings_the_raw_cosine_near_one_and_not_the_centred():
    stats = stats_of(normal(200, 9, 16) + 20)
    assert position_cosine_raw(stats) > 0.99
    assert position_cosine_centred(stats) == pytest.approx(0, abs=0.01)


def test_the_share_of_images_in_the_variance_is_recovered():
    stats = stats_of(2 * normal(2000, 1, 16) + normal(2000, 4, 16, seed=1))
    assert position_cosine_centred(stats) == pytest.approx(4 / 5, abs=0.01)
    assert between_image_share(stats) == pytest.approx(4 / 5, abs=0.01)


def test_every_visible_position_counts_whatever_the_rows_are():
    x = features(8, images=10, positions=6)
    seen = torch.ones(10, 6, dtype=torch.bool)
    seen[:, 4:] = False
    for stats in summarise(x, torch.arange(10), ("sampled:1", "pooled"), visible=seen).values():
        expected = reference.position_cosine_centred(x[:, :4].numpy())
        assert position_cosine_centred(stats) == pytest.approx(expected, rel=EXACT64)


def test_one_position_or_one_image_is_too_few():
    assert measure("position_cosine_raw", stats_of(normal(9, 1, 4))).status == "insufficient"
    assert measure("position_cosine_centred", stats_of(normal(9, 1, 4))).status == "insufficient"
    single = torch.zeros(9, 3, dtype=torch.bool)
    single[:, 0] = True
    single[0] = True  # two positions in one image only
    stats = summarise(normal(9, 3, 4), torch.arange(9), ("all",), visible=single)["all"]
    assert measure("position_cosine_centred", stats).reason == "fewer than two images have two positions"
    assert measure("position_cosine_raw", stats).status == "ok"
