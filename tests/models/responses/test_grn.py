"""GRN: the formula, its written-out gradient, and where it is nothing at all."""

from __future__ import annotations

import pytest
import torch

from collapse_lab.models.build import build_model
from collapse_lab.models.grid import VisibleCells
from collapse_lab.models.responses.ablations import GRNVariant
from collapse_lab.models.responses.grn import GRN
from tests.models.networks import feature_maps, random_response
from tests.models.responses.reference import grn as slow_grn
from tests.tolerances import EXACT64


def gate(channels: int) -> GRN:
    return random_response(GRN, channels)


def features(images: int = 3, positions: int = 5, channels: int = 4) -> torch.Tensor:
    return torch.randn(images, positions, channels, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def reference(x: torch.Tensor, module: GRN) -> torch.Tensor:
    maps = x.transpose(1, 2)[:, :, :, None]  # (N, C, P, 1)
    visible = torch.ones(len(x), 1, x.shape[1], 1, dtype=x.dtype)
    return slow_grn(maps, visible, dict(module.named_parameters()))[..., 0].transpose(1, 2)


def test_grn_is_the_formula():
    x, module = features(), gate(4)
    energy = (x**2).sum(dim=1).sqrt()  # (N, C)
    share = energy / (energy.mean(dim=1, keepdim=True) + 1e-6)
    expected = module.gamma * x * share[:, None, :] + module.beta + x
    assert (module(x) - expected).abs().max() < EXACT64


def test_grn_leaves_out_positions_that_only_fill_up():
    removed = torch.tensor([[0, 0, 0, 1], [1, 0, 1, 1], [0, 0, 0, 0]], dtype=torch.bool)
    (x, grid), module = VisibleCells.of(feature_maps(3, 5, 1, 4), removed, 1), gate(5)
    filled = module(x, grid)
    for image, seen in enumerate(grid.visible):
        alone = module(x[image : image + 1, seen])
        assert (filled[image, seen] - alone).abs().max() < EXACT64


def test_grn_equals_the_reference_of_the_encoder():
    x, module = features(), gate(4)
    assert (module(x) - reference(x, module)).abs().max() < EXACT64


def test_the_variant_that_exchanges_nothing_is_grn_with_its_gradients():
    x, module, variant = features().requires_grad_(), gate(4), random_response(GRNVariant, 4)
    found = []
    for each in (module, variant):
        output = each(x)
        found.append([output, *torch.autograd.grad(output.square().sum(), [x, *each.parameters()])])
    assert all((one - other).abs().max() < EXACT64 for one, other in zip(*found, strict=True))


def test_second_derivatives_of_grn_are_those_of_the_formula():
    module, x = gate(4), features()
    parameters = (x.requires_grad_(), module.gamma.detach().requires_grad_(), module.beta.detach().requires_grad_())

    def respond(x, gamma, beta):
        return torch.func.functional_call(module, {"gamma": gamma, "beta": beta}, (x,))

    assert torch.autograd.gradgradcheck(respond, parameters)


def test_gradient_of_grn_at_an_all_zero_channel_is_finite_and_that_of_its_neighbours_is_exact():
    module, x = gate(4), features()
    x[1, :, 2] = 0
    x[2] = 0  # a whole image
    x.requires_grad_()
    weights = features(channels=4).flip(0)
    (gradient,) = torch.autograd.grad((module(x) * weights).sum(), x)
    (expected,) = torch.autograd.grad((reference(x, module) * weights).sum(), x)
    assert gradient.isfinite().all()
    assert (gradient - expected).abs().max() < EXACT64


@pytest.mark.parametrize("response", ["grn", "affine"])
def test_a_closed_response_is_no_response_bit_for_bit(response):
    images = torch.rand(2, 3, 32, 32)
    outputs, gradients = [], []
    for name in (response, "none"):
        model = build_model("convnext_digits", response=name, layer_scale=None)
        outputs.append(model.forward_features(images))
        outputs[-1].square().sum().backward()
        gradients.append({name: value.grad for name, value in model.named_parameters()})
    assert torch.equal(*outputs)
    assert all(torch.equal(gradients[0][name], value) for name, value in gradients[1].items())


def test_grn_keeps_one_large_tensor_for_its_gradient():
    module, x, kept = gate(64), features(2, 100, 64).requires_grad_(), []
    with torch.autograd.graph.saved_tensors_hooks(lambda value: kept.append(value) or value, lambda value: value):
        module(x)
    assert sum(value.numel() == x.numel() for value in kept) == 1
