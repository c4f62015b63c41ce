"""The edge of chance: what unrelated channels stay below and shared directions stand above."""

from __future__ import annotations

import pytest
import torch

from collapse_lab.metrics._metric import measure
from collapse_lab.metrics.chance import chance_edges, directions_above_chance
from collapse_lab.stats.accumulate import stats_of, summarise
from tests.metrics.planted import isotropic_rows, normal, of_rows
from tests.tolerances import EDGE_OF_CHANCE, EXACT64

LAYERS = 150


@pytest.mark.parametrize(("rows", "channels"), [(20, 5), (30, 60), (100, 20), (60, 60)])
def test_unrelated_channels_pass_the_edge_in_hardly_any_layer(rows, channels):
    x = normal(LAYERS, rows, channels)
    passed = sum(directions_above_chance(of_rows(layer)) > 0 for layer in x)
    assert passed <= 0.02 * LAYERS


def test_the_edge_is_no_higher_than_chance_needs():
    largest = [of_rows(layer).correlation_singular_values[0].item() ** 2 for layer in normal(20, 400, 100)]
    assert sum(largest) / len(largest) == pytest.approx(chance_edges(of_rows(normal(400, 100)))[1], rel=EDGE_OF_CHANCE)


def test_the_edges_are_those_of_marchenko_and_pastur():
    assert chance_edges(of_rows(normal(401, 100))) == pytest.approx((0.25, 2.25))
    assert chance_edges(of_rows(normal(26, 100))) == pytest.approx((0, 9))


@pytest.mark.parametrize("shared", [1, 3, 7])
def test_shared_directions_are_counted_whatever_the_channels_scales(shared):
    x = isotropic_rows(shared, channels=60, rows=500) + 0.1 * normal(500, 60, seed=9)
    scales = torch.arange(1.0, 61).double() ** 3
    assert directions_above_chance(of_rows(x)) == shared
    assert directions_above_chance(of_rows(x * scales)) == shared


def test_still_channels_are_left_out_and_the_edge_is_that_of_the_others():
    x = normal(300, 30)
    x[:, 10:] = 4
    assert chance_edges(of_rows(x)) == pytest.approx(chance_edges(of_rows(x[:, :10])), rel=EXACT64)
    assert directions_above_chance(of_rows(x)) == 0


def test_rows_that_are_not_independent_have_no_edge():
    measured = measure("directions_above_chance", stats_of(normal(50, 4, 6)))
    assert (measured.status, "not independent" in measured.reason) == ("insufficient", True)
    for policy in ("pooled", "sampled:1"):
        stats = summarise(normal(50, 4, 6), torch.arange(50), (policy,))[policy]
        assert measure("directions_above_chance", stats).status == "ok"


@pytest.mark.parametrize(("rows", "channels", "said"), [(9, 4, "9 rows, at least 10"), (20, 1, "1 channels vary")])
def test_too_few_rows_or_channels_have_no_edge(rows, channels, said):
    measured = measure("directions_above_chance", of_rows(normal(rows, channels)))
    assert measured.status == "insufficient"
    assert said in measured.reason
