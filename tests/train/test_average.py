"""The running average of weights against its closed form."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from collapse_lab.train.average import Average
from tests.tolerances import EXACT32


@pytest.mark.parametrize("decay", [0.5, 0.9, 0.999])
def test_the_average_is_its_closed_form(decay):
    module = nn.Linear(3, 2)
    average = Average(module, decay)
    weights = [module.weight.detach().double().clone()]
    for step in range(1, 8):
        with torch.no_grad():
            module.weight.copy_(torch.full((2, 3), float(step**2)))
        weights.append(module.weight.detach().double().clone())
        average.update(module)
    steps = len(weights) - 1
    expected = decay**steps * weights[0]
    for step, weight in enumerate(weights[1:], 1):
        expected = expected + (1 - decay) * decay ** (steps - step) * weight
    torch.testing.assert_close(average.state["weight"].double(), expected, rtol=EXACT32, atol=EXACT32)


def test_buffers_are_averaged_and_counters_copied():
    module = nn.BatchNorm1d(2).train()
    average = Average(module, 0.75)
    module(torch.tensor([[0.0, 4.0], [2.0, 8.0]]))
    average.update(module)
    assert average.state["num_batches_tracked"] == 1
    torch.testing.assert_close(average.state["running_mean"], 0.25 * module.running_mean)


def test_constant_weights_are_their_own_average_and_the_module_is_left_alone():
    module = nn.Linear(3, 2)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    average = Average(module, 0.99)
    for _ in range(50):
        average.update(module)
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name])
        torch.testing.assert_close(average.state[name], before[name])


def test_a_saved_average_goes_on_and_that_of_another_module_is_refused():
    module, other = nn.Linear(3, 2), nn.Linear(3, 2)
    average = Average(module, 0.9)
    again = Average(other, 0.9)
    again.load_state_dict(average.state_dict())
    assert all(torch.equal(again.state[name], value) for name, value in average.state.items())
    with pytest.raises(ValueError, match="an average of 1 tensors is not one of these 2"):
        again.load_state_dict({"weight": torch.zeros(2, 3)})
    with pytest.raises(ValueError, match="lies between 0 and 1, got 1"):
        Average(module, 1)
