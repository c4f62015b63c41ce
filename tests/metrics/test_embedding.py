"""Known values of what tells whether different images still get different rows."""

from __future__ import annotations

import math

import pytest
import torch

from collapse_lab.metrics._metric import METRICS, measure
from collapse_lab.metrics.embedding import (
    class_variance_share,
    embedding_std,
    image_variance_share,
    pair_cosine_centred,
    pair_cosine_raw,
    variance_share,
)
from collapse_lab.metrics.spectrum import effective_rank
from collapse_lab.stats.accumulate import stats_of, summarise
from tests import reference
from tests.metrics.planted import normal, of_rows, rotation
from tests.tolerances import EXACT64, ROUNDED_ROWS, SAMPLING


def test_variance_share_is_what_varies_of_the_energy():
    x = torch.tensor([[3.0, 1.0], [3.0, -1.0]])
    assert variance_share(of_rows(x)) == pytest.approx(1 / 10, rel=EXACT64)


def test_only_variance_share_sees_a_constant_plus_small_noise():
    stats = of_rows(1 + 1e-4 * normal(2000, 32))
    assert variance_share(stats) == pytest.approx(1e-8, rel=SAMPLING)
    assert effective_rank(stats) > 31


def test_embedding_std_is_one_for_uniform_directions_and_blind_to_a_low_rank():
    assert embedding_std(of_rows(normal(2000, 64))) == pytest.approx(1, rel=0.01)
    low = [embedding_std(of_rows(normal(1000, 3) @ rotation(64, seed)[:3])) for seed in range(20)]
    assert sum(low) / 20 == pytest.approx(0.92, abs=0.01)


def test_embedding_std_is_nothing_when_all_rows_point_one_way():
    lengths = torch.rand(50, 1, dtype=torch.float64) + 0.1
    assert embedding_std(of_rows(lengths * normal(1, 8))) == pytest.approx(0, abs=1e-7)
    assert measure("embedding_std", of_rows(torch.ones(50, 8))).value == 0
    assert measure("embedding_std", of_rows(torch.zeros(50, 8))).value == 0


def test_pair_cosines_are_the_mean_over_all_pairs():
    x = normal(30, 6) + 0.5
    unit = reference.unit(x.numpy())
    assert pair_cosine_raw(of_rows(x)) == pytest.approx(reference.mean_off_diagonal(unit @ unit.T), rel=EXACT64)
    apart = reference.unit((x - x.mean(dim=0)).numpy())
    assert pair_cosine_centred(of_rows(x)) == pytest.approx(reference.mean_off_diagonal(apart @ apart.T), rel=EXACT64)


def test_zero_rows_have_no_cosine():
    x = normal(30, 6)
    padded = torch.cat([x, torch.zeros(10, 6)])
    assert pair_cosine_raw(of_rows(padded)) == pytest.approx(pair_cosine_raw(of_rows(x)), rel=EXACT64)
    assert embedding_std(of_rows(padded)) == pytest.approx(embedding_std(of_rows(x)), rel=EXACT64)
    assert math.isnan(measure("pair_cosine_raw", of_rows(torch.zeros(10, 6))).value)
    for name in ("pair_cosine_raw", "embedding_std"):
        assert measure(name, of_rows(torch.cat([x[:1], torch.zeros(10, 6)]))).status == "insufficient"


def test_the_bounds_of_a_pair_cosine_are_those_of_two_opposite_rows_and_of_rows_that_point_one_way():
    opposite = torch.tensor([[1.0, 2.0], [-1.0, -2.0]])
    one_way = torch.rand(50, 1, dtype=torch.float64).add(0.1) * normal(1, 8)
    reached = (pair_cosine_raw(of_rows(opposite)), pair_cosine_raw(of_rows(one_way)))
    assert METRICS["pair_cosine_raw"].bounds == pytest.approx(reached, rel=EXACT64)
    spiked = torch.zeros(5000, 2)
    spiked[0] = 1  # all rows but one lie on one side of the mean
    reached = (pair_cosine_centred(of_rows(opposite)), pair_cosine_centred(of_rows(spiked)))
    assert METRICS["pair_cosine_centred"].bounds == pytest.approx(reached, abs=1e-3)


def test_a_common_offset_is_all_that_the_raw_cosine_sees():
    x = normal(500, 16) + 20
    assert pair_cosine_raw(of_rows(x)) > 0.99
    assert pair_cosine_centred(of_rows(x)) == pytest.approx(0, abs=0.01)


def test_one_row_far_out_makes_all_others_lean_to_one_side():
    x = 0.01 * normal(100, 8)
    x[0] = 100
    assert pair_cosine_centred(of_rows(x)) > 0.9


