"""Known values of what happens to single channels."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from collapse_lab.metrics._metric import METRICS, NoValueError, measure
from collapse_lab.metrics.channels import (
    channel_variance,
    channel_variance_q10,
    channel_variance_q50,
    dead_channels,
    dormant_ratio,
    lazy_channels,
    redundant_channels,
    saturated_channels,
    variance_imbalance,
)
from collapse_lab.stats.accumulate import stats_of, summarise
from tests import reference
from tests.metrics.planted import normal, of_rows
from tests.tolerances import EXACT64


def test_channel_variance_and_its_summaries_are_numpys():
    x = normal(60, 9) * torch.arange(1.0, 10)
    stats, expected = of_rows(x), x.numpy().var(axis=0)
    assert channel_variance(stats).tolist() == pytest.approx(expected.tolist(), rel=EXACT64)
    assert channel_variance_q10(stats) == pytest.approx(np.quantile(expected, 0.1), rel=EXACT64)
    assert channel_variance_q50(stats) == pytest.approx(np.median(expected), rel=EXACT64)
    assert variance_imbalance(stats) == pytest.approx(reference.gini(expected), rel=EXACT64)


def test_gini_is_zero_when_equal_and_near_one_when_one_channel_has_all():
    equal = torch.tensor([[1.0], [-1.0]]).repeat(10, 8)
    assert variance_imbalance(of_rows(equal)) == pytest.approx(0, abs=EXACT64)
    assert variance_imbalance(of_rows(equal * torch.eye(8)[0])) == pytest.approx(7 / 8, rel=EXACT64)


def test_a_channel_is_dead_when_it_is_zero_on_every_row():
    x = normal(100, 10)
    x[:, :3] = 0
    assert dead_channels(of_rows(x)) == 0.3


def test_a_sparse_channel_that_fires_once_is_alive():
    x = normal(500, 4)
    x[:, 0] = 0
    x[123, 0] = 0.01
    assert dead_channels(of_rows(x)) == 0


def test_a_channel_that_is_never_above_zero_may_be_alive():
    x = normal(50, 4)
    x[:, 0] = 0
    x[7, 0] = -0.5
    assert dead_channels(of_rows(x)) == 0


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_a_channel_a_millionth_of_the_largest_is_dead(scale):
    x = torch.ones(50, 3, dtype=torch.float64)
    x[:, 1], x[:, 2] = 0.9e-6, 1.1e-6
    assert dead_channels(of_rows(scale * x)) == pytest.approx(1 / 3)


def test_a_layer_of_zeros_is_dead_and_dormant_and_not_saturated():
    stats = of_rows(torch.zeros(20, 5))
    values = {name: measure(name, stats) for name in ("dead_channels", "dormant_ratio", "saturated_channels")}
    assert {name: each.value for name, each in values.items()} == {
        "dead_channels": 1,
        "dormant_ratio": 1,
        "saturated_channels": 0,
    }
    assert {each.status for each in values.values()} == {"degenerate"}


def test_a_channel_stuck_away_from_zero_is_saturated_and_not_dead():
    x = normal(100, 8)
    x[:, 0], x[:, 1] = 6.0, 0.0
    stats = of_rows(x)
    assert saturated_channels(stats) == 1 / 8
    assert dead_channels(stats) == 1 / 8


@pytest.mark.parametrize(("deviation", "share"), [(0.9e-4, 0.5), (1.1e-4, 0.0)])
def test_a_channel_that_varies_by_a_millionth_of_the_largest_is_saturated(deviation, share):
    sign = torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(50)
    assert saturated_channels(of_rows(torch.stack([100 * sign, 0.5 + deviation * sign], dim=1))) == share


def test_a_channel_that_varies_by_less_than_its_own_rounding_is_saturated():
    steps = torch.tensor([100.0, 100.5]).repeat(50)  # neighbours in bfloat16, where 100 is rounded by up to 0.4
    x = torch.stack([steps, 40 * (steps - 100)], dim=1).bfloat16()
    assert saturated_channels(of_rows(x)) == 0.5


def test_dormant_channels_fire_below_a_fortieth_of_the_average():
    x = torch.ones(10, 4, dtype=torch.float64)
    x[:, 0], x[:, 1] = 0.018, 0.022  # of an average of 0.51: 0.035 and 0.043
    assert dormant_ratio(of_rows(x)) == 0
    x[:, 0] = 0.012  # 0.0236 of 0.5085
    assert dormant_ratio(of_rows(x)) == 0.25


def test_a_lazy_channel_fires_in_fewer_than_a_hundredth_of_the_images():
    x = torch.ones(200, 3, 5, dtype=torch.float64)
    x[:, :, :4] = -1
    x[:1, 2, 0] = x[:2, 2, 1] = x[:1, :, 2] = 1  # channels 0 and 2 in one image of 200, channel 1 in two, 3 in none
    assert lazy_channels(stats_of(x)) == 3 / 5
    assert lazy_channels(stats_of(x), share=0.02) == 4 / 5
    assert lazy_channels(stats_of(x), share=0.0) == 0


@pytest.mark.parametrize("policy", ["pooled", "sampled:1"])
def test_every_position_of_an_image_counts_for_laziness_whatever_the_rows(policy):
    x = -torch.ones(50, 9, 2, dtype=torch.float64)
    x[:, 4, 0] = 0.1
    assert lazy_channels(summarise(x, torch.arange(50), (policy,))[policy]) == 0.5


def test_of_few_images_a_lazy_channel_fires_in_none():
    x = -torch.ones(10, 1, 3, dtype=torch.float64)
    x[0, 0, 0] = 1
    assert lazy_channels(stats_of(x)) == pytest.approx(2 / 3)
    assert measure("lazy_channels", stats_of(torch.zeros(10, 1, 3))).value == 1


def test_correlations_are_numpys_for_channels_that_vary():
    x = normal(40, 5) @ normal(5, 5, seed=2)
    x[:, 2] = 7
    expected = np.corrcoef(x.numpy()[:, [0, 1, 3, 4]].T)
    assert torch.allclose(of_rows(x).correlation, torch.from_numpy(expected), rtol=0, atol=EXACT64)


def test_copies_up_to_sign_and_scale_are_redundant():
    x = normal(300, 6)
    x[:, 1], x[:, 2] = -3 * x[:, 0], 5 + x[:, 3]
    assert redundant_channels(of_rows(x)) == pytest.approx(4 / 6)
    assert redundant_channels(of_rows(x + 1000)) == pytest.approx(4 / 6)


def test_two_channels_are_enough_for_a_copy():
    one = normal(300, 1)
    assert redundant_channels(of_rows(torch.cat([one, -2 * one], dim=1))) == 1


def test_ten_rows_are_enough_to_speak_of_copies_and_nine_are_not():
    x = normal(10, 3).repeat(1, 2)
    assert redundant_channels(of_rows(x)) == 1
    with pytest.raises(NoValueError, match="9 rows correlate by chance, at least 10 are needed"):
        redundant_channels(of_rows(x[:9]))


def test_banded_correlation_is_not_redundancy():
    x = normal(2000, 20)
    x = x + 0.8 * x.roll(1, dims=1) + 0.5 * x.roll(2, dims=1)
    assert redundant_channels(of_rows(x)) == 0


def test_dead_channels_are_not_copies_of_each_other():
    x = normal(200, 6)
    x[:, 3:] = 0
    assert redundant_channels(of_rows(x)) == 0
    x[:, 1:] = 0
    with pytest.raises(NoValueError, match="1 channels vary"):
        redundant_channels(of_rows(x))


def test_of_four_rows_one_pair_in_twenty_correlates_by_chance():
    pairs = torch.stack([of_rows(normal(4, 2, seed=seed)).correlation[0, 1].abs() for seed in range(600)])
    assert (pairs > 0.95).double().mean().item() == pytest.approx(0.05, abs=0.027)  # 3 standard errors


ONE = normal(400, 64).abs()
EXTREMES = {
    "variance_imbalance": (torch.tensor([[1.0], [-1.0]]).repeat(10, 64), ONE * torch.eye(64)[0]),
    "dead_channels": (ONE, torch.zeros(20, 5)),
    "saturated_channels": (ONE, torch.ones(20, 5)),
    "dormant_ratio": (ONE, torch.zeros(20, 5)),
    "lazy_channels": (ONE, -ONE),
    "redundant_channels": (ONE, ONE[:, :1].repeat(1, 5)),
}


@pytest.mark.parametrize("name", list(EXTREMES))
def test_the_declared_bounds_are_the_least_and_the_most_there_is(name):
    reached = tuple(measure(name, of_rows(x)).value for x in EXTREMES[name])
    assert METRICS[name].bounds == pytest.approx(reached, abs=1 / 64)  # all variance in one of 64 is 63/64


@pytest.mark.parametrize("name", ["channel_variance_q10", "channel_variance_q50"])
def test_no_variance_is_below_that_of_a_constant_layer(name):
    assert METRICS[name].bounds == (measure(name, of_rows(torch.ones(20, 5))).value, None)
