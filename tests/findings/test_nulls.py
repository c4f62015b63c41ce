"""The channel-shuffled null: channels of the same variances that do not go together."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import hadamard

from collapse_lab.findings.nulls import effective_rank_null_share, shuffled_null, starved_directions
from collapse_lab.metrics._metric import measure
from collapse_lab.metrics.spectrum import effective_rank
from collapse_lab.stats.accumulate import stats_of
from tests.metrics.planted import normal, of_rows, rotation
from tests.tolerances import NULL_WAVERS

SCALES = torch.arange(1.0, 33).double() ** -1.5


@pytest.mark.parametrize("rows", [20, 33, 320])
def test_independent_channels_of_any_scale_reach_the_null(rows):
    stats = of_rows(normal(rows, 32) * SCALES)
    assert effective_rank_null_share(stats) == pytest.approx(1, abs=NULL_WAVERS)
    assert starved_directions(stats) == 0


def test_the_same_spectrum_in_other_directions_is_held_against_its_own_channels():
    turned = of_rows((normal(320, 32) * SCALES) @ rotation(32))
    assert effective_rank_null_share(turned) < 0.7
    assert effective_rank_null_share(turned) == pytest.approx(
        effective_rank(turned) / shuffled_null(turned).effective_rank
    )


@pytest.mark.parametrize("rank", [2, 4, 8])
def test_a_planted_rank_reaches_its_share_of_the_channels_and_starves_the_rest(rank):
    flat = torch.from_numpy(hadamard(32) / 32**0.5)[:rank]  # directions in which every channel has the same share
    stats = of_rows(normal(1000, rank) @ flat)
    assert effective_rank_null_share(stats) == pytest.approx(rank / 32, rel=NULL_WAVERS)
    assert starved_directions(stats) == pytest.approx(1 - rank / 32)


def test_the_null_is_the_real_shuffle():
    x = normal(400, 24) @ normal(24, 24, seed=1)
    random = np.random.default_rng(0)
    shuffled = np.stack([random.permutation(channel) for channel in x.numpy().T], axis=1)
    assert shuffled_null(of_rows(x)).effective_rank == pytest.approx(effective_rank(of_rows(shuffled)), rel=0.01)


def test_the_null_keeps_the_variance_and_is_the_same_twice():
    for rows in (10, 400):
        stats = of_rows(normal(rows, 24) * torch.arange(1.0, 25))
        null = shuffled_null(stats)
        assert null.eigenvalues.sum().item() == pytest.approx(stats.variance.sum().item(), rel=0.1)
        assert (null.eigenvalues.diff() <= 0).all()
        assert torch.equal(
            shuffled_null(of_rows(normal(rows, 24) * torch.arange(1.0, 25))).eigenvalues, null.eigenvalues
        )


def test_correlated_positions_are_held_against_as_few_rows_as_they_are_worth():
    alike = stats_of(normal(16, 1, 32).repeat(1, 20, 1))
    assert alike.n_rows == 320
    assert effective_rank_null_share(alike) == pytest.approx(1, abs=NULL_WAVERS)
    assert starved_directions(alike) == 0  # directions that 16 images cannot fill do not count


def test_channels_without_variance_do_not_count_as_starved():
    x = normal(320, 32)
    x[:, 8:] = 0
    assert effective_rank_null_share(of_rows(x)) == pytest.approx(1, abs=NULL_WAVERS)
    assert starved_directions(of_rows(x)) == 0
    x[:, :8] = normal(320, 2) @ rotation(8)[:2]
    assert starved_directions(of_rows(x)) == 6 / 8


def test_a_constant_layer_has_no_share():
    assert measure("effective_rank_null_share", of_rows(torch.ones(20, 4))).status == "degenerate"
