"""Statistics of batches, streams and arrays against NumPy, and what they do with values that are no data."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from collapse_lab.stats.accumulate import Accumulator, stats_of, summarise
from collapse_lab.stats.held import group_of, leave_one_out, merge_all
from collapse_lab.stats.layer import LayerStats
from tests.metrics.planted import features, normal, of_rows
from tests.tolerances import EXACT64, ORDER


def assert_close(a: LayerStats, b: LayerStats, tolerance: float = EXACT64) -> None:
    for name in ("mean", "scatter", "third", "minimum", "maximum", "absolute", "fired", "unit_sum", "unit_squares"):
        one, two = getattr(a, name), getattr(b, name)
        assert torch.allclose(one, two, rtol=tolerance, atol=tolerance * two.abs().max().item()), name
    for name in ("n_rows", "n_images", "rows_squared", "n_units", "bad_values", "bad_rows", "images_key", "eps"):
        assert getattr(a, name) == getattr(b, name), name
    assert a.fourth == pytest.approx(b.fourth, rel=tolerance)
    assert a.within == pytest.approx(b.within, rel=tolerance)


def test_every_sum_is_its_definition():
    x = features(1, images=9, positions=4, channels=3)
    x[4, 2] = 0
    stats, rows = stats_of(x), x.flatten(0, 1).numpy()
    y = rows - rows.mean(axis=0)
    square = (y**2).sum(axis=1)
    length = np.linalg.norm(rows, axis=1)
    unit = rows[length > 0] / length[length > 0, None]
    within = ((x - x.mean(dim=1, keepdim=True)) ** 2).sum().item()
    expected = {
        "mean": rows.mean(axis=0),
        "scatter": y.T @ y,
        "third": square @ y,
        "minimum": rows.min(axis=0),
        "maximum": rows.max(axis=0),
        "absolute": np.abs(rows).sum(axis=0),
        "fired": (rows > 0).sum(axis=0),
        "unit_sum": unit.sum(axis=0),
        "unit_squares": (unit**2).sum(axis=0),
    }
    for name, value in expected.items():
        assert np.allclose(getattr(stats, name), value, rtol=EXACT64, atol=EXACT64), name
    assert stats.fourth == pytest.approx((square**2).sum(), rel=EXACT64)
    assert stats.within == pytest.approx(within, rel=EXACT64)
    assert (stats.n_rows, stats.n_images, stats.n_units, stats.rows_squared) == (36, 9, 35, 9 * 16)


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_merging_is_one_pass_even_far_from_zero(offset):
    x = features(2, images=40) + offset
    ids = torch.arange(40)
    parts = [summarise(x[ids % 3 == k], ids[ids % 3 == k], ("all",), keep=9)["all"] for k in range(3)]
    whole = summarise(x, ids, ("all",), keep=9)["all"]
    assert_close(merge_all(parts), whole, ORDER if not offset else 1e-9)  # a mean of 1e6 holds 1e-10 of its digits
    assert torch.equal(merge_all(parts).rows.values, whole.rows.values)


def test_leaving_one_part_out_is_merging_all_others():
    x, ids = features(3, images=30), torch.arange(30)
    for count in (2, 3, 5):
        parts = [summarise(x[ids % count == k], ids[ids % count == k], ("all",))["all"] for k in range(count)]
        for k, others in enumerate(leave_one_out(parts)):
            rest = ids % count != k
            assert_close(others, summarise(x[rest], ids[rest], ("all",))["all"])


def test_nothing_to_merge_or_to_leave_out_is_an_error():
    with pytest.raises(ValueError, match="nothing was measured"):
        merge_all([])
    with pytest.raises(ValueError, match="needs two parts, got 1"):
        leave_one_out([stats_of(normal(3, 1, 2))])
    with pytest.raises(ValueError, match="statistics of 2 and of 3 channels"):
        stats_of(normal(3, 1, 2)).merge(stats_of(normal(3, 1, 3)))
    with pytest.raises(ValueError, match="accumulators differ in seed: 0 and 1"):
        Accumulator(("all",)).merge(Accumulator(("all",), seed=1))


def test_groups_are_a_hash_of_the_image_and_about_equal():
    ids = torch.arange(-8_000, 8_000)
    sizes = group_of(ids, 16).bincount(minlength=16)
    assert (sizes - 1000).abs().max() < 5 * 1000**0.5
    assert torch.equal(group_of(ids.flip(0), 16), group_of(ids, 16).flip(0))


def test_groups_hold_the_images_of_their_number():
    x, ids = features(3, images=50), torch.arange(50)
    accumulator = Accumulator(("all",), groups=4)
    accumulator.update(x[:20], ids[:20])
    accumulator.update(x[20:], ids[20:])
    _, parts = accumulator.compute("all")
    for number, part in enumerate(parts):
        chosen = group_of(ids, 4) == number
        assert_close(part, summarise(x[chosen], ids[chosen], ("all",))["all"])


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e75])
def test_a_position_with_a_bad_value_is_counted_and_left_out(value):
    x = features(4, images=6)
    x[2, 1, 0] = x[2, 1, 3] = x[5, 0, 0] = value
    kept = torch.ones(6, 4, dtype=torch.bool)
    kept[2, 1] = kept[5, 0] = False
    stats = summarise(x, torch.arange(6), ("all", "pooled"))
    rest = summarise(features(4, images=6), torch.arange(6), ("all", "pooled"), visible=kept)
    for policy in stats:
        assert (stats[policy].bad_values, stats[policy].bad_rows) == (3, 2)
        assert torch.allclose(stats[policy].scatter, rest[policy].scatter, rtol=EXACT64)


def test_half_precision_infinity_is_found():
    x = torch.tensor([[[60000.0]], [[60000.0]], [[1.0]]]).half() * 2
    assert stats_of(x).bad_values == 2


def test_images_without_positions_are_no_images():
    for stats in summarise(torch.zeros(3, 0, 4), torch.arange(3), ("all", "pooled", "sampled:2")).values():
        assert (stats.n_rows, stats.n_images) == (0, 0)
        assert not stats.images.fired.any()


def test_an_image_without_a_finite_position_is_no_image():
    x = features(4, images=6)
    x[2] = math.nan
    for stats in summarise(x, torch.arange(6), ("all", "pooled", "sampled:2")).values():
        assert stats.n_images == 5
        assert stats.bad_values == 20


def test_bad_values_among_removed_positions_are_not_the_layers():
    x = features(4, images=6)
    x[:, 3] = math.nan
    visible = torch.arange(4).expand(6, 4) < 3
    stats = summarise(x, torch.arange(6), ("all",), visible=visible)["all"]
    assert stats.bad_values == 0
    assert_close(stats, summarise(x[:, :3], torch.arange(6), ("all",))["all"])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_narrow_types_are_summed_in_float64_and_keep_their_rounding(dtype):
    x = features(5).to(dtype)
    stats = stats_of(x)
    assert stats.eps == torch.finfo(dtype).eps
    assert torch.equal(stats.scatter, stats_of(x.double()).scatter)
    assert stats.rows.values.dtype == torch.float32


def test_whole_numbers_are_refused():
    with pytest.raises(TypeError, match=r"floating-point features, got torch\.int64"):
        stats_of(torch.zeros(3, 2, 4, dtype=torch.int64))
    with pytest.raises(ValueError, match="no channel"):
        stats_of(torch.zeros(3, 2, 0))


def test_an_array_that_must_not_be_written_to_and_one_with_a_gradient_are_taken():
    fixed = np.random.default_rng(0).normal(size=(9, 3))
    fixed.flags.writeable = False
    assert stats_of(fixed, layout="image channel").n_rows == 9
    leaf = torch.randn(9, 3, requires_grad=True)
    assert not stats_of(leaf, layout="image channel").rows.values.requires_grad
    assert stats_of([[1.0, 2.0], [3.0, 4.0]], layout="image channel").mean.tolist() == [2, 3]


def test_an_array_keeps_rows_with_their_labels_and_identities():
    x = normal(20, 3)
    kept = of_rows(x, ids=torch.arange(100, 120), labels=torch.arange(20) % 4).rows
    order = kept.id.argsort()
    assert torch.equal(kept.values[order], x)
    assert torch.equal(kept.label[order], torch.arange(20) % 4)
    assert kept.id[order].tolist() == list(range(100, 120))
    assert kept.limit == 4096


def test_images_are_named_by_numbers_or_texts():
    x = normal(3, 4)
    same = [of_rows(x, ids=ids).images_hash for ids in ([5, 6, 7], np.array([5, 6, 7]), torch.tensor([7, 5, 6]))]
    assert len(set(same)) == 1
    assert of_rows(x, ids=["a", "b", "c"]).images_hash == of_rows(x, ids=("c", "a", "b")).images_hash
    assert of_rows(x, ids=[2**64 - 1, 0, 1]).images_hash != same[0]
    with pytest.raises(ValueError, match="one identity for each of 3 images, got 2"):
        of_rows(x, ids=[1, 2])
    with pytest.raises(TypeError, match=r"whole number or a text, got 0\.5"):
        of_rows(x, ids=[0.5, 1.5, 2.5])
    with pytest.raises(ValueError, match=r"labels must be one whole number for each of 3 images, got shape \(2,\)"):
        of_rows(x, labels=[1, 2])
    with pytest.raises(ValueError, match="of float32"):
        of_rows(x, labels=[0.5, 1.0, 2.0])


@pytest.mark.parametrize("ids", [[0], [0, 1], [1, 2], [0, 0, 1]])
def test_the_images_hash_tells_sets_of_images_apart_image_zero_too(ids):
    sets = [[1], [0], [0, 1], [1, 2], [0, 0, 1], [0, 1, 2]]
    hashes = {tuple(each): of_rows(normal(len(each), 2), ids=each).images_hash for each in sets}
    assert [key for key, value in hashes.items() if value == hashes[tuple(ids)]] == [tuple(ids)]


def kept_rows(order: Tensor, size: int, keep: int = 10) -> LayerStats:
    x = normal(60, 3, 2)
    accumulator = Accumulator(("sampled:2",), groups=3, keep=keep)
    for part in order.split(size):
        accumulator.update(x[part], part)
    return accumulator.compute("sampled:2")[0]


@pytest.mark.parametrize("size", [1, 7, 60])
def test_the_same_rows_are_kept_in_any_order_and_split(size):
    one = kept_rows(torch.arange(60), 60).rows
    other = kept_rows(torch.randperm(60, generator=torch.Generator().manual_seed(size)), size).rows
    for name in ("values", "key", "id", "label"):
        assert torch.equal(getattr(one, name), getattr(other, name))
    assert len(one.key) == 10
    assert one.key.tolist() == sorted(kept_rows(torch.arange(60), 60, keep=120).rows.key.tolist())[:10]


def test_samples_of_different_limits_merge_to_the_smaller():
    few, many = kept_rows(torch.arange(30), 30, keep=4), kept_rows(torch.arange(30, 60), 30, keep=9)
    both = few.merge(many).rows
    assert torch.equal(both.key, kept_rows(torch.arange(60), 60, keep=4).rows.key)
    assert few.merge(kept_rows(torch.arange(30, 60), 30, keep=0)).rows is None


def test_arrays_with_any_strides_are_read():
    x = np.asfortranarray(np.arange(24.0).reshape(4, 2, 3))
    assert torch.equal(stats_of(x[::-1]).scatter, stats_of(x[::-1].copy()).scatter)
    with pytest.raises(TypeError, match=r"got torch.int64; convert them"):
        stats_of(np.ones((4, 2, 3), dtype=np.int64))
