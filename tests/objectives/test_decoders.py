"""FCMAE's other decoders by their definitions, and dense convolution, which the paper holds against its own."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from collapse_lab.draws import Draws
from collapse_lab.models.build import build_model
from collapse_lab.objectives.decoders import DECODERS
from collapse_lab.objectives.fcmae import FCMAE
from collapse_lab.objectives.pixels import from_patches, hidden_pixels, patches
from tests.models import reference_vit as slow
from tests.models.networks import ragged_removed, random_images, scatter, small, small_vit
from tests.tolerances import EXACT64


def objective(**options) -> FCMAE:
    """On cells of 8 x 8 pixels."""
    module = FCMAE(small((1, 1, 1), (4, 8, 12)), **{"decoder_dim": 16, **options}).double()
    scatter(module, 1)
    return module


@pytest.mark.parametrize("depth", [0, 2])
def test_a_transformer_decoder_is_the_definition(depth):
    module, images = objective(decoder="transformer", decoder_depth=depth), random_images(2, 16, 24, seed=1)
    removed = ragged_removed(2, 6, 0.5, seed=2)
    with torch.no_grad():
        cells = module.encoder.forward_masked(images, removed).flatten(2).transpose(1, 2)
        expected = slow.decode(cells, removed, module.state_dict(), 1, (2, 3), before=None)
        assert (module(images, removed=removed).prediction - expected).abs().max() < EXACT64


@pytest.mark.parametrize(("width", "heads"), [(16, 1), (32, 1), (64, 2), (512, 16)])
def test_heads_of_a_transformer_decoder_are_32_wide(width, heads):
    assert DECODERS["transformer"](width, 1, 8).blocks[0].attention.num_heads == heads


def slow_unet(module: FCMAE, encoded: Tensor, removed: Tensor) -> Tensor:
    """(N, 3, H, W) of a map: on maps throughout."""
    state = module.state_dict()
    gone = removed.reshape(len(encoded), 1, *encoded.shape[2:])
    x = F.conv2d(encoded, state["embed.weight"][:, :, None, None], state["embed.bias"])
    x = torch.where(gone, state["mask_token"][:, None, None], x)
    for step, inside in enumerate(module.decoder.steps):
        name = f"decoder.steps.{step}"
        x = F.conv_transpose2d(x, state[f"{name}.up.weight"], state[f"{name}.up.bias"], stride=2, padding=1)
        for number, _ in enumerate(inside.convolutions):
            own = {leaf: f"{name}.{leaf}.{number}" for leaf in ("convolutions", "norms")}
            weight, bias = (state[f"{own['convolutions']}.{leaf}"] for leaf in ("weight", "bias"))
            x = F.conv2d(x, weight, bias, padding=1)
            scale, shift = (state[f"{own['norms']}.{leaf}"] for leaf in ("weight", "bias"))
            x = F.gelu(slow.norm(x.movedim(1, -1), scale, shift).movedim(-1, 1))
    return F.conv2d(x, state["predict.weight"][:, :, None, None], state["predict.bias"])


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_a_unet_decoder_is_the_definition_and_predicts_every_pixel_in_its_place(depth):
    module, images = objective(decoder="unet", decoder_depth=depth), random_images(2, 16, 24, seed=1)
    removed = ragged_removed(2, 6, 0.5, seed=2)
    with torch.no_grad():
        expected = slow_unet(module, module.encoder.forward_masked(images, removed), removed)
        found = module(images, removed=removed).prediction
    assert (from_patches(found, 8, 16, 24) - expected).abs().max() < EXACT64
    assert [step.up.out_channels for step in module.decoder.steps] == [8, 4, 2]


@pytest.mark.parametrize("decoder", DECODERS)
def test_every_decoder_learns_in_all_its_parts_from_a_loss_that_no_other_sample_touches(decoder):
    module, images = objective(decoder=decoder), random_images(4, 16, 24, seed=1)
    removed = ragged_removed(4, 6, 0.5, seed=2)
    whole = module(images, removed=removed)
    assert (module(images[2:], removed=removed[2:]).prediction - whole.prediction[2:]).abs().max() < EXACT64
    whole.loss.backward()
    assert {name for name, parameter in module.named_parameters() if not parameter.grad.any()} == set()


@pytest.mark.parametrize("decoder", DECODERS)
def test_decoders_share_what_stands_around_them(decoder):
    encoder = build_model("convnext_digits", response="grn", layer_scale=None)
    ours, other = (FCMAE(encoder, decoder=name, decoder_dim=16, seed=3) for name in ("convnext", decoder))
    for name in ("mask_token", "embed.weight", "embed.bias"):
        assert torch.equal(ours.get_parameter(name), other.get_parameter(name)), name
    again = FCMAE(encoder, decoder=decoder, decoder_dim=16, seed=3).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in other.state_dict().items())


def hidden(images: Tensor, removed: Tensor) -> Tensor:
    return hidden_pixels(removed, 8, *images.shape[2:])


def test_a_dense_encoder_takes_the_masked_image_for_an_image():
    module, images = objective(convolution="dense"), random_images(2, 32, 32, seed=1)
    removed = ragged_removed(2, 16, 0.5, seed=3)
    encoded = module._encoded(images, removed, None, None)
    zeroed = images * (~hidden(images, removed))
    assert torch.equal(encoded, module.encoder.forward_features(zeroed))
    at_removed = encoded.flatten(2).transpose(1, 2)[removed]
    assert at_removed.abs().amin() > 0  # features have spread where the sparse encoder has none
    sparse = objective(convolution="sparse")
    assert not sparse._encoded(images, removed, None, None).flatten(2).transpose(1, 2)[removed].any()
    losses = [each(images, removed=removed).loss for each in (module, sparse)]
    assert (losses[0] - losses[1]).abs() > 1e-3


def test_zeros_at_removed_cells_are_seen_by_a_dense_encoder_alone():
    """What the paper's encoder is kept from: a visible cell's features tell a neighbour of zeros from one removed."""
    images, removed = random_images(1, 16, 16, seed=1), torch.tensor([[False, True, False, False]])
    stated, empty = images.masked_fill(hidden(images, removed), 0), torch.zeros_like(removed)
    dense, sparse = objective(convolution="dense"), objective()
    assert torch.equal(dense._encoded(images, removed, None, None), dense._encoded(stated, empty, None, None))
    visible = ~removed[0]
    seen = [
        sparse._encoded(*given, None, None).flatten(2)[..., visible] for given in ((images, removed), (stated, empty))
    ]
    assert (seen[0] - seen[1]).abs().amax() > 1e-3


@pytest.mark.parametrize("convolution", ["dense", "sparse"])
def test_pixels_of_removed_cells_are_not_read_however_the_encoder_convolves(convolution):
    module, images = objective(convolution=convolution), random_images(2, 32, 32, seed=1)
    removed = ragged_removed(2, 16, 0.5, seed=3)
    spoilt = images.masked_fill(hidden(images, removed), float("nan"))
    assert torch.equal(module(spoilt, removed=removed).prediction, module(images, removed=removed).prediction)


def test_a_drawn_mask_is_the_same_for_both_convolutions():
    images, drawn = random_images(2, 32, 32, seed=1), Draws(seed=1, step=2, index=torch.arange(2))
    masks = [objective(convolution=each)(images, generator=drawn).removed for each in ("dense", "sparse")]
    assert torch.equal(*masks)


def test_cells_and_pixels_of_a_mask_agree():
    removed = torch.tensor([[True, False, False, True, False, False]])
    shown = hidden_pixels(removed, 2, 4, 6)
    assert shown[0, 0].int().tolist() == [[1, 1, 0, 0, 0, 0]] * 2 + [[1, 1, 0, 0, 0, 0]] * 2
    assert torch.equal(patches(shown, 2).all(dim=2), removed)


def test_options_that_do_not_fit_are_refused():
    with pytest.raises(TypeError, match="fcmae trains a ConvNeXt, got a ViT; a ViT is trained by mae"):
        FCMAE(small_vit())
    with pytest.raises(LookupError, match="no decoder is called 'unett'; did you mean 'unet'"):
        objective(decoder="unett")
    for options, message in (
        ({"convolution": "masked"}, "convolution is 'sparse' or 'dense', got 'masked'"),
        ({"decoder": "unet", "decoder_dim": 12}, "halves its width 3 times, .* decoder_dim is a multiple of 8, got 12"),
        ({"decoder": "transformer", "decoder_dim": 10}, "a decoder is 10 wide and has 1 heads; .* multiple of 4"),
        ({"decoder": "unet", "init": "official"}, "init = official is that of the decoder convnext, not of unet"),
    ):
        with pytest.raises(ValueError, match=message):
            objective(**options)
    with pytest.raises(ValueError, match=r"cells of 2\^k pixels, got cells of 6"):
        DECODERS["unet"](12, 1, 6)
