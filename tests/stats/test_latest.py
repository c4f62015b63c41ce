"""What is shared by the metrics of one layer."""

from __future__ import annotations

import gc
import weakref

import torch

from collapse_lab.stats.latest import latest
from tests.metrics.planted import normal, of_rows


def test_it_is_made_once_a_layer_and_again_when_another_came_between():
    asked = []
    shape = latest(lambda stats: asked.append(stats.channels) or stats.channels)
    one, other = of_rows(normal(9, 3)), of_rows(normal(9, 4))
    assert [shape(stats) for stats in (one, one, other, other, one)] == [3, 3, 4, 4, 3]
    assert asked == [3, 4, 3]


def test_layers_of_equal_numbers_are_two_layers():
    asked = []
    total = latest(lambda stats: asked.append(1) or stats.scatter.sum())
    total(of_rows(normal(9, 3)))
    total(of_rows(normal(9, 3)))
    assert len(asked) == 2


def test_nothing_is_held_of_a_layer_that_is_gone():
    stats = of_rows(normal(9, 3))
    made = weakref.ref(stats.correlation)
    del stats
    gc.collect()
    assert made() is None


def test_the_correlation_is_the_same_tensor_while_one_layer_is_measured():
    stats = of_rows(normal(30, 3))
    assert stats.correlation is stats.correlation
    assert torch.equal(of_rows(normal(30, 3)).correlation, stats.correlation)
