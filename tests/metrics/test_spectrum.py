"""Known values of the dimension metrics."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import entropy
from sklearn.decomposition import PCA

from collapse_lab.metrics._metric import METRICS, measure
from collapse_lab.metrics.spectrum import (
    effective_rank,
    effective_rank_energy,
    numerical_rank,
    participation_ratio,
    participation_ratio_corrected,
    rankme,
    singular_values,
    stable_rank,
)
from collapse_lab.stats.accumulate import stats_of
from tests import reference
from tests.metrics.planted import isotropic_rows, normal, of_rows, rotation, with_spectrum
from tests.tolerances import EXACT64, SAMPLING

RANKS = (effective_rank, effective_rank_energy, participation_ratio, stable_rank, numerical_rank)


@pytest.mark.parametrize("metric", RANKS, ids=lambda metric: metric.__name__)
@pytest.mark.parametrize("rank", [1, 3, 8, 12])
def test_equally_strong_directions_are_counted(metric, rank):
    assert metric(of_rows(isotropic_rows(rank, channels=12))) == pytest.approx(rank, rel=EXACT64)


@pytest.mark.parametrize("metric", [*RANKS[:-1], rankme, participation_ratio_corrected], ids=lambda m: m.__name__)
def test_no_dimension_is_below_that_of_a_line(metric):
    line = of_rows(isotropic_rows(1, channels=12))
    assert METRICS[metric.__name__].bounds[0] == pytest.approx(metric(line), rel=EXACT64)


def test_no_numerical_rank_is_below_that_of_a_constant_layer():
    assert METRICS["numerical_rank"].bounds[0] == measure("numerical_rank", of_rows(torch.ones(20, 5))).value == 0


def test_the_spectrum_is_that_of_an_independent_decomposition():
    x = normal(50, 7) @ normal(7, 7, seed=1) + 3
    stats = of_rows(x)
    expected = reference.singular_values(x.numpy())
    assert singular_values(stats).tolist() == pytest.approx(expected.tolist(), rel=EXACT64)
    variances = PCA().fit(x.numpy()).explained_variance_
    assert (stats.singular_values.square() / 49).tolist() == pytest.approx(variances.tolist(), rel=EXACT64)


def test_ranks_agree_with_scipy_entropies():
    x = normal(50, 7) @ normal(7, 7, seed=1) + 3
    stats, s = of_rows(x), reference.singular_values(x.numpy())
    assert effective_rank(stats) == pytest.approx(np.exp(entropy(s)), rel=EXACT64)
    assert effective_rank_energy(stats) == pytest.approx(np.exp(entropy(s**2)), rel=EXACT64)
    raw = np.linalg.svd(x.numpy(), compute_uv=False)
    assert rankme(stats) == pytest.approx(np.exp(entropy(raw)), rel=EXACT64)


def test_unequal_directions_by_hand():
    stats = of_rows(with_spectrum([2, 1, 1], channels=5))
    assert participation_ratio(stats) == pytest.approx(6**2 / 18, rel=EXACT64)
    assert stable_rank(stats) == pytest.approx(6 / 4, rel=EXACT64)
    assert effective_rank(stats) == pytest.approx(2**1.5, rel=EXACT64)  # shares 1/2, 1/4, 1/4
    assert effective_rank_energy(stats) == pytest.approx(1.5 ** (2 / 3) * 6 ** (1 / 3), rel=EXACT64)


def test_an_offset_decides_the_uncentred_rank():
    stats = of_rows(normal(2000, 64) + 10)
    assert effective_rank(stats) == pytest.approx(63.7, abs=0.1)
    assert rankme(stats) == pytest.approx(12.2, abs=0.2)


def test_rank_of_a_constant_layer_is_one_uncentred_and_none_centred():
    constant = of_rows(torch.full((20, 6), 2.5))
    assert measure("rankme", constant).value == pytest.approx(1)
    assert measure("numerical_rank", constant).value == 0
    for name in ("effective_rank", "participation_ratio", "stable_rank"):
        assert np.isnan(measure(name, constant).value)
    assert measure("rankme", of_rows(torch.zeros(20, 6))).reason == "every row is zero"


def test_an_epsilon_in_every_dimension_is_a_rank_of_its_own():
    stats = of_rows(isotropic_rows(3, channels=512, rows=600))
    assert rankme(stats) == pytest.approx(3, rel=EXACT64)
    share = np.full(512, 1e-5) + np.pad(np.full(3, 1 / 3), (0, 509))
    assert rankme(stats, eps=1e-5) == pytest.approx(np.exp(-(share * np.log(share)).sum()), rel=EXACT64)
    assert rankme(stats, eps=1e-5) > 3.15
    assert rankme(stats, eps=1e-7) == pytest.approx(3, abs=0.01)


@pytest.mark.parametrize("rows", [1, 3])
def test_an_epsilon_goes_to_as_many_directions_as_there_are_rows(rows):
    x = torch.eye(40, dtype=torch.float64)[:rows]
    share = 1 / rows + 0.01
    assert rankme(of_rows(x), eps=0.01) == pytest.approx(share ** (-share * rows), rel=EXACT64)


def test_a_numerical_rank_may_have_a_tolerance():
    stats = of_rows(with_spectrum([1, 1e-2, 1e-4], channels=6))
    assert [numerical_rank(stats, tolerance) for tolerance in (0.0, 1e-3, 0.1)] == [3, 2, 1]


def test_a_direction_that_only_reaches_the_tolerance_is_not_counted():
    half = of_rows(torch.tensor([[2.0, 0], [-2, 0], [0, 1], [0, -1]], dtype=torch.float64))  # 8 and 2 in the scatter
    assert numerical_rank(half, tolerance=0.5) == 1
    assert numerical_rank(half, tolerance=0.4999) == 2
    assert numerical_rank(of_rows(torch.ones(20, 5))) == 0


def test_entropy_counts_a_tail_of_noise_and_participation_does_not():
    exact = of_rows(with_spectrum([1.0] * 3 + [0.1] * 61, channels=64))
    assert effective_rank(exact) == pytest.approx(42.6, abs=0.05)
    assert participation_ratio(exact) == pytest.approx(4.3, abs=0.05)
    drawn = of_rows(normal(2000, 3) @ rotation(64)[:3] + 0.1 * normal(2000, 64, seed=5))
    assert effective_rank(drawn) == pytest.approx(42.6, rel=SAMPLING)


def test_few_rows_pull_participation_down_and_the_correction_brings_it_back():
    drawn = [of_rows(normal(16, 256, seed=seed)) for seed in range(30)]
    assert np.mean([participation_ratio(stats) for stats in drawn]) == pytest.approx(14, abs=0.5)
    assert np.mean([participation_ratio_corrected(stats) for stats in drawn]) == pytest.approx(256, rel=SAMPLING)


@pytest.mark.parametrize("heavy", [False, True])
def test_the_correction_is_the_ratio_of_unbiased_averages_over_four_rows(heavy):
    x = normal(7, 3) @ normal(3, 3, seed=4) + 2
    x = x**3 if heavy else x
    expected = reference.participation_ratio_corrected(x.numpy())
    assert participation_ratio_corrected(of_rows(x)) == pytest.approx(expected, rel=EXACT64)


@pytest.mark.parametrize("scale", [1e-20, 1e-3, 1e20])
def test_the_correction_is_free_of_the_scale(scale):
    x = normal(30, 5) * torch.arange(1.0, 6)
    expected = participation_ratio_corrected(of_rows(x))
    assert participation_ratio_corrected(of_rows(x * scale)) == pytest.approx(expected, rel=EXACT64)


def test_four_rows_are_enough_for_the_correction():
    x = normal(4, 3, seed=1)
    expected = reference.participation_ratio_corrected(x.numpy())
    assert measure("participation_ratio_corrected", stats_of(x[:, None])).value == pytest.approx(expected, rel=EXACT64)


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (normal(20, 2, 5), "rows of one image are not independent"),
        (normal(3, 1, 5), "3 rows, at least 4 are needed"),
        (torch.eye(5, dtype=torch.float64)[:, None], "not positive: too few rows"),
        (normal(20, 1, 5) * 1e-75, "fourth powers leave the range"),
    ],
)
def test_the_correction_has_no_value_by_its_own_rules(rows, reason):
    measured = measure("participation_ratio_corrected", stats_of(rows))
    assert measured.status == "insufficient"
    assert reason in measured.reason


@pytest.mark.parametrize("name", ["effective_rank", "effective_rank_energy", "participation_ratio", "rankme"])
def test_ranks_of_fewer_than_ten_rows_a_channel_are_biased(name):
    assert measure(name, of_rows(normal(99, 10))).status == "biased"
    assert measure(name, of_rows(normal(100, 10))).status == "ok"
    assert measure("stable_rank", of_rows(normal(99, 10))).status == "ok"
    alike = stats_of(normal(99, 1, 10).repeat(1, 9, 1))  # 891 rows that are worth 99
    assert measure(name, alike).status == "biased"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("mean", [0, 10, 100])
def test_rounding_of_the_data_is_no_direction(dtype, mean):
    x = (normal(2000, 3, seed=3) @ normal(3, 64, seed=9) + mean).to(dtype)
    assert numerical_rank(of_rows(x)) == 3
    assert effective_rank(of_rows(x)) < 3.01
