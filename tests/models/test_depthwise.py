"""The fast depthwise convolution is the convolution: values, first and second derivatives, on every size of map."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from collapse_lab.models.depthwise import FEW_POSITIONS, depthwise

SIZES = [
    (1, 1),
    (2, 5),
    (8, 8),
    (9, 8),
    (3, 40),
    (40, 3),
    (16, 16),
]  # both sides of FEW_POSITIONS, narrower than a kernel


def _inputs(height: int, width: int, kernel: int = 7) -> list[torch.Tensor]:
    drawn = torch.Generator().manual_seed(height * 100 + width)
    shapes = ((3, 4, height, width), (4, 1, kernel, kernel), (4,))
    return [torch.randn(shape, dtype=torch.float64, generator=drawn, requires_grad=True) for shape in shapes]


def test_the_sizes_stand_on_both_sides_of_the_switch():
    assert {height * width <= FEW_POSITIONS for height, width in SIZES} == {True, False}


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("kernel", [1, 3, 7])
@pytest.mark.parametrize("channels_last", [False, True])
def test_values_and_gradients_are_those_of_conv2d(height, width, kernel, channels_last):
    maps, weight, bias = _inputs(height, width, kernel)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    found = depthwise(maps.contiguous(memory_format=layout), weight, bias)
    expected = F.conv2d(maps, weight, bias, padding=kernel // 2, groups=4)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    pull = torch.randn(found.shape, dtype=torch.float64)
    ours = torch.autograd.grad(found, (maps, weight, bias), pull)
    theirs = torch.autograd.grad(expected, (maps, weight, bias), pull)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


def test_second_derivatives_are_right():
    maps, weight, bias = (value[:2, :2] if value.ndim == 4 else value[:2] for value in _inputs(9, 9, 3))
    inputs = [value.detach()[:2].contiguous().requires_grad_() for value in (maps, weight, bias)]
    assert torch.autograd.gradgradcheck(depthwise, inputs)


def test_a_gradient_that_nobody_asks_for_is_not_taken():
    maps, weight, bias = _inputs(9, 9)
    (by_weight,) = torch.autograd.grad(depthwise(maps.detach(), weight, bias.detach()).sum(), weight)
    assert by_weight.shape == weight.shape
