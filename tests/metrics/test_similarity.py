"""Known values of the channel cosine distances, and what the paper's form cannot see."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from collapse_lab.metrics._metric import METRICS, measure
from collapse_lab.stats.accumulate import stats_of, summarise
from tests import reference
from tests.metrics.planted import features, normal
from tests.tolerances import EXACT64

FORMS = ("paper", "live", "centred")


def distances(x: Tensor) -> dict[str, float]:
    stats = stats_of(x)
    return {form: measure(f"channel_cosine_distance_{form}", stats).value for form in FORMS}


def disjoint(images: int, positions: int, channels: int) -> Tensor:
    """Each channel is one at a position of its own."""
    return torch.eye(positions, dtype=torch.float64)[:, :channels].repeat(images, 1, 1)


@pytest.mark.parametrize("form", FORMS)
def test_distances_are_the_average_over_images_of_the_definition(form):
    x = features(2, images=6, positions=9)
    x[1, :, 2] = 0
    expected = [reference.channel_distances(image)[form] for image in x.numpy()]
    assert distances(x)[form] == pytest.approx(sum(expected) / 6, rel=EXACT64)


@pytest.mark.parametrize("form", FORMS)
def test_similarity_is_one_less_twice_the_distance(form):
    stats = stats_of(features(4))
    distance = measure(f"channel_cosine_distance_{form}", stats).value
    assert measure(f"channel_cosine_similarity_{form}", stats).value == pytest.approx(1 - 2 * distance, rel=EXACT64)


def test_orthogonal_channels_are_half_apart_and_copies_not_at_all():
    x = disjoint(3, 16, 4) * torch.rand(3, 1, 1).double().add(0.1)
    assert distances(x)["live"] == pytest.approx(0.5, rel=EXACT64)
    assert distances(x)["paper"] == pytest.approx((1 - 1 / 4) / 2, rel=EXACT64)  # a channel with itself counts
    copies = normal(3, 16, 1).repeat(1, 1, 4) * torch.tensor([1.0, 2, 3, 4])
    assert distances(copies) == pytest.approx(dict.fromkeys(FORMS, 0), abs=EXACT64)


@pytest.mark.parametrize("form", FORMS)
def test_the_declared_bounds_are_those_of_copies_and_of_one_sign_flipped_pair(form):
    one = normal(5, 16, 1)
    copies, flipped = torch.cat([one, one], dim=2), torch.cat([one, -one], dim=2)
    for name in ("distance", "similarity"):
        reached = [measure(f"channel_cosine_{name}_{form}", stats_of(x)).value for x in (copies, flipped)]
        assert METRICS[f"channel_cosine_{name}_{form}"].bounds == pytest.approx(sorted(reached), abs=EXACT64)


def test_maps_that_all_point_apart_reach_the_largest_distance():
    simplex = torch.eye(4, dtype=torch.float64) - 0.25  # 4 unit maps with cosine -1/3
    assert distances(simplex.repeat(3, 1, 1))["live"] == pytest.approx((1 + 1 / 3) / 2, rel=EXACT64)


def test_dead_channels_are_left_out_of_the_live_form_and_diverse_in_the_papers():
    x = normal(5, 16, 1).abs().repeat(1, 1, 8)
    x[:, :, 4:] = 0
    assert distances(x)["live"] == pytest.approx(0, abs=EXACT64)
    assert distances(x)["paper"] == pytest.approx((1 - 16 / 64) / 2, rel=EXACT64)


def test_a_channel_a_millionth_of_the_images_largest_is_not_live():
    x = normal(5, 16, 4)
    faint = torch.cat([x, 0.9e-7 * normal(5, 16, 3, seed=1)], dim=2)
    assert distances(faint)["live"] == pytest.approx(distances(x)["live"], rel=EXACT64)
    assert distances(faint)["centred"] == pytest.approx(distances(x)["centred"], rel=EXACT64)


def test_a_layer_of_zeros_has_no_live_distance_and_half_in_the_papers_form():
    zero = distances(torch.zeros(5, 16, 8))
    assert zero["paper"] == 0.5
    assert math.isnan(zero["live"])
    assert math.isnan(zero["centred"])
    assert measure("channel_cosine_distance_paper", stats_of(torch.zeros(5, 16, 8))).status == "degenerate"


def test_the_papers_form_calls_sign_flipped_copies_diverse():
    copies = normal(5, 16, 1).repeat(1, 1, 200) * torch.tensor([1.0, -1]).repeat(100)
    assert distances(copies)["paper"] == pytest.approx(0.5, abs=EXACT64)


def test_the_papers_form_calls_oversmoothed_positions_diverse():
    smooth = normal(50, 1, 64) + 0.01 * normal(50, 49, 64, seed=1)
    assert distances(smooth)["paper"] == pytest.approx(0.49, abs=0.01)


def test_the_papers_form_calls_a_sparse_healthy_layer_more_diverse_than_its_live_channels():
    sparse = (normal(50, 16, 64) - 1.5).clamp(min=0)  # 7 % of the values; a third of the maps of 16 are all zero
    seen = distances(sparse)
    assert seen["paper"] > seen["live"] + 0.01


def test_a_level_of_its_own_for_every_channel_is_removed_by_the_centred_form():
    x = normal(5, 16, 6)
    shifted = distances(x + 5 * torch.arange(1.0, 7))
    assert shifted["centred"] == pytest.approx(distances(x)["centred"], rel=EXACT64)
    assert shifted["live"] < 0.05


def test_images_without_two_live_channels_are_not_counted():
    x = normal(6, 16, 4)
    x[3:, :, 1:] = 0
    stats = stats_of(x)
    assert stats.images.n_channels_live == 3
    assert distances(x)["live"] == pytest.approx(distances(x[:3])["live"], rel=EXACT64)


def test_removed_positions_are_no_part_of_a_map():
    x = normal(6, 16, 4)
    visible = torch.arange(16) < torch.tensor([16, 9, 9, 5, 2, 1])[:, None]
    stats = summarise(x, torch.arange(6), ("all",), visible=visible)["all"]
    expected = [
        reference.channel_distances(image[seen].numpy())["live"]
        for image, seen in zip(x, visible, strict=True)
        if seen.sum() > 1
    ]
    assert measure("channel_cosine_distance_live", stats).value == pytest.approx(sum(expected) / 5, rel=EXACT64)


def test_one_position_is_no_map():
    assert measure("channel_cosine_distance_paper", stats_of(normal(20, 1, 4))).status == "insufficient"
