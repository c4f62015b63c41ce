"""GRN: the formula, its written-out gradient, and where it is nothing at all."""

from __future__ import annotations

import pytest
import torch

from collapse_lab.models.convnext import build_model
from collapse_lab.models.response import GRN, RESPONSES
from tests.models.reference_encoder import grn as slow_grn
from tests.tolerances import EXACT64


def gate(channels: int, *, seed: int = 0) -> GRN:
    """GRN away from its start, where most terms vanish."""
    module = GRN(channels).double()
    source = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        parameter.data.normal_(generator=source)
    return module


def features(images: int = 3, positions: int = 5, channels: int = 4) -> torch.Tensor:
    return torch.randn(images, positions, channels, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_grn_is_the_formula():
    x, module = features(), gate(4)
    energy = (x**2).sum(dim=1).sqrt()  # (N, C)
    share = energy / (energy.mean(dim=1, keepdim=True) + 1e-6)
    expected = module.gamma * x * share[:, None, :] + module.beta + x
    assert (module(x) - expected).abs().max() < EXACT64


def test_grn_leaves_out_positions_that_only_fill_up():
    x, module = features(), gate(4)
    visible = torch.tensor([[1, 1, 1, 0, 0], [1, 0, 0, 0, 0], [1, 1, 1, 1, 1]], dtype=torch.bool)
    filled = module(torch.where(visible[:, :, None], x, 1e9), visible)
    for image, seen in enumerate(visible):
        alone = module(x[image : image + 1, seen])
        assert (filled[image, seen] - alone).abs().max() < EXACT64


def test_grn_equals_the_reference_of_the_encoder():
    x, module = features(), gate(4)
    maps = x.transpose(1, 2)[:, :, :, None]  # (N, C, P, 1)
    expected = slow_grn(maps, module.gamma, module.beta, torch.ones(3, 1, 5, 1, dtype=torch.float64))
    assert (module(x) - expected[..., 0].transpose(1, 2)).abs().max() < EXACT64


def test_gradient_of_grn_is_the_derivative_of_the_formula():
    module, x = gate(4), features()
    parameters = (x.requires_grad_(), module.gamma.detach().requires_grad_(), module.beta.detach().requires_grad_())

    def respond(x, gamma, beta):
        return torch.func.functional_call(module, {"gamma": gamma, "beta": beta}, (x,))

    assert torch.autograd.gradcheck(respond, parameters)
    assert torch.autograd.gradgradcheck(respond, parameters)


def test_gradient_of_grn_at_an_all_zero_channel_is_finite_and_that_of_its_neighbours_is_exact():
    module, x = gate(4), features()
    x[1, :, 2] = 0
    x[2] = 0  # a whole image
    x.requires_grad_()
    weights = features(channels=4).flip(0)
    (gradient,) = torch.autograd.grad((module(x) * weights).sum(), x)
    maps = x.transpose(1, 2)[:, :, :, None]
    slow = slow_grn(maps, module.gamma, module.beta, torch.ones(3, 1, 5, 1, dtype=torch.float64))
    (expected,) = torch.autograd.grad((slow[..., 0].transpose(1, 2) * weights).sum(), x)
    assert gradient.isfinite().all()
    assert (gradient - expected).abs().max() < EXACT64


def test_closed_grn_is_no_grn_bit_for_bit():
    x = torch.randn(2, 7, 4)
    assert torch.equal(GRN(4)(x), x)
    images = torch.rand(2, 3, 32, 32)
    outputs, gradients = [], []
    for response in ("grn", "none"):
        model = build_model("convnext_digits", response=response, layer_scale=None)
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


@pytest.mark.parametrize("name", RESPONSES)
def test_every_response_starts_as_the_identity_and_keeps_the_shape(name):
    x = torch.randn(2, 5, 8)
    assert torch.equal(RESPONSES[name](8)(x), x)
