"""Known values of what channels have in common over rows."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from collapse_lab.metrics._metric import METRICS, measure
from collapse_lab.metrics.correlation import (
    correlation_offdiagonal,
    effective_rank_correlation,
    vicreg_covariance,
    vicreg_std,
)
from collapse_lab.metrics.spectrum import effective_rank
from collapse_lab.stats.accumulate import stats_of
from tests import reference
from tests.metrics.planted import features, isotropic_rows, normal, of_rows
from tests.tolerances import EXACT64, SAMPLING


def test_offdiagonal_correlation_is_numpys_less_what_chance_makes():
    x = normal(40, 5) @ normal(5, 5, seed=2) + 3
    squares = np.corrcoef(x.numpy().T) ** 2
    expected = reference.mean_off_diagonal(squares) - 1 / 39
    assert correlation_offdiagonal(of_rows(x)) == pytest.approx(expected, rel=EXACT64)


def test_unrelated_channels_correlate_by_nothing_but_chance():
    drawn = [correlation_offdiagonal(of_rows(normal(30, 12, seed=seed))) for seed in range(60)]
    error = np.std(drawn) / 60**0.5
    assert abs(np.mean(drawn)) < 3 * error < 1 / 29 / 10  # without the correction it is 1 / 29


def test_chance_is_counted_in_effective_rows():
    alike = stats_of(normal(40, 1, 12).repeat(1, 9, 1))  # 360 rows that are worth 40
    plain = reference.mean_off_diagonal(np.corrcoef(alike.rows.values.numpy().T) ** 2)
    assert correlation_offdiagonal(alike) == pytest.approx(plain - 1 / 39, rel=EXACT64)


def test_copies_up_to_sign_and_scale_correlate_wholly():
    x = normal(50, 1) * torch.tensor([1.0, -2, 30])
    assert correlation_offdiagonal(of_rows(x)) == pytest.approx(1 - 1 / 49, rel=EXACT64)
    assert effective_rank_correlation(of_rows(x)) == pytest.approx(1, rel=EXACT64)


def test_the_bounds_are_those_of_ten_rows_at_right_angles_and_of_copies_on_many_rows():
    x = torch.linalg.qr(torch.cat([torch.ones(10, 1, dtype=torch.float64), normal(10, 4)], dim=1)).Q[:, 1:]
    copies = normal(20_000, 1).repeat(1, 3)
    reached = (correlation_offdiagonal(of_rows(x)), correlation_offdiagonal(of_rows(copies)))
    assert METRICS["correlation_offdiagonal"].bounds == pytest.approx(reached, abs=1e-4)


@pytest.mark.parametrize(
    ("x", "reason"),
    [
        (normal(9, 4), "9.0 effective rows correlate by chance"),
        (normal(20, 1) * torch.tensor([1.0, 0, 0]), "1 channels vary, at least 2 are needed"),
    ],
)
def test_correlation_has_no_value_by_its_own_rules(x, reason):
    measured = measure("correlation_offdiagonal", of_rows(x))
    assert measured.status == "insufficient"
    assert reason in measured.reason


def test_the_rank_of_correlations_is_that_of_standardised_rows():
    x = normal(90, 6) @ normal(6, 6, seed=3) * torch.logspace(-3, 3, 6) + 5
    standard = (x - x.mean(dim=0)) / x.std(dim=0)
    assert effective_rank_correlation(of_rows(x)) == pytest.approx(effective_rank(of_rows(standard)), rel=EXACT64)
    eigenvalues = np.linalg.eigvalsh(np.corrcoef(x.numpy().T))
    expected = reference.entropy_rank(np.sqrt(eigenvalues))
    assert effective_rank_correlation(of_rows(x)) == pytest.approx(expected, rel=EXACT64)


def test_unequal_channels_pull_down_the_rank_and_not_that_of_correlations():
    x = isotropic_rows(8, channels=8) * torch.logspace(0, -3, 8)
    assert effective_rank(of_rows(x)) < 4
    assert effective_rank_correlation(of_rows(x)) > 7


def test_dead_channels_are_left_out_of_the_rank_of_correlations():
    x = normal(90, 6)
    padded = torch.cat([x, torch.zeros(90, 3)], dim=1)
    assert effective_rank_correlation(of_rows(padded)) == pytest.approx(
        effective_rank_correlation(of_rows(x)), rel=EXACT64
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_rounding_of_the_data_is_no_direction_of_the_correlations(dtype):
    x = (normal(2000, 3, seed=3) @ normal(3, 32, seed=9) + 10).to(dtype)
    stats = of_rows(x)
    assert int((stats.correlation_singular_values > 0).sum()) == 3
    assert effective_rank_correlation(stats) < 3.01


def test_vicreg_terms_are_torchs():
    x = 0.8 * normal(30, 5) @ normal(5, 5, seed=1) / 2
    covariance = x.T.cov()
    penalty = (covariance - covariance.diagonal().diag()).square().sum() / 5
    hinge = (1 - (x.var(dim=0) + 1e-4).sqrt()).clamp(min=0).mean()
    assert hinge > 0
    assert vicreg_covariance(of_rows(x)) == pytest.approx(penalty.item(), rel=EXACT64)
    assert vicreg_std(of_rows(x)) == pytest.approx(hinge.item(), rel=EXACT64)


def test_vicreg_asks_for_a_deviation_of_one_and_no_covariance():
    spread = isotropic_rows(6, channels=6)
    assert vicreg_covariance(of_rows(spread)) == pytest.approx(0, abs=EXACT64)
    assert vicreg_std(of_rows(1.01 * spread)) == 0
    assert vicreg_std(of_rows(0.5 * spread)) == pytest.approx(0.5, abs=2e-3)  # n - 1, and the epsilon


def test_vicreg_reads_a_constant_layer_as_the_worst():
    measured = measure("vicreg_std", of_rows(torch.full((20, 6), 2.5)))
    assert (measured.value, measured.status) == (pytest.approx(1 - 1e-4**0.5), "degenerate")
    assert math.isnan(measure("vicreg_covariance", of_rows(torch.full((20, 6), 2.5))).value)


def test_the_variance_term_is_blind_to_a_low_rank():
    x = 20 * normal(2000, 3) @ normal(3, 64, seed=1)
    assert vicreg_std(of_rows(x)) == 0
    assert effective_rank_correlation(of_rows(x)) == pytest.approx(3, rel=SAMPLING)


def test_a_layer_costs_three_eigendecompositions_of_its_size_whatever_is_measured(monkeypatch):
    x, counted, plain = features(0, images=400, channels=150), [], torch.linalg.eigvalsh
    stats = stats_of(x, labels=torch.arange(400) % 3)
    monkeypatch.setattr(torch.linalg, "eigvalsh", lambda matrix: counted.append(len(matrix)) or plain(matrix))
    for name in METRICS:
        measure(name, stats)
    assert "effective_rank_null_share" in METRICS
    assert [size for size in counted if size > 128] == [
        150
    ] * 3  # centred, uncentred, correlation; a null's are smaller
