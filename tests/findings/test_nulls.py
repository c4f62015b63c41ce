"""The channel-shuffled null: channels of the same variances that do not go together."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import hadamard

from collapse_lab.findings.nulls import STARVED, effective_rank_null_share, shuffled_null, starved_directions
from collapse_lab.metrics._metric import measure
from collapse_lab.metrics.spectrum import effective_rank, exp_entropy
from collapse_lab.stats.accumulate import stats_of
from tests.metrics.planted import normal, of_rows, rotation
from tests.tolerances import EXACT64, NULL_IN_BLOCKS, NULL_WAVERS

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


@pytest.mark.parametrize(("rows", "channels"), [(10, 24), (400, 24), (400, 200), (150, 200)])
def test_every_draw_keeps_the_variance_exactly_and_is_the_same_twice(rows, channels):
    x = normal(rows, channels) * torch.arange(1.0, channels + 1)
    null, again = shuffled_null(of_rows(x)), shuffled_null(of_rows(x))
    assert torch.allclose(null.eigenvalues.sum(dim=1), of_rows(x).variance.sum(), rtol=EXACT64)
    assert (null.eigenvalues.diff(dim=1) <= 0).all()
    assert (null.eigenvalues > 0).sum(dim=1).tolist() == [min(rows - 1, channels)] * len(null.eigenvalues)
    assert torch.equal(null.eigenvalues, again.eigenvalues)


PLACE = torch.arange(1.0, 257).double()
VARIANCES = {
    "equal": PLACE**0,
    "exponent 1": PLACE**-1,
    "exponent 2": PLACE**-2,
    "one of a million": 1 + 1e6 * (PLACE == 7),
    "log-normal": (2 * normal(256, seed=5)).exp(),
}


@pytest.mark.parametrize("rows", [80, 154, 257, 1281])
@pytest.mark.parametrize("variance", VARIANCES.values(), ids=list(VARIANCES))
def test_blocks_have_the_spectrum_of_the_whole(variance, rows):
    layer = of_rows(normal(rows, 256) * variance.sqrt())
    whole = torch.stack([_whole(layer.variance, rows, seed) for seed in range(1, 5)])
    null = shuffled_null(layer)
    rank = sum(exp_entropy(one.sqrt()) for one in whole) / len(whole)
    assert null.effective_rank == pytest.approx(rank, rel=NULL_IN_BLOCKS)
    held = null.mean.cumsum(0) / null.mean.sum()
    assert torch.allclose(held, whole.mean(dim=0).cumsum(0) / whole.mean(dim=0).sum(), atol=NULL_IN_BLOCKS)
    squeezed = whole[0] * torch.logspace(0, -6, 256, dtype=torch.float64)  # the tail holds less and less
    possible = null.mean > 0
    starved = [(squeezed < STARVED * mean)[possible].double().mean().item() for mean in (null.mean, whole.mean(dim=0))]
    assert starved[0] == pytest.approx(starved[1], abs=NULL_IN_BLOCKS)


def _whole(variance: torch.Tensor, rows: int, seed: int) -> torch.Tensor:
    """The same null by its definition: one matrix of independent normal channels, each of its variance."""
    x = normal(rows, len(variance), seed=seed)
    x = (x - x.mean(dim=0)) / x.std(dim=0, correction=0) * variance.sqrt()
    values = torch.linalg.svdvals(x).square() / rows
    return torch.cat([values, values.new_zeros(len(variance) - len(values))])


def test_no_wide_matrix_is_decomposed_and_no_more_matrices_than_told(monkeypatch):
    counted, plain = [], torch.linalg.eigvalsh
    monkeypatch.setattr(torch.linalg, "eigvalsh", lambda matrix: counted.append(len(matrix)) or plain(matrix))
    for channels, rows in ((128, 200), (129, 200), (500, 300), (900, 950)):
        shuffled_null(of_rows(normal(rows, channels)))
        assert max(counted) <= 128
        assert len(counted) <= 23
        counted.clear()


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
