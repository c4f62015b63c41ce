"""Pre-training with GRN pooled over each image, and over the batch as the official sparse encoder does."""

from __future__ import annotations

import pytest
import torch

from collapse_lab.models.responses.table import RESPONSES
from collapse_lab.objectives.fcmae import FCMAE
from tests.models.networks import random_images, small
from tests.tolerances import EXACT64

REMOVED = torch.tensor([[1, 0, 1, 0, 1, 1], [0, 1, 1, 1, 0, 1], [1, 1, 0, 1, 1, 1]], dtype=torch.bool)


def objective(response: str) -> FCMAE:
    return FCMAE(small((1, 1, 1), (4, 8, 12), response=response), decoder_dim=16).double()


def prediction(response: str, contrast: float) -> torch.Tensor:
    """Of image 0, beside two others at this contrast."""
    images = random_images(3, 16, 24, seed=1) * torch.tensor([1, contrast, contrast])[:, None, None, None]
    return objective(response)(images, removed=REMOVED).prediction[0]


@pytest.mark.parametrize("response", [name for name in RESPONSES if name != "none"])
def test_a_prediction_depends_on_the_rest_of_the_batch_only_where_the_response_pools_over_it(response):
    alone, beside = prediction(response, 1.0), prediction(response, 3.0)
    assert ((alone - beside).abs().max() > EXACT64) == (RESPONSES[response].over == "batch")


def test_both_pools_are_one_where_the_batch_is_one_image():
    images = random_images(1, 16, 24, seed=1)
    one, other = (objective(response)(images, removed=REMOVED[:1]) for response in ("grn", "grn_batch"))
    assert (one.prediction - other.prediction).abs().max() < EXACT64


@pytest.mark.parametrize("response", RESPONSES)
def test_a_pre_training_step_lowers_a_finite_loss(response):
    module, images = objective(response), random_images(3, 16, 24, seed=1)
    optimizer = torch.optim.SGD(module.parameters(), lr=1e-3)
    before = module(images, removed=REMOVED).loss
    before.backward()
    assert all(parameter.grad.isfinite().all() for parameter in module.parameters())
    optimizer.step()
    assert module(images, removed=REMOVED).loss < before
