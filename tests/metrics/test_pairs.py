"""Known values of what pairs of kept rows say."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist

from collapse_lab.metrics._metric import METRICS, measure
from collapse_lab.metrics.pairs import MOST_PAIRED, alignment, duplicate_share, self_cluster, uniformity
from collapse_lab.stats.accumulate import stats_of, summarise
from tests import reference
from tests.metrics.planted import isotropic_rows, normal, of_rows, rotation
from tests.tolerances import EXACT64, ROUNDED_ROWS, SAMPLING

NAMES = ("duplicate_share", "uniformity", "self_cluster")


def test_duplicates_are_rows_that_coincide_with_another():
    x = normal(20, 4)
    assert duplicate_share(of_rows(x)) == 0
    x[5], x[9], x[13] = x[0], x[0], x[1]
    assert duplicate_share(of_rows(x)) == 5 / 20
    assert duplicate_share(of_rows(torch.ones(6, 3) * torch.arange(2.0).repeat(3)[:, None])) == 1


def test_half_of_the_images_alike_is_half_duplicates():
    x = normal(400, 64)
    x[200:] = x[0]
    assert duplicate_share(of_rows(x)) == pytest.approx(201 / 400)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_rows_are_copies_up_to_the_rounding_of_the_data_and_no_further(dtype):
    x, eps = 1 + normal(50, 8).abs(), torch.finfo(dtype).eps
    x[10] = x[0] * (1 + 0.1 * eps)
    assert duplicate_share(of_rows(x.to(dtype))) == pytest.approx(2 / 50)
    x[10] = x[0] * (1 + 20 * eps)
    assert duplicate_share(of_rows(x.to(dtype))) == 0


def test_duplicates_are_those_that_all_distances_show():
    centres = normal(40, 6)
    picked = torch.randint(40, (90,), generator=torch.Generator().manual_seed(1))
    x = centres[picked] @ rotation(6)
    near = np.less_equal(np.linalg.norm(x.numpy()[:, None] - x.numpy()[None], axis=2), 1e-12)
    assert duplicate_share(of_rows(x)) == (near.sum(axis=1) > 1).mean()


def test_positions_of_one_image_are_no_duplicates_of_each_other():
    x = normal(10, 1, 4).repeat(1, 5, 1)
    assert duplicate_share(stats_of(x)) == 0
    x[3] = x[7]
    assert duplicate_share(stats_of(x)) == 0.2


def test_rows_on_one_sphere_or_along_few_axes_are_no_duplicates():
    unit = normal(60, 5)
    assert duplicate_share(of_rows(unit / unit.norm(dim=1, keepdim=True))) == 0
    assert duplicate_share(of_rows(torch.eye(30))) == 0


def test_uniformity_and_self_cluster_are_the_papers_formulas():
    x = normal(30, 6) + 0.5
    z = reference.unit(x.numpy())
    assert uniformity(of_rows(x)) == pytest.approx(np.log(np.exp(-2 * pdist(z) ** 2).mean()), rel=EXACT64)
    squares, n, d = np.linalg.norm(z @ z.T) ** 2, 30, 6
    expected = (d * squares - n * (d + n - 1)) / ((d - 1) * (n - 1) * n)
    assert self_cluster(of_rows(x)) == pytest.approx(expected, rel=EXACT64)


def test_rows_that_point_one_way_are_neither_uniform_nor_apart():
    x = normal(1, 8) * torch.rand(50, 1, dtype=torch.float64).add(0.1)
    assert uniformity(of_rows(x)) == pytest.approx(0, abs=EXACT64)
    assert self_cluster(of_rows(x)) == pytest.approx(1, rel=EXACT64)


def test_opposite_rows_are_as_far_apart_as_can_be_and_on_one_line():
    x = torch.tensor([[1.0, 2.0], [-2.0, -4.0]])
    assert uniformity(of_rows(x)) == pytest.approx(-8, rel=EXACT64)
    assert self_cluster(of_rows(x)) == pytest.approx(1, rel=EXACT64)


def test_the_bounds_of_pairs_are_those_of_opposite_rows_and_of_rows_that_point_one_way():
    one_way = of_rows(torch.rand(50, 1, dtype=torch.float64).add(0.1) * normal(1, 8))
    opposite, crossed = (of_rows(torch.tensor(rows)) for rows in ([[1.0, 2], [-1, -2]], [[1.0, 0], [0, 1]]))
    reached = (uniformity(opposite), uniformity(one_way))
    assert METRICS["uniformity"].bounds == pytest.approx(reached, abs=EXACT64)
    assert METRICS["self_cluster"].bounds == pytest.approx((self_cluster(crossed), self_cluster(one_way)), abs=EXACT64)


def test_rows_at_right_angles_reach_the_least_self_cluster():
    assert self_cluster(of_rows(torch.eye(5))) == pytest.approx(-1 / 4, rel=EXACT64)
    assert uniformity(of_rows(torch.eye(5))) == pytest.approx(-4, rel=EXACT64)


def test_even_directions_have_self_cluster_zero_and_few_of_them_their_share():
    assert self_cluster(of_rows(normal(1000, 16))) == pytest.approx(0, abs=1e-3)
    flat = of_rows(normal(1000, 4) @ rotation(64)[:4])
    assert self_cluster(flat) == pytest.approx((64 / 4 - 1) / 63, rel=SAMPLING)


def test_uniformity_hardly_sees_a_low_rank():
    full, low = (of_rows(isotropic_rows(rank, channels=64, rows=800)) for rank in (64, 8))
    assert uniformity(full) == pytest.approx(-3.87, abs=0.02)
    assert uniformity(low) == pytest.approx(-3.1, abs=0.05)


def test_zero_rows_have_no_direction():
    x = normal(30, 6)
    padded = torch.cat([x, torch.zeros(10, 6)])
    for name in ("uniformity", "self_cluster"):
        assert measure(name, of_rows(padded)).value == pytest.approx(measure(name, of_rows(x)).value, rel=EXACT64)
        assert math.isnan(measure(name, of_rows(torch.zeros(10, 6))).value)
        assert measure(name, of_rows(torch.cat([x[:1], torch.zeros(10, 6)]))).status == "insufficient"
    assert measure("self_cluster", of_rows(normal(9, 1))).reason == "rows of one channel have no angle"


def test_a_constant_layer_is_all_copies():
    stats = of_rows(torch.full((20, 6), 2.5))
    assert {name: measure(name, stats).value for name in NAMES} == pytest.approx(
        {"duplicate_share": 1, "uniformity": 0, "self_cluster": 1}, abs=EXACT64
    )
    assert {measure(name, stats).status for name in NAMES} == {"degenerate"}


@pytest.mark.parametrize("name", NAMES)
def test_pairs_need_kept_rows(name):
    stats = summarise(normal(30, 4, 6), torch.arange(30), ("sampled:2", "pooled"))
    assert measure(name, stats["sampled:2"]).reason.startswith("no rows were kept")
    assert measure(name, stats["pooled"]).status == "ok"


def test_of_many_rows_the_first_thousand_by_hash_are_paired():
    x = normal(3000, 4)
    stats = of_rows(x)
    first = stats.rows.values[:MOST_PAIRED]
    z = reference.unit(first.numpy())
    assert uniformity(stats) == pytest.approx(np.log(np.exp(-2 * pdist(z) ** 2).mean()), rel=EXACT64)
    assert uniformity(stats) == pytest.approx(uniformity(of_rows(x[:1500])), rel=SAMPLING)


def test_alignment_is_the_mean_squared_distance_of_an_images_two_views():
    x, y, ids = normal(30, 6), normal(30, 6, seed=1), torch.arange(100, 130)
    expected = ((reference.unit(x.numpy()) - reference.unit(y.numpy())) ** 2).sum(axis=1).mean()
    order = torch.randperm(30, generator=torch.Generator().manual_seed(0))
    one, other = of_rows(x, ids=ids), of_rows(y[order], ids=ids[order])
    assert alignment(one, other) == pytest.approx(expected, rel=EXACT64)
    assert alignment(other, one) == pytest.approx(expected, rel=EXACT64)


def test_alignment_runs_from_one_direction_over_unrelated_to_opposite():
    x = normal(2000, 16)
    assert alignment(of_rows(x), of_rows(3 * x)) == pytest.approx(0, abs=EXACT64)
    assert alignment(of_rows(x), of_rows(-x)) == pytest.approx(4, rel=EXACT64)
    assert alignment(of_rows(x), of_rows(normal(2000, 16, seed=1))) == pytest.approx(2, rel=SAMPLING)
    turned = rotation(16)
    assert alignment(of_rows(x @ turned), of_rows((x + 1) @ turned)) == pytest.approx(
        alignment(of_rows(x), of_rows(x + 1)), rel=EXACT64
    )


def test_alignment_takes_the_images_that_both_views_kept_and_that_have_a_direction():
    x, y = normal(30, 6), normal(30, 6, seed=1)
    expected = alignment(of_rows(x[10:20]), of_rows(y[10:20]))
    part = alignment(of_rows(x[:20], ids=torch.arange(20)), of_rows(y[10:], ids=torch.arange(10, 30)))
    assert part == pytest.approx(expected, rel=EXACT64)
    x[:10], y[20:] = 0, 0
    assert alignment(of_rows(x), of_rows(y)) == pytest.approx(expected, rel=EXACT64)


def test_alignment_of_pooled_features_in_float32_is_that_of_their_means():
    x, y = normal(30, 4, 6), normal(30, 4, 6, seed=1)
    one, other = (summarise(view.float(), torch.arange(30), ("pooled",))["pooled"] for view in (x, y))
    expected = alignment(of_rows(x.mean(dim=1)), of_rows(y.mean(dim=1)))
    assert alignment(one, other) == pytest.approx(expected, abs=ROUNDED_ROWS)


@pytest.mark.parametrize(
    ("one", "other", "fault"),
    [
        (of_rows(normal(5, 3)), of_rows(normal(5, 4)), "views of 3 and of 4 channels"),
        (of_rows(normal(5, 3)), of_rows(normal(5, 3), ids=range(9, 14)), "no image in common"),
        (of_rows(normal(5, 3)), stats_of(normal(5, 2, 3)), "several rows of one image"),
        (of_rows(normal(5, 3)), of_rows(torch.zeros(5, 3)), "its rows are zero"),
        (
            of_rows(normal(5, 3)),
            summarise(normal(5, 2, 3), torch.arange(5), ("sampled:1",))["sampled:1"],
            "no rows were kept of a view",
        ),
    ],
)
def test_views_that_cannot_be_aligned_are_refused(one, other, fault):
    with pytest.raises(ValueError, match=fault):
        alignment(one, other)
