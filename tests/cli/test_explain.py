"""What the command line tells of a metric, and the worked examples behind it."""

from __future__ import annotations

import json
import time

import pytest
import torch

import collapse_lab.metrics  # noqa: F401  (fills METRICS)
from collapse_lab.findings.examples import PLANTS, example, healthy_features
from collapse_lab.metrics._metric import METRICS

EVERY = pytest.mark.parametrize("name", list(METRICS))


@EVERY
def test_every_metric_is_explained_with_its_facts_and_a_worked_example(ask, name):
    code, out, err = ask("explain", name)
    assert code == 0, err
    lines = out.splitlines()
    assert lines[0] == name
    assert lines[2] == METRICS[name].function.__doc__.splitlines()[0]
    told = ("unit", "bounds", "collapse when", "rows", "constant layer", "source", "made to see", "not made to see")
    assert all(any(line.startswith(fact + " ") for line in lines) for fact in told)
    assert " healthy (ok)" in lines[-2]


@EVERY
def test_a_planted_collapse_of_a_kind_that_a_metric_sees_moves_it_to_its_bad_side(name):
    found = example(name)
    assert found.healthy.status == "ok"
    assert found.collapsed.status in ("ok", "capped")
    if METRICS[name].collapse_when == "low":
        assert found.collapsed.value < 0.9 * found.healthy.value
    elif METRICS[name].collapse_when == "high":
        assert found.collapsed.value > found.healthy.value + 0.05 * abs(found.healthy.value)


@pytest.mark.parametrize("kind", list(PLANTS))
def test_a_plant_keeps_shape_and_type_and_leaves_the_healthy_features_alone(kind):
    x = healthy_features()
    planted = PLANTS[kind][1](x)
    assert (planted.shape, planted.dtype) == (x.shape, x.dtype)
    assert not torch.equal(planted, x)
    assert torch.equal(x, healthy_features())


def test_an_explanation_is_one_json_document(ask):
    code, out, _ = ask("explain", "condition_number", "--json")
    document = json.loads(out)
    assert code == 0
    assert (document["kind"], document["name"]) == ("metric", "condition_number")
    assert document["facts"]["bounds"] == [1, None]
    assert document["facts"]["made to see"] == ["dimensional", "dead"]
    assert document["example"]["healthy"]["value"] < document["example"]["collapsed"]["value"]
    assert document["example"]["collapsed"]["status"] == "capped"
    assert document["example"]["healthy"]["n_images"] == 200


def test_every_example_is_worked_out_in_under_a_second():
    for name in METRICS:
        began = time.perf_counter()
        example(name)
        assert time.perf_counter() - began < 1, name
