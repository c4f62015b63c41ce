"""CKA and shared neighbours: known values, invariances, chance, and the interval of the table."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from collapse_lab.capture.store import Capture
from collapse_lab.findings.alignment import cka, knn_overlap, similarity_table
from collapse_lab.findings.uncertainty import jackknife
from collapse_lab.stats.accumulate import stats_of
from collapse_lab.stats.held import group_of
from tests import reference
from tests.capture.small import LAYOUT, SITES, Small, images, observe
from tests.metrics.planted import normal, of_rows, rotation
from tests.tolerances import EXACT64, ROUNDED_ROWS

BOTH = pytest.mark.parametrize("measure", [cka, knn_overlap])


def related(n: int = 60, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Rows of 6 channels, and 9 channels half of which they explain."""
    x = normal(n, 6, seed=seed)
    return x, x @ normal(6, 9, seed=99) + 2 * normal(n, 9, seed=seed + 1000)


def matrix_cka(x: np.ndarray, y: np.ndarray) -> float:
    """By the n x n matrices of Song et al., as they stand."""

    def hsic(k: np.ndarray, m: np.ndarray) -> float:
        n, one = len(k), np.ones(len(k))
        k, m = k - np.diag(np.diag(k)), m - np.diag(np.diag(m))
        last = 2 / (n - 2) * (one @ k @ m @ one)
        return (np.trace(k @ m) + (one @ k @ one) * (one @ m @ one) / ((n - 1) * (n - 2)) - last) / (n * (n - 3))

    k, m = x @ x.T, y @ y.T
    return hsic(k, m) / math.sqrt(hsic(k, k) * hsic(m, m))


def biased_cka(x: Tensor, y: Tensor) -> float:
    x, y = (rows - rows.mean(dim=0) for rows in (x, y))
    return ((x.T @ y).norm() ** 2 / ((x.T @ x).norm() * (y.T @ y).norm())).item()


def test_cka_is_the_average_over_all_four_different_rows():
    x, y = (rows[:20] for rows in related())
    assert cka(of_rows(x), of_rows(y)) == pytest.approx(reference.debiased_cka(x.numpy(), y.numpy()), rel=EXACT64)


def test_cka_is_that_of_the_matrices_and_near_the_biased_one_with_many_rows():
    x, y = related(500)
    value = cka(of_rows(x), of_rows(y))
    assert value == pytest.approx(matrix_cka(x.numpy(), y.numpy()), rel=EXACT64)
    assert value == pytest.approx(biased_cka(x, y), abs=0.02)


def test_shared_neighbours_are_those_of_two_sorted_lists():
    x, y = related()
    for k in (1, 10, 59):
        expected = reference.knn_overlap(x.numpy(), y.numpy(), k)
        assert knn_overlap(of_rows(x), of_rows(y), k) == pytest.approx(expected, rel=EXACT64)


@BOTH
def test_a_layer_is_like_itself_turned_scaled_and_moved(measure):
    x, y = related()
    moved = 1e-3 * x @ rotation(6) + 100 * normal(1, 6)
    assert measure(of_rows(x), of_rows(x)) == pytest.approx(1, abs=EXACT64)
    assert measure(of_rows(x), of_rows(moved)) == pytest.approx(1, abs=EXACT64)
    assert measure(of_rows(moved), of_rows(y)) == pytest.approx(measure(of_rows(x), of_rows(y)), abs=EXACT64)
    assert measure(of_rows(y), of_rows(x)) == pytest.approx(measure(of_rows(x), of_rows(y)), abs=EXACT64)


@BOTH
@pytest.mark.parametrize("scale", [1e-60, 1e60])
def test_numbers_far_from_one_change_nothing(measure, scale):
    x, y = related()
    expected = measure(of_rows(x), of_rows(y))
    assert measure(of_rows(x * scale), of_rows(y * scale)) == pytest.approx(expected, abs=EXACT64)


@BOTH
def test_the_order_of_the_images_does_not_matter(measure):
    x, y = related()
    order = torch.randperm(60, generator=torch.Generator().manual_seed(3))
    one, other = of_rows(x, ids=torch.arange(60)), of_rows(y[order], ids=order)
    assert measure(one, other) == pytest.approx(measure(of_rows(x), of_rows(y)), abs=EXACT64)


def test_unrelated_rows_have_a_cka_of_zero_on_average_where_the_biased_one_is_large():
    drawn = [(normal(64, 256, seed=seed), normal(64, 256, seed=seed + 500)) for seed in range(60)]
    values = torch.tensor([cka(of_rows(x), of_rows(y)) for x, y in drawn])
    assert abs(values.mean()) < 3 * values.std() / 60**0.5
    assert values.abs().max() < 0.1
    assert min(biased_cka(x, y) for x, y in drawn) > 0.5


def test_unrelated_rows_share_neighbours_by_chance():
    drawn = [knn_overlap(of_rows(normal(80, 5, seed=s)), of_rows(normal(80, 5, seed=s + 500))) for s in range(60)]
    error = np.std(drawn) / 60**0.5
    assert np.mean(drawn) == pytest.approx(10 / 79, abs=3 * error)
    assert error < 0.003


def test_a_strong_common_direction_rules_cka_and_not_the_neighbours():
    common, x, y = 20 * normal(200, 1), normal(200, 30, seed=1), normal(200, 30, seed=2)
    one, other = (of_rows(torch.cat([common, rows], dim=1)) for rows in (x, y))
    assert cka(one, other) > 0.9
    assert knn_overlap(one, other) < 0.6


