"""Probe scores beside effective rank, layer by layer."""

from __future__ import annotations

import math

import numpy as np
import pytest

from collapse_lab.findings.worth import worth
from tests.findings.tables import row, table

LEFT_OUT = list(np.linspace(0.59, 0.61, 16))


def run(seed: int, accuracy: float = 0.6, rank: float = 4.0):
    """A run with two layers, of which the second is probed, and a probe of the last map."""
    told = {"positions": "pooled", "metric": "linear_probe_accuracy", "seed": seed}
    many = {"replicates": LEFT_OUT, "group_sizes": [40] * 16}
    return table(
        row(8.0, seed=seed, site="a", depth=0.0),
        row(rank, seed=seed, site="b", depth=1.0),
        row(99.0, seed=seed, site="b", depth=1.0, positions="pooled"),
        row(accuracy, site="b", depth=1.0, low=0.5, high=0.7, **many, **told),
        row(accuracy + 0.1, site="", depth=1.0, low=0.6, high=0.8, **many, **told),
    )


def test_a_probed_layer_has_its_rank_beside_it_and_the_last_map_has_none():
    found = worth({"one": [run(0)]})
    assert list(found.site) == ["b", ""]
    layer, last = found.iloc[0], found.iloc[1]
    assert (layer.effective_rank, layer.rank_share, layer.rank_positions) == (4.0, 0.25, "sampled:8")
    assert math.isnan(last.effective_rank)
    assert (layer.value, last.value) == (0.6, 0.7)


def test_one_seed_keeps_its_interval_over_images():
    layer = worth({"one": [run(0)]}).iloc[0]
    assert (layer.low, layer.high, layer.n_seeds) == (0.5, 0.7, 1)


def test_seeds_are_averaged_and_widen_the_interval():
    alike = worth({"one": [run(seed, 0.6) for seed in range(3)]}).iloc[0]
    apart = worth({"one": [run(seed, 0.5 + 0.1 * seed, rank=3.0 + seed) for seed in range(3)]}).iloc[0]
    assert apart.value == pytest.approx(0.6)
    assert apart.effective_rank == pytest.approx(4.0)
    assert apart.n_seeds == 3
    assert apart.high - apart.low > alike.high - alike.low > 0


def test_arms_need_no_layer_in_common():
    other = run(0).replace({"site": {"a": "x", "b": "y"}})
    found = worth({"one": [run(0)], "two": [other]})
    assert list(zip(found.arm, found.site, strict=True)) == [("one", "b"), ("one", ""), ("two", "y"), ("two", "")]


def test_runs_without_a_probe_are_refused_with_what_makes_one():
    with pytest.raises(ValueError, match="collapse-lab probe RUN"):
        worth({"one": [table(row(8.0, seed=0))]})
