"""MAE: its prediction by the definition, its published size, and what it refuses."""

from __future__ import annotations

import pytest
import torch

from collapse_lab.draws import Draws
from collapse_lab.models.build import build_model
from collapse_lab.objectives.mae import MAE
from collapse_lab.objectives.pixels import normalised, patches
from collapse_lab.objectives.reconstruction import reconstruct
from tests.models import reference_vit as slow
from tests.models.networks import ragged_removed, random_images, scatter, small, small_vit
from tests.tolerances import EXACT64


def objective(**options) -> MAE:
    module = MAE(small_vit(), **{"decoder_dim": 16, "decoder_depth": 2, "decoder_heads": 4, **options}).double()
    scatter(module, 1)
    return module


@pytest.mark.parametrize("norm_pix", [True, False])
@pytest.mark.parametrize("depth", [0, 2])
def test_prediction_and_loss_are_the_definition(norm_pix, depth):
    """The decoder is given visible patches, the mask token in all other places, and the class token."""
    module, images = objective(norm_pix=norm_pix, decoder_depth=depth), random_images(3, 8, 12, seed=1)
    removed = ragged_removed(3, 6, 0.6, seed=2)
    with torch.no_grad():
        outcome = module(images, removed=removed)
        classes, cells = slow.encode(images, removed, module.encoder.state_dict(), heads=3)
        expected = slow.decode(cells, removed, module.state_dict(), 4, (2, 3), before=classes)
    assert (outcome.prediction - expected).abs().max() < EXACT64
    target = normalised(patches(images, 4)) if norm_pix else patches(images, 4)
    error = (expected - target).square()[removed].mean()
    assert outcome.loss.item() == pytest.approx(error.item(), rel=EXACT64)


def test_three_of_four_patches_are_removed_without_a_word():
    module, images = objective(), random_images(2, 16, 16, seed=1)
    drawn = Draws(seed=1, step=2, index=torch.tensor([5, 9]))
    outcome = module(images, generator=drawn)
    assert outcome.removed.sum(dim=1).tolist() == [12, 12]
    assert torch.equal(module(images, removed=outcome.removed).loss, outcome.loss)


def test_loss_of_a_sample_does_not_depend_on_the_split_of_the_batch():
    module, images = objective(), random_images(4, 16, 16, seed=1)
    whole = module(images, generator=Draws(seed=1, step=2, index=torch.arange(4)))
    part = module(images[2:], generator=Draws(seed=1, step=2, index=torch.arange(2, 4)))
    assert torch.equal(whole.removed[2:], part.removed)
    assert (whole.prediction[2:] - part.prediction).abs().max() < EXACT64


def test_removed_pixels_reach_the_target_but_not_the_prediction():
    module, images = objective(), random_images(2, 16, 16, seed=1)
    removed = ragged_removed(2, 16, 0.5, seed=3)
    changed = images + removed.reshape(2, 1, 4, 4).repeat_interleave(4, 2).repeat_interleave(4, 3)
    one, other = module(images, removed=removed), module(changed, removed=removed)
    assert torch.equal(one.prediction, other.prediction)
    assert not torch.equal(one.target, other.target)


def test_every_parameter_learns_the_class_token_too():
    module = objective()
    module(random_images(2, 16, 16, seed=1), removed=ragged_removed(2, 16, 0.5, seed=3)).loss.backward()
    still = {name for name, parameter in module.named_parameters() if not parameter.grad.any()}
    assert still == set()


def test_the_published_autoencoder_has_112_million_parameters():
    """111,907,840 with the two tables of 197 positions, which ours computes."""
    with torch.device("meta"):
        module = MAE(build_model("vit_base"))
    count = sum(parameter.numel() for parameter in module.parameters())
    assert count + 197 * (768 + 512) == 111_907_840


def test_untrained_loss_is_about_that_of_a_silent_decoder():
    """Uniform initial weights let the prediction vary around 0: its square comes on top of the target's."""
    module = MAE(build_model("vit_tiny", patch=4, depth=1, widths=(48,)), decoder_dim=64, decoder_depth=1)
    with torch.no_grad():
        outcome = module(torch.rand(8, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    extra = outcome.prediction[outcome.removed].square().mean().item()
    assert outcome.loss.item() == pytest.approx(47 / 48 + extra, rel=0.05)


def test_the_decoder_is_drawn_by_seed_and_name_whatever_the_encoder():
    one, other = (
        MAE(build_model("vit_tiny", patch=4, depth=depth, widths=(24,), seed=seed), decoder_dim=16, decoder_depth=1)
        for depth, seed in ((1, 0), (2, 7))
    )
    for name, value in one.state_dict().items():
        if not name.startswith("encoder."):
            assert torch.equal(other.state_dict()[name], value), name
    assert one.mask_token.any()
    assert not any(value.any() for name, value in one.named_parameters() if name.endswith("bias"))


def test_a_reconstruction_shows_visible_patches_as_they_are():
    module, images = objective(norm_pix=False).eval(), random_images(2, 8, 12, seed=1)
    removed = ragged_removed(2, 6, 0.5, seed=2)
    made = reconstruct(module, images, removed=removed)
    hidden = removed.reshape(2, 1, 2, 3).repeat_interleave(4, 2).repeat_interleave(4, 3)
    assert torch.equal(made.hidden, hidden)
    assert torch.equal(made.pasted[~hidden.expand_as(images)], images[~hidden.expand_as(images)])
    assert torch.equal(patches(made.prediction, 4), module(images, removed=removed).prediction)


def test_what_does_not_fit_is_refused():
    with pytest.raises(TypeError, match="mae trains a ViT, got a ConvNeXt; a ConvNeXt is trained by fcmae"):
        MAE(small())
    for options, message in (
        ({"mask_ratio": 0.0}, "between 0 and 1"),
        ({"decoder_dim": 0}, "1 wide or more"),
        ({"decoder_depth": -1}, "0 deep or more"),
        ({"decoder_heads": 3}, "a decoder is 16 wide and has 3 heads; its width is a multiple of 4"),
    ):
        with pytest.raises(ValueError, match=message):
            objective(**options)
    with pytest.raises(ValueError, match="nearest size that fits is 8 x 8"):
        objective()(random_images(1, 9, 8, seed=0))
    with pytest.raises(ValueError, match=r"mask_ratio 0.75 keeps 0 of 2 cells"):
        objective()(random_images(1, 4, 8, seed=0))
