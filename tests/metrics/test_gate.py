"""Known values of how an image's energy is spread over its channels."""

from __future__ import annotations

import math

import pytest
import torch

from collapse_lab.metrics._metric import METRICS, measure
from collapse_lab.metrics.gate import gate_entropy, gate_gini, gate_largest_share, gate_response, gate_variation
from collapse_lab.models.responses.grn import GRN
from collapse_lab.stats.accumulate import Accumulator, stats_of, summarise
from tests import reference
from tests.metrics.planted import features, normal
from tests.tolerances import EXACT64, ORDER, PINNED

NAMES = ("gate_variation", "gate_gini", "gate_largest_share", "gate_entropy")


@pytest.mark.parametrize("positions", [1, 4])
@pytest.mark.parametrize("name", NAMES)
def test_gates_are_their_definition_image_by_image(name, positions):
    x = features(4, positions=positions, channels=7)
    expected = sum(reference.gate_facts(image.numpy())[name] for image in x) / len(x)
    assert METRICS[name].function(stats_of(x)) == pytest.approx(expected, rel=EXACT64)


@pytest.mark.parametrize("channels", [1, 3, 16])
def test_equal_energies_are_spread_evenly(channels):
    x = normal(9, 5, 1).repeat(1, 1, channels)
    x[:, :, ::2] *= -1
    stats = stats_of(x)
    assert gate_variation(stats) == pytest.approx(0, abs=PINNED)
    assert gate_gini(stats) == pytest.approx(0, abs=PINNED)
    assert gate_largest_share(stats) == pytest.approx(1 / channels, rel=PINNED)
    assert gate_entropy(stats) == pytest.approx(1, rel=PINNED)


@pytest.mark.parametrize("channels", [2, 16])
def test_one_live_channel_holds_everything(channels):
    x = torch.zeros(9, 5, channels, dtype=torch.float64)
    x[torch.arange(9), :, torch.arange(9) % channels] = normal(9, 5)  # another one in each image
    stats = stats_of(x)
    assert gate_variation(stats) == pytest.approx(math.sqrt(channels - 1), rel=PINNED)
    assert gate_gini(stats) == pytest.approx((channels - 1) / channels, rel=PINNED)
    assert gate_largest_share(stats) == 1
    assert gate_entropy(stats) == pytest.approx(1 / channels, rel=PINNED)


@pytest.mark.parametrize("name", NAMES)
def test_the_bounds_are_those_of_equal_energies_and_of_one_live_channel(name):
    equal = torch.ones(9, 5, 64, dtype=torch.float64)
    reached = sorted(METRICS[name].function(stats_of(x)) for x in (equal, equal * torch.eye(64)[0]))
    low, high = METRICS[name].bounds
    assert low == pytest.approx(reached[0], abs=1 / 64)
    assert high == (None if name == "gate_variation" else pytest.approx(reached[1], abs=1 / 64))


def test_the_gate_averages_to_one_over_channels_and_is_that_of_the_module():
    x = normal(20, 4, 6) + torch.arange(6.0)
    response = gate_response(stats_of(x))
    assert response.mean().item() == pytest.approx(1, rel=PINNED)
    module = GRN(6).double()
    module.gamma.data.fill_(1)
    gain = (module(x) / x - 1).mean(dim=(0, 1))  # y = x (1 + N)
    assert torch.allclose(gain, response, rtol=GRN.eps)  # which the module adds to a divisor of some 5
    assert torch.allclose(gate_response(stats_of(1e9 * x)), response, rtol=EXACT64)


def test_an_image_without_energy_has_no_gate_and_is_left_out():
    x = features(3)
    padded = torch.cat([x, torch.zeros(5, *x.shape[1:])])
    for name in NAMES:
        assert measure(name, stats_of(padded)).value == pytest.approx(measure(name, stats_of(x)).value, rel=EXACT64)
    assert torch.allclose(gate_response(stats_of(padded)), gate_response(stats_of(x)), rtol=EXACT64)


@pytest.mark.parametrize("name", NAMES)
def test_without_any_energy_there_is_no_value(name):
    measured = measure(name, stats_of(torch.zeros(9, 3, 4)))
    assert (measured.status, measured.reason) == ("degenerate", "no image has energy in any channel")
    assert math.isnan(measured.value)
    assert gate_response(stats_of(torch.zeros(9, 3, 4))).isnan().all()


@pytest.mark.parametrize("name", NAMES)
def test_only_visible_positions_have_energy(name):
    x, visible = features(5, positions=6), torch.arange(6).expand(12, 6) < 4
    masked = summarise(x, torch.arange(12), ("sampled:2",), visible=visible)["sampled:2"]
    assert METRICS[name].function(masked) == pytest.approx(METRICS[name].function(stats_of(x[:, :4])), rel=EXACT64)


@pytest.mark.parametrize("size", [1, 7, 137, 150])
def test_the_gate_of_each_channel_streams(size):
    x, ids = features(6, images=150), torch.arange(150)
    x[40:60] = 0
    accumulator = Accumulator(("pooled",), groups=4)
    for part in ids.split(size):
        accumulator.update(x[part], ids[part])
    streamed, _ = accumulator.compute("pooled")
    whole = stats_of(x)
    assert streamed.images.n_gate == whole.images.n_gate == 130
    assert torch.allclose(gate_response(streamed), gate_response(whole), rtol=ORDER)


def test_copies_of_one_channel_are_as_even_as_independent_channels():
    copies, apart = stats_of(normal(50, 64, 1).repeat(1, 1, 8)), stats_of(normal(50, 64, 8))
    assert gate_entropy(copies) == pytest.approx(gate_entropy(apart), abs=0.01)
