"""What decays, and how the learning rate goes."""

from __future__ import annotations

import math

import pytest

from collapse_lab.models.build import build_model
from collapse_lab.objectives.fcmae import FCMAE
from collapse_lab.train.optim import adamw, learning_rate
from tests.tolerances import PINNED


def test_weights_decay_and_norms_biases_gates_scales_and_the_mask_token_do_not():
    model = FCMAE(build_model("convnext_digits", response="grn", layer_scale=1e-6, classes=10), decoder_dim=8)
    optimizer = adamw(model, 1e-3, (0.9, 0.95), 0.05)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    decayed, still = ({names[id(parameter)] for parameter in group["params"]} for group in optimizer.param_groups)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.05, 0.0]
    assert decayed | still == set(names.values())
    assert {name.rpartition(".")[2] for name in decayed} == {"weight"}
    assert {name.rpartition(".")[2] for name in still} == {
        "weight",
        "bias",
        "gamma",
        "beta",
        "layer_scale",
        "mask_token",
    }
    assert {name for name in still if name.endswith("weight")} == {
        name for name in names.values() if name.endswith("norm.weight")
    }


@pytest.mark.parametrize(
    ("step", "share"), [(0, 0.25), (1, 0.5), (3, 1.0), (4, 1.0), (7, 0.5 + 0.5 / 2**0.5), (10, 0.5)]
)
def test_the_learning_rate_rises_in_a_line_and_falls_in_half_a_cosine(step, share):
    assert learning_rate(step, 16, 4, 2.0) == pytest.approx(2 * share, rel=PINNED)


def test_without_a_warm_up_the_peak_comes_first_and_the_last_step_still_moves():
    assert learning_rate(0, 100, 0, 1e-3) == 1e-3
    assert learning_rate(99, 100, 0, 1e-3) == pytest.approx(1e-3 * (1 - math.cos(math.pi / 100)) / 2, rel=PINNED)


def test_the_cosine_falls_to_the_least_rate_and_begins_at_the_peak():
    rates = [learning_rate(step, 1000, 0, 1.0, 0.25) for step in range(1000)]
    assert rates[0] == 1
    assert rates[500] == pytest.approx(0.625, rel=PINNED)
    assert 0.25 < rates[-1] < 0.25001
    assert learning_rate(1, 1000, 4, 1.0, 0.25) == 0.5  # the warm-up starts from 0 all the same


def test_a_warm_up_longer_than_the_run_only_rises():
    assert [learning_rate(step, 2, 4, 1.0) for step in range(2)] == [0.25, 0.5]
