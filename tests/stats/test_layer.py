"""What the sums say: floor, degeneracy, and how many rows they are worth."""

from __future__ import annotations

import math

import pytest
import torch

from collapse_lab.stats.accumulate import stats_of, summarise
from tests import reference
from tests.metrics.planted import features, normal, of_rows, rotation
from tests.tolerances import EXACT64


def test_the_floor_is_the_larger_of_two_roundings():
    x = normal(200, 16)
    largest = reference.singular_values(x.numpy())[0]
    rms = x.square().mean(dim=0).sqrt().max().item()
    for dtype, eps in ((torch.float64, 2**-52), (torch.float32, 2**-23), (torch.bfloat16, 2**-7)):
        data = 0.3 * eps * rms * (math.sqrt(200) + math.sqrt(16))
        expected = max(math.sqrt(16 * 2**-52) * largest, data)
        assert of_rows(x.to(dtype)).floor == pytest.approx(expected, rel=EXACT64 if dtype == torch.float64 else 0.01)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("mean", [0, 10, 100])
def test_the_data_floor_lies_just_above_the_noise_that_rounding_makes(dtype, mean):
    x = normal(2000, 64) + mean
    error = x.to(dtype).double() - x
    noise = reference.singular_values(error.numpy())[0]
    assert 1 <= of_rows(x.to(dtype)).rounding / noise <= 1.7


def test_a_weak_direction_is_seen_down_to_a_share_of_3e_8():
    strong, weak = normal(500, 1), normal(500, 1, seed=1)
    for share, rank in ((1e-6, 2), (1e-9, 1)):
        x = torch.cat([strong, share * weak], dim=1) @ rotation(2)
        assert int((of_rows(x).singular_values > 0).sum()) == rank


def test_a_layer_is_degenerate_when_nothing_stands_above_rounding():
    assert of_rows(torch.zeros(9, 4)).degenerate
    assert of_rows(torch.full((9, 4), 0.1)).degenerate
    assert not of_rows(0.1 * normal(9, 4)).degenerate
    nearly = 1 + 1e-8 * normal(200, 4)  # a float32 cannot hold it
    assert of_rows(nearly.float()).degenerate
    assert not of_rows(nearly).degenerate
    assert not of_rows(nearly.float()).singular_values.any()


def test_between_image_share_is_the_analysis_of_variance():
    x = features(9, images=15, positions=6)
    assert stats_of(x).between_image_share == pytest.approx(reference.intra_class_correlation(x.numpy()), rel=EXACT64)


def test_correlated_positions_are_worth_their_images_and_independent_ones_their_rows():
    alike = normal(200, 1, 32) + 0.1 * normal(200, 49, 32, seed=1)
    assert stats_of(alike).n_effective == pytest.approx(200, rel=0.02)
    assert stats_of(normal(200, 49, 32)).n_effective == pytest.approx(9800, rel=0.05)
    assert stats_of(normal(200, 1, 32)).n_effective == 200
    assert summarise(alike, torch.arange(200), ("pooled",))["pooled"].n_effective == 200


def test_ragged_images_are_worth_no_more_than_their_rows():
    visible = torch.arange(9) < torch.randint(1, 10, (50,), generator=torch.Generator().manual_seed(0))[:, None]
    stats = summarise(normal(50, 9, 6), torch.arange(50), ("all",), visible=visible)["all"]
    assert stats.n_rows == visible.sum()
    assert stats.n_effective == pytest.approx(stats.n_rows, rel=0.1)
    same = summarise(normal(50, 1, 6).expand(50, 9, 6), torch.arange(50), ("all",), visible=visible)["all"]
    assert same.between_image_share == pytest.approx(1)
    assert same.n_effective == pytest.approx(50)
