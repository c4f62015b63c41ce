"""The fast depthwise convolution is the convolution: values, first and second derivatives, on every size of map."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from collapse_lab.models import depthwise as module
from collapse_lab.models.depthwise import depthwise
from collapse_lab.models.grid import LEAST_SIDE, VisibleCells
from tests.models.networks import ragged_removed

SIZES = [(1, 1), (2, 5), (8, 8), (9, 8), (3, 40), (40, 3), (16, 16)]  # some narrower than a kernel
SIDES = [1, 2, LEAST_SIDE, 2 * LEAST_SIDE]  # of cells: in whole maps, and each with its surroundings


def _inputs(height: int, width: int, kernel: int = 7) -> list[torch.Tensor]:
    drawn = torch.Generator().manual_seed(height * 100 + width)
    shapes = ((3, 4, height, width), (4, 1, kernel, kernel), (4,))
    return [torch.randn(shape, dtype=torch.float64, generator=drawn, requires_grad=True) for shape in shapes]


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


def cells_and_map(side: int, *, ragged: bool) -> tuple[torch.Tensor, VisibleCells, torch.Tensor]:
    """Features of some cells of 3 x 2 in each of three images, their grid, and where they lie on the map."""
    removed = ragged_removed(3, 6, 0.5, seed=4)
    if not ragged:
        removed = removed[1:2].expand(3, 6)
    drawn = torch.Generator().manual_seed(side)
    images = torch.randn(3, 4, 3 * side, 2 * side, dtype=torch.float64, generator=drawn)
    x, grid = VisibleCells.of(images, removed, side)
    visible = (~removed).double().reshape(3, 1, 3, 2).repeat_interleave(side, 2).repeat_interleave(side, 3)
    return x.requires_grad_(), grid, visible


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("kernel", [1, 3, 7])
@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("by_library", [False, True])  # what other devices use
def test_visible_cells_are_convolved_as_on_a_map_that_is_zero_elsewhere(side, kernel, ragged, by_library, monkeypatch):
    if by_library:
        monkeypatch.setattr(module, "BY_CONVOLUTION", frozenset())
    _, weight, bias = _inputs(1, 1, kernel)
    x, grid, visible = cells_and_map(side, ragged=ragged)
    found = grid.to_map(grid.depthwise(x, weight, bias))
    expected = F.conv2d(grid.to_map(x), weight, bias, padding=kernel // 2, groups=4) * visible
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    pull = torch.randn(found.shape, dtype=torch.float64)
    ours = torch.autograd.grad(found, (x, weight, bias), pull)
    theirs = torch.autograd.grad(expected, (x, weight, bias), pull)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("least", [1, 9], ids=["pieces", "whole maps"])
def test_second_derivatives_on_visible_cells_are_right(least, monkeypatch):
    monkeypatch.setattr("collapse_lab.models.grid.LEAST_SIDE", least)
    x, grid, _ = cells_and_map(1, ragged=True)
    weight, bias = (value.detach().requires_grad_() for value in _inputs(1, 1, 3)[1:])
    assert torch.autograd.gradgradcheck(lambda *given: grid.to_map(grid.depthwise(*given)), (x, weight, bias))
