"""The visible-only encoder is submanifold sparse convolution: against coordinate lists, at every occupancy."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from collapse_lab.models.convnext import ConvNeXt
from tests.models import submanifold
from tests.models.networks import distance, random_images, small
from tests.tolerances import EXACT64

SIDE = 10
"""Cells along each axis: 1 % of them is one cell."""


def keep_cells(kept: list[int], rows: int, columns: int) -> Tensor:
    """(1, L) bool, all removed but these."""
    removed = torch.ones(1, rows * columns, dtype=torch.bool)
    removed[0, kept] = False
    return removed


def both_ways(model: ConvNeXt, image: Tensor, removed: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Values at visible cells, and the gradient of the image and of every parameter: ours, and of the lists."""
    state, depths = dict(model.named_parameters()), model.architecture["depths"]
    columns = image.shape[3] // model.stride
    image.requires_grad_()
    places = [divmod(cell, columns) for cell in (~removed[0]).nonzero().flatten().tolist()]
    sites = submanifold.encode_image(image[0], removed[0], state, depths, model.architecture["stem"])
    assert sorted(sites) == places  # the lists know of visible cells alone
    found = model.forward_masked(image, removed)
    answers = []
    for values in ([found[0, :, row, column] for row, column in places], [sites[place] for place in places]):
        output = torch.stack(values)
        # A weighted sum, so that no two cells or channels can be swapped unnoticed.
        weights = torch.linspace(-1, 2, output.numel(), dtype=output.dtype).reshape(output.shape)
        answers.append([output.detach(), *torch.autograd.grad((output * weights).sum(), [image, *state.values()])])
    return answers[0], answers[1]


@pytest.mark.parametrize("percent", [1, 5, 25, 39, 60, 90, 100])
def test_encoder_is_submanifold_convolution_at_every_occupancy(percent):
    model = small((1, 1), (4, 6))
    order = torch.randperm(SIDE**2, generator=torch.Generator().manual_seed(percent)).tolist()
    image = random_images(1, SIDE * model.stride, SIDE * model.stride, seed=percent)
    ours, lists = both_ways(model, image, keep_cells(order[:percent], SIDE, SIDE))
    assert max(map(distance, ours, lists)) < EXACT64


@pytest.mark.parametrize(("response", "layer_scale"), [("grn", None), ("none", 0.5), ("grn", 0.5)])
def test_three_stages_of_any_block_are_submanifold_convolution(response, layer_scale):
    model = small((1, 2, 1), (4, 6, 8), response=response, layer_scale=layer_scale)
    ours, lists = both_ways(model, random_images(1, 24, 40, seed=1), keep_cells([0, 2, 6, 7, 13], 3, 5))
    assert max(map(distance, ours, lists)) < EXACT64


@pytest.mark.parametrize("cell", range(6))
def test_a_single_visible_cell_anywhere_is_submanifold_convolution(cell):
    model = small((1, 1), (4, 6))
    ours, lists = both_ways(model, random_images(1, 8, 12, seed=2), keep_cells([cell], 2, 3))
    assert max(map(distance, ours, lists)) < EXACT64


def test_coordinate_lists_spread_to_no_new_site():
    """What tells submanifold from ordinary sparse convolution."""
    sites = {(5, 5): torch.ones(1, dtype=torch.float64), (5, 7): torch.full((1,), 10.0, dtype=torch.float64)}
    weight = torch.arange(49, dtype=torch.float64).reshape(1, 1, 7, 7)
    convolved = submanifold.depthwise(sites, weight, torch.tensor([0.5], dtype=torch.float64))
    # The centre is tap 24; two to the right is tap 26, two to the left tap 22.
    assert {place: x.item() for place, x in convolved.items()} == {(5, 5): 24 + 260.5, (5, 7): 240 + 22.5}
