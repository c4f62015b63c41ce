"""Each response on one 2 x 2 array, by hand, and against torch's own layers."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from collapse_lab.models.grid import AllPositions, VisibleCells
from collapse_lab.models.responses.norms import BN
from collapse_lab.models.responses.table import RESPONSES
from tests.models.networks import feature_maps, random_response
from tests.tolerances import EXACT32, EXACT64

# Two positions, two channels. Over positions: L2 norms 5 and 13, sums of |x| 7 and 17, means -1/2 and 17/2.
X = torch.tensor([[3.0, 5.0], [-4.0, 12.0]], dtype=torch.float64)
GAMMA, BETA = torch.tensor([2.0, -1.0], dtype=torch.float64), torch.tensor([0.5, 1.0], dtype=torch.float64)
CALIBRATION = {"gamma": GAMMA, "beta": BETA}
UNIT = {"weight": [1, 1], "bias": [0, 0]}
# z = 3.75 from the means, 9 from the maxima 3 and 12: gates 1/2 and sigmoid(log 3) = 3/4.
SQUEEZE = {"reduce.weight": [[1, 0.5]]}
RIGHT_OF_THE_MAXIMA = torch.zeros(2, 1, 7, 7, dtype=torch.float64)
RIGHT_OF_THE_MAXIMA[1, 0, 3, 4] = math.log(3) / 9


def calibrated(first: float, second: float, residual: int = 1) -> Tensor:
    """gamma * x * N + beta + x with these two N."""
    return GAMMA * X * torch.tensor([first, second], dtype=torch.float64) + BETA + residual * X


BY_HAND: dict[str, tuple[dict[str, object], Tensor | list[list[float]]]] = {
    "none": ({}, X),
    "grn": (CALIBRATION, calibrated(5 / 9, 13 / 9)),
    "grn_batch": (CALIBRATION, calibrated(5 / 9, 13 / 9)),
    "grn_avg": (CALIBRATION, calibrated(-1 / 8, 17 / 8)),
    "grn_l1": (CALIBRATION, calibrated(7 / 12, 17 / 12)),
    "grn_standardise": (CALIBRATION, calibrated(-1, 1)),
    "grn_inverse_sum": (CALIBRATION, calibrated(1 / 9, 1 / 9)),
    "grn_no_residual": (CALIBRATION, calibrated(5 / 9, 13 / 9, residual=0)),
    "affine": (CALIBRATION, calibrated(1, 1)),
    "times_g": ({}, [[15, 65], [-20, 156]]),
    "times_n": ({}, [[9 / 4, 25 / 4], [4, 36]]),
    "lrn": ({}, (X.T / (1 + 1e-4 * torch.tensor([34, 160]) / 5) ** 0.75).T),
    "bn": (UNIT, [[1, -1], [-1, 1]]),
    "ln": (UNIT, [[-1, 1], [-1, 1]]),
    "se": ({**SQUEEZE, "excite.weight": [[0], [math.log(3) / 3.75]]}, [[1.5, 3.75], [-2, 9]]),
    "cbam": (
        {**SQUEEZE, "excite.weight": [[0], [math.log(3) / 12.75]], "spatial": RIGHT_OF_THE_MAXIMA},
        [[1.125, 2.8125], [-1, 4.5]],  # what se gives, times 3/4 where a maximum of 9 stands to the right, else 1/2
    ),
}


@pytest.mark.parametrize("name", RESPONSES)
def test_a_response_has_the_value_that_is_found_by_hand(name):
    state, expected = BY_HAND[name]
    module = RESPONSES[name](2).double()
    module.load_state_dict({key: torch.as_tensor(value) for key, value in state.items()}, strict=name != "bn")
    found = module(X[None], AllPositions(1, 2))[0]
    torch.testing.assert_close(found, torch.as_tensor(expected, dtype=torch.float64), rtol=EXACT32, atol=0)


def test_the_official_sparse_grn_of_an_image_depends_on_its_batch():
    module = RESPONSES["grn_batch"](2).double()
    module.load_state_dict(CALIBRATION)
    other = torch.tensor([[12.0, 0.0], [0.0, 84.0]], dtype=torch.float64)
    found = module(torch.stack([X, other]))[0]  # norms of the batch: 13 and 85
    torch.testing.assert_close(found, calibrated(13 / 49, 85 / 49), rtol=EXACT32, atol=0)


COUNT_CANCELS = ("grn", "grn_avg", "grn_l1", "grn_standardise", "grn_no_residual")


@pytest.mark.parametrize("name", COUNT_CANCELS)
def test_seeing_every_position_four_times_changes_nothing(name):
    module = random_response(RESPONSES[name], 2)
    assert (module(X.repeat(4, 1)[None])[0, :2] - module(X[None])[0]).abs().max() < EXACT32


@pytest.mark.parametrize(("name", "factor"), [("grn_inverse_sum", 1 / 2), ("times_g", 2)])
def test_without_a_quotient_of_norms_the_number_of_positions_counts_by_its_root(name, factor):
    module = RESPONSES[name](2).double()
    if name == "grn_inverse_sum":
        module.load_state_dict({"gamma": torch.ones(2), "beta": torch.zeros(2)})
    rest = module.identity * X
    gain, gain_of_four = (module(X.repeat(times, 1)[None])[0, :2] - rest for times in (1, 4))
    torch.testing.assert_close(gain_of_four, factor * gain, rtol=EXACT32, atol=0)


def test_lrn_is_that_of_torch():
    maps = 30 * feature_maps(2, 9, 3, 4)
    found = RESPONSES["lrn"](9)(maps.flatten(2).transpose(1, 2))
    expected = nn.LocalResponseNorm(5)(maps).flatten(2).transpose(1, 2)
    assert (found - expected).abs().max() < EXACT64


REMOVED = torch.tensor([[0, 0, 1, 0], [1, 1, 1, 1], [0, 1, 1, 1]], dtype=torch.bool)


def test_bn_is_that_of_torch_on_the_visible_rows_in_training_and_after():
    ours, theirs = random_response(BN, 5), nn.BatchNorm1d(5).double()
    theirs.load_state_dict({**ours.state_dict(), "num_batches_tracked": torch.zeros(())})
    for step in range(3):
        x, grid = VisibleCells.of(feature_maps(3, 5, 1, 4) * (step + 1), REMOVED, 1)
        assert (ours(x, grid)[grid.visible] - theirs(x[grid.visible])).abs().max() < EXACT64
    assert (ours.running_mean - theirs.running_mean).abs().max() < EXACT64
    assert (ours.running_var - theirs.running_var).abs().max() < EXACT64
    assert (ours.eval()(x, grid)[grid.visible] - theirs.eval()(x[grid.visible])).abs().max() < EXACT64


def test_bn_in_eval_mode_sees_no_other_image_and_changes_nothing():
    module, x = random_response(BN, 5).eval(), feature_maps(3, 5, 1, 4).flatten(2).transpose(1, 2)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    assert torch.equal(module(x)[:1], module(x[:1]))
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


@pytest.mark.parametrize("seen", [0, 1])
def test_a_batch_of_one_visible_row_or_none_gives_bn_its_bias_and_leaves_what_is_running(seen):
    module = random_response(BN, 5)
    removed = torch.ones(2, 4, dtype=torch.bool)
    removed[0, :seen] = False
    x, grid = VisibleCells.of(feature_maps(2, 5, 1, 4), removed, 1)
    output = module(x, grid)[grid.visible]
    assert len(output) == seen
    assert torch.equal(output, module.bias.expand(seen, 5))
    assert torch.equal(module.running_mean, torch.zeros(5, dtype=torch.float64))
    assert torch.equal(module.running_var, torch.ones(5, dtype=torch.float64))


def test_bn_takes_statistics_of_half_precision_in_float32():
    module = BN(2)
    x = torch.full((1, 3000, 2), 100.0, dtype=torch.bfloat16)
    x[0, ::2] += 1
    assert module(x).dtype == torch.bfloat16
    assert module.running_mean.tolist() == pytest.approx([10.05, 10.05], rel=EXACT32)
    assert module(x).float()[0, :2, 0].tolist() == pytest.approx([1, -1], rel=1e-4)
