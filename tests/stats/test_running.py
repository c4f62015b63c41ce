"""Sums over blocks of rows against the same sums over all rows at once."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from collapse_lab.stats.running import RunningMoments
from collapse_lab.stats.scratch import Scratch
from collapse_lab.stats.symmetric import SymmetricSum
from tests.metrics.planted import source
from tests.tolerances import EXACT32, EXACT64

CPU = torch.device("cpu")


def rows(count: int, channels: int, seed: int = 0) -> Tensor:
    """Some of them all zero, each channel with an offset of its own."""
    x = torch.randn(count, channels, generator=source(seed), dtype=torch.float64)
    x[:: max(2, count // 5)] = 0
    return x + torch.arange(channels) % 3


def running(channels: int, *, matrix: bool = True) -> RunningMoments:
    return RunningMoments(channels, CPU, matrix=matrix, accumulation="float64", scratch=Scratch())


def assert_moments(found: RunningMoments, x: Tensor) -> None:
    """Against the definitions, over all rows at once."""
    sums, y, length = found.read(), x - x.mean(dim=0), x.norm(dim=1)
    unit = x[length > 0] / length[length > 0, None]
    energy = y.square().sum(dim=1)
    expected = {
        "n_rows": torch.tensor(float(len(x))),
        "mean": x.mean(dim=0),
        "scatter": y.T @ y if found.scatter is not None else y.square().sum(dim=0),
        "third": energy @ y if found.scatter is not None else torch.full_like(y[0], math.nan),
        "fourth": energy.square().sum() if found.scatter is not None else torch.tensor(math.nan),
        "minimum": x.amin(dim=0),
        "maximum": x.amax(dim=0),
        "absolute": x.abs().sum(dim=0),
        "fired": (x > 0).sum(dim=0),
        "n_units": torch.tensor(float(len(unit))),
        "unit_sum": unit.sum(dim=0),
        "unit_squares": unit.square().sum(dim=0),
    }
    for name, value in expected.items():
        size = value.abs().max().nan_to_num()
        assert torch.allclose(getattr(sums, name), value.double(), rtol=EXACT64, atol=EXACT64 * size, equal_nan=True), (
            name
        )


@pytest.mark.parametrize("channels", [1, 5, 128, 129, 300])
@pytest.mark.parametrize("split", [[400], [1, 399], [150, 1, 0, 249]])
def test_blocks_of_rows_give_the_moments_of_all(channels, split):
    found, x = running(channels), rows(400, channels)
    for block in x.split(split):
        found.add(block)
    assert_moments(found, x)


def test_without_the_matrix_its_diagonal_is_the_same():
    found, x = running(7, matrix=False), rows(400, 7)
    for block in x.split([3, 397]):
        found.add(block)
    assert_moments(found, x)


def test_rows_that_do_not_count_are_as_if_they_had_not_come():
    found, x = running(6), rows(200, 6)
    counted = torch.rand(200, generator=source(3)) < 0.5
    for block, which in zip(x.split(50), counted.split(50), strict=True):
        found.add(block * which[:, None], which)
    assert_moments(found, x[counted])


def test_blocks_far_from_each_other_lose_nothing():
    found, x = running(4), rows(300, 4)
    x[:100] += 1e4
    for block in x.split(100):
        found.add(block)
    assert_moments(found, x)


def test_what_was_read_is_left_alone_by_what_comes_later():
    found, x = running(5), rows(60, 5)
    found.add(x[:30])
    before, copies = found.read(), {name: value.clone() for name, value in vars(found.read()).items()}
    found.add(x[30:])
    assert all(torch.equal(getattr(before, name), value) for name, value in copies.items())


@pytest.mark.parametrize("channels", [1, 128, 129, 200, 771])
def test_a_symmetric_sum_is_symmetric_to_the_bit_and_multiplies_as_its_whole(channels):
    total, x = SymmetricSum(channels, CPU, "float64"), rows(90, channels)
    for block in x.split(40):
        total.add(block)
    whole, vector = total.whole(), rows(1, channels, seed=1)[0]
    assert torch.equal(whole, whole.T)
    assert torch.allclose(whole, x.T @ x, rtol=EXACT64, atol=EXACT64)
    assert torch.allclose(total.times(vector), whole @ vector, rtol=EXACT64, atol=EXACT64 * float(whole.abs().sum()))
    assert float(total.trace()) == pytest.approx(float(x.square().sum()), rel=EXACT64)


def test_products_in_float32_are_summed_in_float64():
    total, x = SymmetricSum(200, CPU, "float32"), rows(3000, 200)
    for block in x.split(30):
        total.add(block)
    error = (total.whole() - x.T @ x).abs().max() / (x.T @ x).abs().max()
    assert 0 < error < EXACT32 / 10


@pytest.mark.parametrize("size", [1e-60, 1e-22, 1e20, 1e60])
def test_products_in_float32_hold_at_any_size(size):
    x, total = rows(200, 6), SymmetricSum(6, CPU, "float32")
    total.add(x * size)
    assert torch.allclose(total.whole() / size / size, x.T @ x, rtol=EXACT32, atol=EXACT32)


def test_scratch_is_one_memory_a_name_and_grows():
    scratch, like = Scratch(), torch.zeros(1)
    small, large = scratch.take("a", (2, 3), like), scratch.take("a", (4, 5), like)
    again = scratch.take("a", (3,), like)
    assert small.dtype == large.dtype == torch.float64
    assert again.data_ptr() == large.data_ptr() != scratch.take("b", (3,), like).data_ptr()
    doubles = torch.zeros(3, dtype=torch.float64)
    assert scratch.doubled("a", doubles) is doubles
    assert torch.equal(scratch.doubled("a", torch.ones(2)), torch.ones(2, dtype=torch.float64))
