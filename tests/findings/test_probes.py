"""The linear probe: what it can and cannot separate, and its row of the table."""

from __future__ import annotations

import math

import pytest
import torch

from collapse_lab.findings.probes import linear_probe, probe_row
from collapse_lab.findings.uncertainty import jackknife
from collapse_lab.stats.held import group_of
from tests.metrics.planted import normal

LABEL = torch.arange(200) % 5
CENTRES = 8 * normal(5, 6, seed=9)


def test_separate_classes_are_told_apart_and_labels_without_meaning_are_guessed():
    x, x_test = CENTRES[LABEL] + normal(200, 6), CENTRES[LABEL] + normal(200, 6, seed=1)
    assert linear_probe((x, LABEL), (x_test, LABEL)).double().mean() > 0.98
    blind = linear_probe((normal(200, 6), LABEL), (normal(200, 6, seed=1), LABEL)).double().mean()
    assert blind == pytest.approx(0.2, abs=0.1)


def test_scale_and_offset_of_a_channel_do_not_matter():
    x, x_test = CENTRES[LABEL] + 4 * normal(200, 6), CENTRES[LABEL] + 4 * normal(200, 6, seed=1)
    factor, shift = torch.tensor([1e-6, 1, 1e6, 1, 3, 2]).double(), torch.arange(6.0)
    one = linear_probe((x, LABEL), (x_test, LABEL))
    two = linear_probe((x * factor + shift, LABEL), (x_test * factor + shift, LABEL))
    assert (one == two).double().mean() > 0.98


def test_classes_that_come_in_turn_are_all_held_out_alike():
    label = (torch.arange(100) % 5 == 0).long()  # every fifth image, the very step of the held-out fifth
    x = 6.0 * label[:, None] + normal(100, 3)
    assert linear_probe((x, label), (x, label)).double().mean() > 0.98


def test_a_probe_needs_two_classes_and_finite_features():
    x = normal(20, 3)
    with pytest.raises(ValueError, match="two classes at least, got 1"):
        linear_probe((x, torch.zeros(20)), (x, torch.zeros(20)))
    with pytest.raises(ValueError, match="not finite"):
        linear_probe((x / 0, torch.arange(20) % 2), (x, torch.arange(20) % 2))
    rare = (torch.arange(20) == 7).long()
    assert len(linear_probe((x, rare), (x, rare))) == 20


def test_the_row_holds_accuracy_with_an_interval_over_groups_of_images():
    ids = torch.arange(500)
    right = torch.rand(500, generator=torch.Generator().manual_seed(0)) < 0.8
    one = probe_row(right, ids, "hash").iloc[0]
    group = group_of(ids, 16)
    left_out = [right[group != k].double().mean().item() for k in range(16)]
    assert one.value == pytest.approx(right.double().mean().item())
    assert one.replicates == pytest.approx(left_out)
    assert one.group_sizes == group.bincount().tolist()
    assert (one.low, one.high) == pytest.approx(jackknife(one.value, left_out, one.group_sizes).interval())
    assert one.images_hash == "hash"
    assert one.n_images == 500


def test_the_interval_stays_between_nothing_and_everything():
    right = torch.ones(200, dtype=torch.bool)
    right[0] = False
    one = probe_row(right, torch.arange(200), "").iloc[0]
    assert one.low < one.high == 1


def test_few_images_have_no_interval():
    one = probe_row(torch.ones(63, dtype=torch.bool), torch.arange(63), "").iloc[0]
    assert one.value == 1
    assert all(math.isnan(one[name]) for name in ("corrected", "low", "high"))
    assert one.replicates is None
