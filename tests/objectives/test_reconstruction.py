"""Pictures from predictions: the right pixels in the right places, in the images' own values."""

from __future__ import annotations

import pytest
import torch

from collapse_lab.draws import Draws
from collapse_lab.objectives.fcmae import FCMAE
from collapse_lab.objectives.outcome import Objective
from collapse_lab.objectives.pixels import cell_statistics, from_patches, normalised, patches
from collapse_lab.objectives.reconstruction import reconstruct
from tests.models.networks import ragged_removed, random_images, small
from tests.tolerances import EXACT64, PINNED


def objective(**options) -> FCMAE:
    return FCMAE(small((1, 1), (4, 8)), decoder_dim=8, **options).double().eval()


def predicting(cell: torch.Tensor, **options) -> FCMAE:
    """One that predicts these values for every cell, whatever it sees."""
    module = objective(**options)
    module.predict.weight.data.zero_()
    module.predict.bias.data.copy_(cell)
    return module


@pytest.mark.parametrize("shape", [(2, 3, 8, 12), (1, 5, 4, 4), (3, 1, 12, 4)])
def test_images_of_their_own_patches_are_the_images(shape):
    images = torch.rand(shape)
    assert torch.equal(from_patches(patches(images, 4), 4, *shape[2:]), images)


@pytest.mark.parametrize("norm_pix", [True, False])
def test_a_prediction_that_is_right_gives_the_image_back(norm_pix):
    cell = random_images(1, 4, 4, seed=0) * 0.2 + 0.4
    images = cell.repeat(1, 1, 2, 3)
    target = patches(cell, 4)[0, 0]
    right = normalised(target) if norm_pix else target
    made = reconstruct(predicting(right, norm_pix=norm_pix), images, removed=ragged_removed(1, 6, 0.5, seed=2))
    assert (made.prediction - images).abs().max() < PINNED
    assert (made.pasted - images).abs().max() < PINNED
    assert made.error.item() < PINNED


def test_un_normalised_cells_have_their_true_mean_and_deviation():
    noise = random_images(1, 4, 4, seed=3)
    images = random_images(2, 8, 12, seed=4) * 3 + 1
    made = reconstruct(predicting(normalised(patches(noise, 4)[0, 0])), images, mask_ratio=0.5)
    for found, true in zip(
        cell_statistics(patches(made.prediction, 4)), cell_statistics(patches(images, 4)), strict=True
    ):
        assert (found - true).abs().max() < 1e-5  # 1e-6 under the root twice


def test_visible_pixels_are_pasted_and_hidden_ones_predicted():
    module, images = objective(), random_images(2, 8, 12, seed=1)
    removed = ragged_removed(2, 6, 0.5, seed=2)
    made = reconstruct(module, images, removed=removed)
    for image in range(2):
        for cell in range(6):
            top, left = cell // 3 * 4, cell % 3 * 4
            place = (image, slice(None), slice(top, top + 4), slice(left, left + 4))
            assert made.hidden[place].all() == removed[image, cell] == made.hidden[place].any()
            source = made.prediction if removed[image, cell] else images
            assert torch.equal(made.pasted[place], source[place])


@pytest.mark.parametrize("norm_pix", [True, False])
def test_errors_of_images_average_to_the_loss_by_their_removed_cells(norm_pix):
    module, images = objective(norm_pix=norm_pix), random_images(3, 8, 12, seed=1)
    removed = ragged_removed(3, 6, 0.5, seed=2)
    made = reconstruct(module, images, removed=removed)
    counts = removed.sum(dim=1)
    loss = module(images, removed=removed).loss
    assert ((made.error * counts).sum() / counts.sum()).item() == pytest.approx(loss.item(), rel=EXACT64)


def test_an_image_without_a_removed_cell_has_no_error():
    removed = torch.tensor([[False] * 6, [True] + [False] * 5])
    made = reconstruct(objective(), random_images(2, 8, 12, seed=1), removed=removed)
    assert made.error.isnan().tolist() == [True, False]
    assert torch.equal(made.pasted[0], random_images(2, 8, 12, seed=1)[0])


def test_the_share_removed_is_the_objectives_own_or_the_one_asked_for():
    module, images = objective(mask_ratio=0.5), random_images(1, 8, 12, seed=1)
    assert reconstruct(module, images).removed.sum() == 3
    assert reconstruct(module, images, mask_ratio=0.8).removed.sum() == 5


def test_the_mask_of_an_image_follows_its_identity_whatever_stands_beside_it():
    module, images = objective(), random_images(3, 8, 12, seed=1)
    whole = reconstruct(module, images, generator=Draws(seed=1, step=0, index=torch.tensor([7, 5, 9])))
    alone = reconstruct(module, images[1:2], generator=Draws(seed=1, step=0, index=torch.tensor([5])))
    assert torch.equal(whole.removed[1:2], alone.removed)
    assert (whole.prediction[1:2] - alone.prediction).abs().max() < EXACT64


def test_what_cannot_be_reconstructed_is_refused():
    with pytest.raises(TypeError, match=r"Objective predicts no pixels of removed cells; .* takes FCMAE or MAE"):
        reconstruct(Objective(), random_images(1, 8, 8, seed=0))
    with pytest.raises(ValueError, match="nearest size that fits is 8 x 8"):
        reconstruct(objective(), random_images(1, 9, 8, seed=0))
    with pytest.raises(ValueError, match="keeps 0 of 4 cells"):
        reconstruct(objective(), random_images(1, 8, 8, seed=0), mask_ratio=0.9)