def test_rows_at_the_mean_but_for_rounding_have_no_direction():
    middle = torch.linspace(0.1, 0.9, 8)
    x = torch.cat([middle + torch.eye(8)[:1], middle - torch.eye(8)[:1], middle.expand(10, 8)])
    assert (x.double() - x.double().mean(dim=0))[2:].any()
    assert pair_cosine_centred(of_rows(x)) == pytest.approx(-1, abs=ROUNDED_ROWS)


def test_the_centred_pair_cosine_needs_kept_rows():
    x = normal(30, 4, 6)
    stats = summarise(x, torch.arange(30), ("sampled:2", "pooled"))
    assert measure("pair_cosine_centred", stats["sampled:2"]).reason.startswith("no rows were kept")
    pooled = reference.unit((x.mean(dim=1) - x.mean(dim=(0, 1))).numpy())
    expected = reference.mean_off_diagonal(pooled @ pooled.T)
    assert measure("pair_cosine_centred", stats["pooled"]).value == pytest.approx(expected, rel=EXACT64)
    half = summarise(x.float(), torch.arange(30), ("pooled",))["pooled"]
    assert measure("pair_cosine_centred", half).value == pytest.approx(expected, abs=ROUNDED_ROWS)


def test_class_variance_share_is_between_over_total_scatter():
    centres = torch.tensor([[5.0, 0.0], [-5.0, 0.0]]).double()
    label = torch.arange(200) % 2
    tight = centres[label] + 0.5 * normal(200, 2)
    y = tight - tight.mean(dim=0)
    between = sum(100 * y[label == c].mean(dim=0).square().sum().item() for c in (0, 1))
    expected = between / y.square().sum().item()
    assert class_variance_share(of_rows(tight, labels=label)) == pytest.approx(expected, rel=EXACT64)
    assert expected > 0.97


def test_the_bounds_of_the_class_share_are_those_of_classes_alike_and_of_classes_of_one_point_each():
    label = torch.arange(40) % 2
    alike = normal(20, 3).repeat_interleave(2, dim=0)  # each row once in either class
    points = normal(2, 3, seed=1)[label]
    reached = tuple(class_variance_share(of_rows(x, labels=label)) for x in (alike, points))
    assert METRICS["class_variance_share"].bounds == pytest.approx(reached, abs=EXACT64)


def test_labels_that_mean_nothing_explain_their_share_of_the_rows():
    drawn = [
        class_variance_share(of_rows(normal(101, 5, seed=seed), labels=torch.arange(101) % 11)) for seed in range(40)
    ]
    assert sum(drawn) / 40 == pytest.approx(10 / 100, rel=SAMPLING)


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        (None, "of 0 classes"),
        (torch.full((20,), -1), "of 0 classes"),
        (torch.zeros(20, dtype=torch.long), "of 1 classes"),
        (torch.arange(20), "20 kept rows have labels of 20 classes"),  # names, not classes: they explain everything
    ],
)
def test_class_variance_share_has_no_value_without_classes(labels, reason):
    measured = measure("class_variance_share", of_rows(normal(20, 3), labels=labels))
    assert measured.status == "insufficient"
    assert reason in measured.reason


def test_labelled_rows_that_are_all_the_same_have_nothing_to_explain():
    x = normal(20, 3)
    x[:10] = 1.5
    label = torch.where(torch.arange(20) < 10, torch.arange(20) % 2, -1)
    measured = measure("class_variance_share", of_rows(x, labels=label))
    assert (measured.status, measured.reason) == ("insufficient", "all labelled rows are the same")


def test_images_without_a_label_are_no_class():
    x, label = normal(100, 3), torch.arange(100) % 4
    some = torch.where(torch.arange(100) < 60, label, -1)
    expected = class_variance_share(of_rows(x[:60], labels=label[:60]))
    assert class_variance_share(of_rows(x, labels=some)) == pytest.approx(expected, rel=EXACT64)


def test_the_variance_between_images_is_a_share_of_the_energy_of_all_positions():
    x = normal(60, 5, 3) + normal(60, 1, 3, seed=1) + 2
    between = x.mean(dim=1).var(dim=0, correction=0).sum()
    expected = between / x.square().sum(dim=2).mean()
    for stats in summarise(x, torch.arange(60), ("sampled:2", "pooled", "all")).values():
        assert image_variance_share(stats) == pytest.approx(expected.item(), rel=EXACT64)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("mean", [0.0, 1.0])
def test_images_with_the_same_positions_in_another_order_are_the_same_once_pooled(dtype, mean):
    pattern = normal(6, 8)
    pattern = pattern - pattern.mean(dim=0) + mean
    order = torch.rand(40, 6, generator=torch.Generator().manual_seed(0)).argsort(dim=1)
    features = pattern[order].to(dtype)
    assert image_variance_share(stats_of(features)) == 0
    assert variance_share(stats_of(features)) > 0.1
    apart = features.clone()
    apart[0] += 1e-4
    assert image_variance_share(stats_of(apart)) > 0
