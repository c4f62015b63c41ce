"""The planted benchmark of the diagnosis: what it plants, and how it counts."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks.diagnosis import FACTORS, PLANTS, Tally, capture_of, kinds_of, moved, plants
from benchmarks.plants.ground import NOTE, SIZES, Planted
from benchmarks.plants.healthy import HEALTHY
from collapse_lab.findings.diagnose import diagnose
from collapse_lab.findings.rules import KINDS
from collapse_lab.findings.thresholds import limits

SMALL = SIZES[0]


def planted(name: str, seed: int = 0) -> Planted:
    return PLANTS[name](np.random.default_rng(seed), SMALL)


def test_every_kind_is_planted_and_healthy_features_hold_none():
    must = {kind.removesuffix(NOTE) for name in PLANTS for seed in range(3) for kind in planted(name, seed).must}
    assert must == set(KINDS)
    assert all(not planted(name).must | planted(name).may for name in HEALTHY)


@pytest.mark.parametrize("name", list(PLANTS))
def test_a_plant_is_found_and_nothing_that_it_does_not_imply(name):
    each = planted(name)
    found = kinds_of(diagnose(capture_of(each)))
    assert each.must <= found <= each.must | each.may


@pytest.mark.parametrize("name", list(PLANTS))
def test_a_plant_is_a_function_of_its_seed_and_draws_its_shape(name):
    one, again, others = planted(name), planted(name), [planted(name, seed) for seed in range(1, 6)]
    assert torch.equal(one.features.nan_to_num(), again.features.nan_to_num())
    assert len({tuple(other.features.shape) for other in others}) > 1


def test_what_is_implied_counts_neither_way_and_all_else_is_a_false_alarm():
    tally = Tally()
    each = Planted(features=torch.zeros(1, 1, 1), must=frozenset({"a"}), may=frozenset({"b"}))
    tally.add("low rank", each, frozenset({"a", "b"}))
    tally.add("low rank", each, frozenset({"c"}))
    assert (tally.recall("a"), tally.precision("a")) == (0.5, 1)
    assert (tally.precision("c"), tally.wrong["b"]) == (0, 0)
    assert tally.planted_kinds() == ["a"]
    assert tally.false_alarm_rate() == 0
    tally.add("sparse", Planted(features=each.features), frozenset({"a"}))
    assert tally.false_alarm_rate() == 1
    assert tally.precision("a") == 0.5


def test_thresholds_move_by_their_odds():
    assert moved(1.0) == pytest.approx(limits())
    half, twice = moved(0.5), moved(2.0)
    assert half["near_constant"] == pytest.approx(0.0005, rel=1e-3)
    assert 1 - twice["one_way"] == pytest.approx(0.0256, abs=1e-3)
    assert (half["many_starved"], twice["many_starved"]) == pytest.approx((1 / 3, 2 / 3))
    assert set(FACTORS) == {0.5, 1.0, 2.0}


def test_every_draw_has_a_seed_of_its_own():
    drawn = [each.features.shape for name, each in plants(2) if name == "isotropic"]
    assert len(drawn) == 2 * len(SIZES)
    assert len(set(drawn)) == len(drawn)
