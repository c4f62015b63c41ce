"""The interval of the stable rank, where the strongest direction stands alone and where it is one of several."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from collapse_lab.findings.leading import (
    participation_ratio_interval,
    rows_worth,
    stable_rank_interval,
    tails,
    tied,
    tied_stable_rank,
)
from collapse_lab.findings.replicates import TIED, without_each
from collapse_lab.findings.uncertainty import interval_of
from collapse_lab.metrics._metric import measure
from collapse_lab.metrics.spectrum import stable_rank
from collapse_lab.stats.accumulate import Accumulator, stats_of
from collapse_lab.stats.held import leave_one_out
from collapse_lab.stats.layer import LayerStats
from tests.metrics.planted import normal, of_rows
from tests.tolerances import EXACT64


def with_spectrum(variances: list[float]) -> LayerStats:
    """Statistics whose covariance has exactly these eigenvalues."""
    scale = torch.tensor(variances, dtype=torch.float64).sqrt()
    return of_rows(torch.cat([torch.diag(scale), -torch.diag(scale)]))


def grouped(x: Tensor, seed: int = 0) -> tuple[LayerStats, list[LayerStats], list[int]]:
    accumulator = Accumulator(("all",), groups=16)
    accumulator.update(x[:, None], torch.arange(len(x)) + seed * len(x))
    whole, parts = accumulator.compute("all")
    return whole, leave_one_out(parts), [part.n_images for part in parts]


def interval(x: Tensor, seed: int = 0):
    whole, left_out, sizes = grouped(x, seed)
    values = without_each(whole, left_out, sizes)
    return stable_rank_interval(whole, values["stable_rank"], values.get(TIED, values["stable_rank"]), sizes)


@pytest.mark.parametrize(
    ("variances", "rows", "count"),
    [
        ([1, 1, 1, 0.1], 1000, 3),
        ([1, 0.5, 0.5, 0.5], 1000, 1),
        ([1, 0.5, 0.5, 0.5], 20, 4),  # so few rows tell nothing apart
        ([1, 1, 0, 0], 3, 2),  # a direction without variance is none
        ([1], 1000, 1),
    ],
)
def test_directions_are_tied_that_so_many_rows_cannot_tell_apart(variances, rows, count):
    assert tied(with_spectrum(variances), rows) == count


def test_the_bound_is_the_ratio_of_the_marchenko_pastur_edges_widened_by_a_quarter():
    rows, e = 800, 1.25 * math.sqrt(2 / 800)
    bound = ((1 - e) / (1 + e)) ** 2
    assert tied(with_spectrum([1, bound * 1.001, 0.01]), rows) == 2
    assert tied(with_spectrum([1, bound * 0.999, 0.01]), rows) == 1


def test_equal_directions_of_a_sample_are_nearly_always_found_tied():
    found = []
    for seed in range(20):
        x = normal(600, 16, seed=seed) * torch.where(torch.arange(16) < 4, 1.0, 0.1)
        found.append(tied(stats_of(x, layout="image channel"), 600))
    assert found.count(4) >= 18


def test_of_one_direction_it_is_the_stable_rank_and_of_all_the_rank():
    stats = with_spectrum([4, 3, 2, 1])
    assert tied_stable_rank(stats, 1) == pytest.approx(stable_rank(stats), rel=EXACT64)
    assert tied_stable_rank(stats, 2) == pytest.approx(10 / 3.5, rel=EXACT64)
    assert tied_stable_rank(stats, 4) == pytest.approx(4, rel=EXACT64)
    assert math.isnan(tied_stable_rank(of_rows(torch.ones(9, 4).double()), 2))


def test_heavy_tails_are_worth_fewer_rows():
    x = normal(800, 8, seed=1) * torch.arange(1.0, 9).double() ** -1
    heavy = x * torch.empty(800, 1, dtype=x.dtype).exponential_(generator=torch.Generator().manual_seed(2)).square()
    worth = []
    for rows in (x, heavy):
        whole, left_out, sizes = grouped(rows)
        worth.append(rows_worth(whole, [stable_rank(others) for others in left_out], sizes))
    assert worth[1] < worth[0] / 2
    assert worth[0] <= 800
    assert rows_worth(whole, [2.0] * 15 + [math.nan], sizes) == whole.n_effective


@pytest.mark.parametrize(
    ("name", "expected"),
    [("normal", 1.0), ("exponential", 4.0), ("sign", 0.0)],
)
def test_tails_are_1_for_normal_rows_and_more_for_exponential_ones(name, expected):
    # independent entries of excess kurtosis k have 1 + k / 2: 0 for normal ones, 6 exponential, -2 for signs
    z = normal(40_000, 12, seed=5)
    entries = {"normal": z, "exponential": -torch.special.log_ndtr(z), "sign": z.sign()}[name]
    assert tails(of_rows(entries * torch.arange(1.0, 13).double() ** -0.5)) == pytest.approx(
        expected, rel=0.1, abs=0.01
    )
    assert math.isnan(tails(of_rows(torch.ones(9, 4).double())))


def test_where_rows_have_tails_the_intervals_start_at_the_plain_value():
    scale = torch.arange(1.0, 13).double() ** -1
    for heavy in (False, True):
        z = normal(400, 12, seed=6)
        whole, left_out, sizes = grouped((-torch.special.log_ndtr(z) if heavy else z) * scale)
        values = without_each(whole, left_out, sizes)
        for name in ("participation_ratio", "stable_rank"):
            found = {
                "participation_ratio": participation_ratio_interval(whole, values["participation_ratio"], sizes),
                "stable_rank": stable_rank_interval(whole, values["stable_rank"], None, sizes),
            }[name]
            value = measure(name, whole).value
            assert found == interval_of(value, values[name], sizes, log_scale=True, whole=heavy)


def test_where_the_first_direction_stands_alone_the_interval_is_the_ordinary_one():
    x = normal(640, 8, seed=3) * torch.arange(1.0, 9).double() ** -1
    whole, left_out, sizes = grouped(x)
    values = without_each(whole, left_out, sizes)
    assert TIED not in values
    assert interval(x) == interval_of(stable_rank(whole), values["stable_rank"], sizes, log_scale=True)


def test_where_it_is_one_of_several_the_interval_reaches_from_one_reading_to_the_other():
    x = normal(320, 16, seed=4) * torch.where(torch.arange(16) < 2, 1.0, 0.1)
    whole, left_out, sizes = grouped(x)
    found = interval(x)
    usual = interval_of(stable_rank(whole), [stable_rank(others) for others in left_out], sizes, log_scale=True)
    assert found.low < found.corrected < found.high
    assert found.corrected == usual.corrected
    assert found.low < 2.14 < found.high  # the population's


@pytest.mark.slow
@pytest.mark.parametrize(("equal", "images", "channels"), [(2, 320, 16), (8, 1280, 64)])
def test_equal_directions_are_covered_where_the_jackknife_alone_is_not(equal, images, channels):
    variance = torch.where(torch.arange(channels) < equal, 1.0, 0.01).double()
    truth, draws, hits, alone = (variance.sum() / variance.max()).item(), 200, 0, 0
    for seed in range(draws):
        x = normal(images, channels, seed=seed) * variance.sqrt()
        found = interval(x, seed)
        whole, left_out, sizes = grouped(x, seed)
        usual = interval_of(stable_rank(whole), [stable_rank(o) for o in left_out], sizes, log_scale=True)
        hits += found.low <= truth <= found.high
        alone += usual.low <= truth <= usual.high
    assert hits / draws >= 0.90
    assert alone / draws < 0.90
