"""The jackknife by hand, and how often its interval holds the truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import t as student

from collapse_lab.findings.uncertainty import half_width, interval_of, jackknife
from collapse_lab.metrics._metric import METRICS
from collapse_lab.stats.accumulate import Accumulator
from collapse_lab.stats.held import leave_one_out
from tests.metrics.planted import normal
from tests.tolerances import PINNED


def test_equal_groups_give_the_ordinary_delete_one_group_jackknife():
    left_out, value = np.array([2.0, 4.0, 3.0, 5.0, 2.5]), 3.2
    g, mean = 5, left_out.mean()
    estimate = jackknife(value, list(left_out), [10] * g)
    assert estimate.corrected == pytest.approx(g * value - (g - 1) * mean, rel=PINNED)
    pseudo = g * value - (g - 1) * left_out
    assert estimate.variance == pytest.approx(pseudo.var(ddof=1) / g, rel=PINNED)
    assert estimate.variance == pytest.approx((g - 1) / g * ((left_out - mean) ** 2).sum(), rel=PINNED)
    assert estimate.freedom == g - 1


def test_unequal_groups_by_hand():
    # n = 6; h = 6, 3, 2; pseudo-values h v - (h - 1) l = 8, 2, 4; corrected = 8/6 + 2/3 + 4/2 = 4
    estimate = jackknife(3.0, [2.0, 3.5, 2.0], [1, 2, 3])
    assert estimate.corrected == pytest.approx(4, rel=PINNED)
    assert estimate.variance == pytest.approx(((8 - 4) ** 2 / 5 + (2 - 4) ** 2 / 2 + 0 / 1) / 3, rel=PINNED)


def test_of_a_mean_the_correction_is_nothing_and_the_variance_that_of_the_mean():
    x = np.random.default_rng(0).normal(size=48)
    groups = np.arange(48)
    left_out = [x[groups != k].mean() for k in range(48)]
    estimate = jackknife(x.mean(), left_out, [1] * 48)
    assert estimate.corrected == pytest.approx(x.mean(), rel=1e-9)
    assert estimate.variance == pytest.approx(x.var(ddof=1) / 48, rel=1e-9)


def test_a_bias_of_one_over_n_is_taken_away():
    x = np.random.default_rng(1).normal(size=48)
    left_out = [np.delete(x, k).var() for k in range(48)]  # divided by n: too small by 1 / n
    assert jackknife(x.var(), left_out, [1] * 48).corrected == pytest.approx(x.var(ddof=1), rel=1e-9)


def test_a_group_without_images_says_nothing():
    with_empty = jackknife(3.0, [2.0, 3.0, 3.5, 2.0], [1, 0, 2, 3])
    assert with_empty == jackknife(3.0, [2.0, 3.5, 2.0], [1, 2, 3])


def test_no_interval_without_values_or_groups():
    for value, left_out, sizes in ((3.0, [2.0], [5]), (math.nan, [1.0, 2.0], [1, 1]), (3.0, [1.0, math.nan], [1, 1])):
        estimate = jackknife(value, left_out, sizes)
        assert all(map(math.isnan, (estimate.corrected, estimate.variance, *estimate.interval())))
    with pytest.raises(ValueError, match="2 values were left out for 3 groups"):
        jackknife(3.0, [1.0, 2.0], [1, 1, 1])


def test_half_widths_are_students():
    assert half_width(4.0, 15) == pytest.approx(2 * student.ppf(0.975, 15), rel=PINNED)
    assert half_width(4.0, 3, 0.9) == pytest.approx(2 * student.ppf(0.95, 3), rel=PINNED)
    assert math.isnan(half_width(math.nan, 15))
    assert math.isnan(half_width(1.0, 0))


def test_an_interval_on_a_logarithmic_scale_is_the_jackknife_of_the_logarithm():
    value, left_out, sizes = 3.0, [2.0, 3.5, 2.5, 3.1], [4, 5, 6, 5]
    found = interval_of(value, left_out, sizes, log_scale=True)
    of_log = jackknife(math.log(value), [math.log(each) for each in left_out], sizes)
    assert found.corrected == pytest.approx(math.exp(of_log.corrected), rel=PINNED)
    assert (found.low, found.high) == pytest.approx([math.exp(end) for end in of_log.interval()], rel=PINNED)
    scaled = interval_of(10 * value, [10 * each for each in left_out], sizes, log_scale=True)
    assert (scaled.low, scaled.high) == pytest.approx((10 * found.low, 10 * found.high), rel=PINNED)


def test_on_a_plain_scale_it_is_the_jackknife():
    value, left_out, sizes = 3.0, [2.0, 3.5, 2.5, 3.1], [4, 5, 6, 5]
    found, estimate = interval_of(value, left_out, sizes), jackknife(value, left_out, sizes)
    assert (found.corrected, found.low, found.high) == (estimate.corrected, *estimate.interval())


@pytest.mark.parametrize("left_out", [[2.0, 0.0, 2.5], [2.0, -1.0, 2.5], [2.0, math.nan, 2.5], [2.0]])
def test_what_has_no_logarithm_has_no_interval_on_that_scale(left_out):
    assert all(
        math.isnan(end) for end in vars(interval_of(3.0, left_out, [5] * len(left_out), log_scale=True)).values()
    )


@pytest.mark.parametrize(("plain", "moves"), [(3.0, True), (2.0, False)])
def test_a_whole_interval_starts_at_the_lower_of_the_plain_and_the_corrected_value(plain, moves):
    left_out, sizes = [2.5, 2.8, 2.4, 2.6], [5] * 4  # the correction moves the value up from 3, and down from 2
    usual, whole = (interval_of(plain, left_out, sizes, whole=w) for w in (False, True))
    assert (usual.corrected > plain) is moves
    assert whole.high == usual.high
    assert whole.low == pytest.approx(usual.low - max(0.0, usual.corrected - plain), rel=PINNED)


def covered(name: str, truth: float, draws: int, images: int, channels: int) -> float:
    """How often the interval of a power law's metric holds the population's value."""
    metric, scale = METRICS[name].function, torch.arange(1.0, channels + 1).double() ** -0.5
    hits = 0
    for seed in range(draws):
        accumulator = Accumulator(("all",), groups=16)
        accumulator.update((normal(images, channels, seed=seed) * scale)[:, None], torch.arange(images) + seed * images)
        whole, parts = accumulator.compute("all")
        left_out = [metric(others) for others in leave_one_out(parts)]
        sizes = [part.n_images for part in parts]
        found = interval_of(metric(whole), left_out, sizes, log_scale=METRICS[name].log_scale)
        hits += found.low <= truth <= found.high
    return hits / draws


@pytest.mark.parametrize("name", ["participation_ratio", "stable_rank", "effective_rank_energy"])
def test_intervals_of_a_power_law_hold_the_population_value(name):
    variance = torch.arange(1.0, 17).double() ** -1
    truth = {
        "participation_ratio": (variance.sum() ** 2 / variance.square().sum()).item(),
        "stable_rank": (variance.sum() / variance[0]).item(),
        "effective_rank_energy": torch.special.entr(variance / variance.sum()).sum().exp().item(),
    }[name]
    assert covered(name, truth, draws=60, images=320, channels=16) >= 0.87  # 0.95 less 3 standard errors of 60


@pytest.mark.slow
def test_coverage_of_a_power_law_is_close_to_the_level():
    variance = torch.arange(1.0, 33).double() ** -1
    truth = (variance.sum() ** 2 / variance.square().sum()).item()
    assert 0.92 <= covered("participation_ratio", truth, draws=600, images=640, channels=32) <= 0.98
