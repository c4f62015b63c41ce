"""Known values of class selectivity."""

from __future__ import annotations

import math

import pytest
import torch

from collapse_lab.capture.store import Capture
from collapse_lab.findings.table import series_table
from collapse_lab.metrics._metric import METRICS, measure
from collapse_lab.metrics.labels import (
    class_selectivity,
    class_selectivity_mean,
    class_selectivity_q10,
    class_selectivity_q90,
)
from tests import reference
from tests.metrics.planted import normal, of_rows
from tests.tolerances import EXACT64

LABEL = torch.arange(60) % 3


def test_selectivity_is_its_definition_with_unequal_classes():
    x, label = normal(80, 6), torch.arange(80) % 7 % 3
    expected = reference.class_selectivity(x.numpy(), label.numpy())
    stats = of_rows(x, labels=label)
    assert class_selectivity(stats).tolist() == pytest.approx(expected.tolist(), rel=EXACT64)
    assert class_selectivity_mean(stats) == pytest.approx(expected.mean(), rel=EXACT64)
    ordered = sorted(expected)
    assert class_selectivity_q10(stats) == pytest.approx((ordered[0] + ordered[1]) / 2, rel=EXACT64)
    assert class_selectivity_q90(stats) == pytest.approx((ordered[-2] + ordered[-1]) / 2, rel=EXACT64)


def test_one_class_alone_is_one_and_all_classes_alike_is_zero():
    x = torch.zeros(60, 4)
    x[:, 0] = (LABEL == 1).float()
    x[:, 1] = 5.0
    x[:, 2] = torch.tensor([1.0, 1.0, 2.0])[LABEL]  # (2 - 1) / (2 + 1)
    index = class_selectivity(of_rows(x, labels=LABEL))
    assert index[:3].tolist() == pytest.approx([1, 0, 1 / 3], abs=EXACT64)
    assert index[3].isnan()


@pytest.mark.parametrize("metric", [class_selectivity_mean, class_selectivity_q10, class_selectivity_q90])
def test_the_bounds_are_those_of_classes_alike_and_of_one_class_alone(metric):
    one = (LABEL == 1).double()[:, None].repeat(1, 3)
    reached = tuple(metric(of_rows(x, labels=LABEL)) for x in (torch.ones(60, 3), one))
    assert METRICS[metric.__name__].bounds == pytest.approx(reached, abs=EXACT64)


def test_a_channel_that_is_zero_everywhere_is_left_out_of_the_mean():
    x = torch.cat([normal(60, 3).abs(), torch.zeros(60, 5)], dim=1)
    expected = class_selectivity_mean(of_rows(x[:, :3], labels=LABEL))
    assert class_selectivity_mean(of_rows(x, labels=LABEL)) == pytest.approx(expected, rel=EXACT64)


def test_a_sign_is_arbitrary():
    x, sign = normal(60, 3), torch.tensor([1.0, -1.0, -3.0])
    one, other = (class_selectivity(of_rows(y, labels=LABEL)) for y in (x, x * sign))
    assert torch.allclose(one, other, rtol=EXACT64)


def test_images_without_a_label_say_nothing():
    x, some = normal(60, 3), torch.where(torch.arange(60) < 40, LABEL, -1)
    expected = class_selectivity_mean(of_rows(x[:40], labels=LABEL[:40]))
    assert class_selectivity_mean(of_rows(x, labels=some)) == pytest.approx(expected, rel=EXACT64)


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        (None, "0 kept rows have labels of 0 classes"),
        (torch.zeros(20, dtype=torch.long), "of 1 classes"),
        (torch.arange(20), "20 kept rows have labels of 20 classes"),
    ],
)
def test_without_classes_there_is_a_reason_in_place_of_a_value(labels, reason):
    stats = of_rows(normal(20, 3), labels=labels)
    measured = measure("class_selectivity_mean", stats)
    assert measured.status == "insufficient"
    assert reason in measured.reason
    assert len(class_selectivity(stats)) == 0


def test_without_any_activity_or_kept_rows_there_is_a_reason():
    zero = measure("class_selectivity_mean", of_rows(torch.zeros(60, 3), labels=LABEL))
    assert math.isnan(zero.value)
    assert (zero.status, zero.reason) == ("degenerate", "no channel is active on any labelled row")
    assert measure("class_selectivity_mean", of_rows(torch.ones(60, 3), labels=LABEL)).value == 0


def test_a_series_without_labels_has_no_rows_in_the_table():
    x = normal(60, 3)
    table = series_table(Capture({("a", "pooled"): of_rows(x), ("b", "pooled"): of_rows(x, labels=LABEL)}))
    assert table[table.series == "class_selectivity"].site.tolist() == ["b"] * 3
    assert set(table[table.series == "gate_response"].site) == {"a", "b"}
