"""Known values of how steeply a spectrum falls, and of the power law fitted to it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import linregress
from sklearn.decomposition import PCA

from collapse_lab.metrics._metric import METRICS, NoValueError, measure
from collapse_lab.metrics.decay import (
    condition_number,
    cumulative_share,
    dims_90,
    dims_95,
    dims_99,
    power_law,
    powerlaw_alpha,
    powerlaw_directions,
    powerlaw_r_squared,
    saturation,
    spectrum_auc,
)
from collapse_lab.metrics.spectrum import numerical_rank
from collapse_lab.stats.layer import LayerStats
from tests import reference
from tests.metrics.planted import isotropic_rows, normal, of_rows, rotation, with_spectrum
from tests.tolerances import EXACT64, SAMPLING


def falling(exponent: float, channels: int = 64, rows: int = 200) -> LayerStats:
    """Eigenvalues i^-exponent, exactly."""
    return of_rows(with_spectrum(torch.arange(1, channels + 1).double() ** (-exponent / 2), channels, rows))


def test_condition_number_is_numpys():
    x = normal(60, 5) @ normal(5, 5, seed=1) + 2
    centred = (x - x.mean(dim=0)).numpy()
    assert condition_number(of_rows(x)) == pytest.approx(np.linalg.cond(centred), rel=EXACT64)
    assert measure("condition_number", of_rows(x)).status == "ok"


def test_condition_number_is_one_when_directions_vary_equally_and_the_ratio_of_two_that_do_not():
    assert condition_number(of_rows(isotropic_rows(6, channels=6))) == pytest.approx(1, rel=EXACT64)
    assert condition_number(of_rows(with_spectrum([8, 4, 2], channels=3))) == pytest.approx(4, rel=EXACT64)


def test_condition_number_of_a_missing_direction_is_capped_by_the_floor():
    stats = of_rows(with_spectrum([3, 1], channels=4))
    measured = measure("condition_number", stats)
    assert measured.value == pytest.approx(3 / stats.floor, rel=EXACT64)
    assert measured.status == "capped"
    assert "below or near the floor" in measured.reason
    assert measure("condition_number", of_rows(with_spectrum([3, 2, 1], channels=4))).status == "capped"
    few = measure("condition_number", of_rows(normal(4, 6)))
    assert few.status == "capped"  # what the floor decided is not merely biased


def test_condition_number_of_few_rows_is_biased():
    assert measure("condition_number", of_rows(normal(20, 6))).status == "biased"


def test_cumulative_shares_are_those_of_an_independent_decomposition():
    x = normal(80, 6) * torch.arange(1.0, 7)
    expected = PCA().fit(x.numpy()).explained_variance_ratio_.cumsum()
    assert cumulative_share(of_rows(x)).tolist() == pytest.approx(expected.tolist(), rel=EXACT64)
    assert spectrum_auc(of_rows(x)) == pytest.approx(expected.mean(), rel=EXACT64)


@pytest.mark.parametrize(("share", "metric"), [(0.90, dims_90), (0.95, dims_95), (0.99, dims_99)])
@pytest.mark.parametrize("exponent", [0.0, 1.0, 3.0])
def test_dims_are_the_fewest_directions_that_hold_the_share(metric, share, exponent):
    variance = np.arange(1.0, 65) ** -exponent
    held = variance.cumsum() / variance.sum()
    expected = next(k + 1 for k in range(64) if held[k] >= share)
    assert metric(falling(exponent)) == expected


def test_nine_of_ten_equal_directions_hold_nine_tenths_in_spite_of_rounding():
    for seed in range(5):
        assert dims_90(of_rows(isotropic_rows(10, channels=10, seed=seed))) == 9
        assert dims_95(of_rows(isotropic_rows(20, channels=20, seed=seed))) == 19


def test_saturation_is_dims_99_over_the_channels():
    stats = of_rows(isotropic_rows(5, channels=20))
    assert dims_99(stats) == 5
    assert saturation(stats) == 0.25


def test_spectrum_auc_runs_from_even_directions_to_a_line():
    assert spectrum_auc(of_rows(isotropic_rows(8, channels=8))) == pytest.approx(9 / 16, rel=EXACT64)
    assert spectrum_auc(of_rows(isotropic_rows(1, channels=8))) == pytest.approx(1, rel=EXACT64)
    assert spectrum_auc(of_rows(isotropic_rows(2, channels=4))) == pytest.approx((0.5 + 3) / 4, rel=EXACT64)


@pytest.mark.parametrize("metric", [condition_number, dims_90, dims_95, dims_99, saturation, spectrum_auc])
def test_the_bounds_are_those_of_even_directions_and_of_a_line(metric):
    even, line = (metric(of_rows(isotropic_rows(rank, channels=64))) for rank in (64, 1))
    low, high = METRICS[metric.__name__].bounds
    assert low == pytest.approx(even if metric in (condition_number, spectrum_auc) else line, abs=1 / 64)
    if isinstance(high, int | float):
        assert high == pytest.approx(line if metric is spectrum_auc else even, abs=1 / 64)


@pytest.mark.parametrize("exponent", [0.5, 1.0, 2.0])
def test_a_planted_exponent_is_found(exponent):
    stats = falling(exponent)
    assert powerlaw_alpha(stats) == pytest.approx(exponent, rel=EXACT64)
    assert powerlaw_r_squared(stats) == pytest.approx(1, rel=EXACT64)
    assert powerlaw_directions(stats) == 46


def test_the_fit_is_scipys_over_the_stated_window():
    x = normal(400, 30) * torch.linspace(3, 0.1, 30)
    eigenvalues = reference.singular_values(x.numpy()) ** 2
    fit = power_law(of_rows(x))
    expected = linregress(np.log(np.arange(5, 31)), np.log(eigenvalues[4:30]))
    assert (fit.first, fit.last, fit.n) == (5, 30, 26)
    assert fit.alpha == pytest.approx(-expected.slope, rel=EXACT64)
    assert fit.r_squared == pytest.approx(expected.rvalue**2, rel=EXACT64)
    narrow = linregress(np.log(np.arange(1, 13)), np.log(eigenvalues[:12]))
    assert powerlaw_alpha(of_rows(x), first=1, last=12) == pytest.approx(-narrow.slope, rel=EXACT64)


def test_directions_outside_the_window_do_not_move_the_exponent():
    values = torch.arange(1, 65).double() ** -0.5
    values[:4], values[50:] = 7, 1e-3
    assert powerlaw_alpha(of_rows(with_spectrum(values, 64))) == pytest.approx(1, rel=EXACT64)


def test_an_exponent_of_drawn_rows_is_near_that_of_their_population():
    x = normal(4000, 60) * torch.arange(1.0, 61) ** -0.5 @ rotation(60)
    assert powerlaw_alpha(of_rows(x)) == pytest.approx(1, rel=SAMPLING)


def test_an_exponent_needs_ten_directions_above_the_floor():
    assert powerlaw_directions(of_rows(isotropic_rows(14, channels=20))) == 10
    assert METRICS["powerlaw_directions"].bounds == (10, 46)
    measured = measure("powerlaw_alpha", of_rows(isotropic_rows(13, channels=20)))
    assert measured.status == "insufficient"
    assert measured.reason == "13 directions stand clear of the floor, at least 14 are needed"


def test_equal_directions_have_exponent_zero_and_nothing_to_explain():
    stats = of_rows(isotropic_rows(20, channels=20))
    assert powerlaw_alpha(stats) == pytest.approx(0, abs=EXACT64)
    assert math.isnan(power_law(stats).r_squared)
    with pytest.raises(NoValueError, match="all equal"):
        powerlaw_r_squared(stats)


@pytest.mark.parametrize(("first", "last"), [(0, 20), (9, 9), (20, 5)])
def test_a_window_that_is_none_is_refused(first, last):
    with pytest.raises(ValueError, match=f"got {first} to {last}"):
        power_law(falling(1), first, last)


@given(seed=st.integers(0, 10_000), scale=st.sampled_from([1e-30, 1e30]), offset=st.sampled_from([0.0, 100.0]))
@settings(max_examples=10, deadline=None, derandomize=True)
def test_scale_offset_and_rotation_leave_the_exponent(seed, scale, offset):
    x = normal(100, 20, seed=seed) * torch.arange(1.0, 21) ** -0.5
    before, after = power_law(of_rows(x)), power_law(of_rows((x @ rotation(20, seed) + offset) * scale))
    assert after.alpha == pytest.approx(before.alpha, rel=1e3 * EXACT64)  # the offset costs digits
    assert after.alpha >= 0
    assert 0 <= after.r_squared <= 1
    assert after.n == before.n == 16


@given(seed=st.integers(0, 10_000), rows=st.integers(3, 60), channels=st.integers(2, 12), decay=st.floats(0, 3))
@settings(max_examples=20, deadline=None, derandomize=True)
def test_dims_stand_in_order_below_the_numerical_rank(seed, rows, channels, decay):
    stats = of_rows(normal(rows, channels, seed=seed) * torch.arange(1.0, channels + 1) ** -decay)
    assert 1 <= dims_90(stats) <= dims_95(stats) <= dims_99(stats) <= numerical_rank(stats)


@pytest.mark.parametrize("name", ["condition_number", "dims_99", "saturation", "spectrum_auc", "powerlaw_alpha"])
def test_a_constant_layer_has_no_decay(name):
    measured = measure(name, of_rows(torch.full((20, 6), 2.5)))
    assert measured.status == "degenerate"
    assert math.isnan(measured.value)
    assert cumulative_share(of_rows(torch.full((20, 6), 2.5))).isnan().all()


@pytest.mark.parametrize("name", ["condition_number", "dims_90", "saturation", "spectrum_auc", "powerlaw_alpha"])
def test_a_spectrum_of_fewer_than_ten_rows_a_channel_is_biased(name):
    assert measure(name, of_rows(normal(159, 16))).status == "biased"
    assert measure(name, of_rows(normal(160, 16))).status == "ok"