@BOTH
@pytest.mark.parametrize("flat", [torch.zeros(60, 4), torch.full((60, 4), 0.3), 1 + 1e-9 * torch.randn(60, 4)])
def test_a_layer_that_is_constant_to_rounding_is_like_nothing(measure, flat):
    x, _ = related()
    assert math.isnan(measure(of_rows(flat), of_rows(x)))
    assert math.isnan(measure(of_rows(flat), of_rows(flat)))


def test_images_that_are_all_equally_far_apart_have_no_cka():
    assert math.isnan(cka(of_rows(torch.eye(60)), of_rows(related()[0])))


@pytest.mark.parametrize("k", [0, 60])
def test_the_number_of_neighbours_must_be_less_than_that_of_images(k):
    x, y = related()
    with pytest.raises(ValueError, match=f"less than the 60 common rows, got {k}"):
        knn_overlap(of_rows(x), of_rows(y), k)


def captured(model_seed: int, count: int = 80) -> Capture:
    model = Small()
    for parameter in model.parameters():
        parameter.data.normal_(generator=torch.Generator().manual_seed(parameter.ndim + model_seed))
    return observe(model, [images(count)], sites=SITES, layout=LAYOUT)


def test_the_table_holds_every_two_arms_and_layers_once():
    arms = {"a": captured(0), "b": captured(7)}
    table = similarity_table(arms, ["act", "head"])
    pairs = table[table.measure == "cka"]
    assert len(table) == 2 * len(pairs) == 12
    assert len(pairs[["arm", "site", "other_arm", "other_site"]].drop_duplicates()) == 6
    assert set(table.positions) == {"pooled"}
    assert set(table.n_images) == {80}
    assert set(table.chance) == {0.0, 10 / 79}
    for row in table.itertuples():
        one, other = (arms[arm][site, "pooled"] for arm, site in ((row.arm, row.site), (row.other_arm, row.other_site)))
        expected = cka(one, other) if row.measure == "cka" else knn_overlap(one, other)
        assert row.value == pytest.approx(expected, abs=EXACT64)


def test_the_interval_of_cka_comes_from_leaving_groups_of_images_out():
    arms = {"a": captured(0), "b": captured(7)}
    row = similarity_table(arms, ["head"]).iloc[0]
    one, other = (arm["head", "pooled"].rows for arm in arms.values())
    group = group_of(one.id, 16)
    x, y = one.values.numpy(), other.values.numpy()
    left_out = [matrix_cka(x[group != k], y[group != k]) for k in group.unique()]
    estimate = jackknife(matrix_cka(x, y), left_out, group.unique(return_counts=True)[1].tolist())
    assert row.corrected == pytest.approx(estimate.corrected, abs=1e-9)
    assert (row.low, row.high) == pytest.approx(estimate.interval(), abs=1e-9)


def test_few_images_and_shared_neighbours_have_no_interval():
    table = similarity_table({"a": captured(0, 63), "b": captured(7, 63)}, ["head"])
    assert table[["corrected", "low", "high"]].isna().all(axis=None)
    many = similarity_table({"a": captured(0), "b": captured(7)}, ["head"])
    assert many[many.measure == "knn_overlap"][["corrected", "low", "high"]].isna().all(axis=None)


def test_the_interval_of_cka_holds_the_population_value():
    mixing = normal(6, 9, seed=99)
    cross, own = mixing.norm() ** 2, (mixing.T @ mixing + 4 * torch.eye(9)).norm() * 6**0.5
    truth = (cross / own).item()
    hits = 0
    for seed in range(60):
        stats = [of_rows(rows, ids=torch.arange(400) + 400 * seed) for rows in related(400, seed)]
        arms = {name: Capture({("", "pooled"): each}) for name, each in zip("ab", stats, strict=True)}
        row = similarity_table(arms).iloc[0]
        hits += row.low <= truth <= row.high
    assert hits / 60 >= 0.87  # 0.95 less 3 standard errors of 60


def test_the_images_of_smallest_hash_are_taken_where_there_are_too_many():
    arms = {"a": captured(0), "b": captured(7)}
    few = similarity_table(arms, ["head"], most=40, k=5)
    assert set(few.n_images) == {40}
    rows = [arm["head", "pooled"].rows.values[:40].numpy() for arm in arms.values()]
    assert few.value.tolist() == pytest.approx([matrix_cka(*rows), reference.knn_overlap(*rows, 5)], abs=EXACT64)


def test_what_cannot_be_compared_is_said():
    arms = {"a": captured(0)}
    with pytest.raises(LookupError, match=r"no captured site matches 'heat'; did you mean 'head'\?"):
        similarity_table(arms, ["heat"])
    with pytest.raises(ValueError, match="1 layers match; comparing needs two"):
        similarity_table(arms, "head")
    with pytest.raises(KeyError, match="was not captured; there is"):
        similarity_table(arms, ["head", "act"], positions="all")
    with pytest.raises(ValueError, match="at least 20 rows are compared, got most=19"):
        similarity_table(arms, ["head", "act"], most=19)
    with pytest.raises(ValueError, match=r"no rows were kept of this layer; use positions 'pooled'"):
        similarity_table(arms, ["head", "act"], positions="sampled:8")


def test_rows_kept_in_float32_cost_no_more_than_their_rounding():
    x, y = related()
    half = cka(stats_of(x.float(), layout="image channel"), of_rows(y))
    assert half == pytest.approx(cka(of_rows(x), of_rows(y)), abs=ROUNDED_ROWS)
