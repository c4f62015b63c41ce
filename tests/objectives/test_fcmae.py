"""FCMAE: its loss by the formula, its masks, and exactly which tensors each initialisation shares."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from collapse_lab.draws import Draws
from collapse_lab.models.build import build_model
from collapse_lab.objectives.fcmae import FCMAE
from collapse_lab.objectives.pixels import normalised, patches
from collapse_lab.objectives.table import OBJECTIVES
from tests.models.networks import ragged_removed, random_images, small
from tests.models.reference_encoder import block as slow_block
from tests.models.reference_encoder import encode
from tests.tolerances import EXACT32, EXACT64, PINNED


def objective(**options) -> FCMAE:
    module = FCMAE(small((1, 1, 1), (4, 8, 12)), **{"decoder_dim": 16, **options}).double()
    source = torch.Generator().manual_seed(9)
    for parameter in (module.mask_token, *module.decoder.parameters()):
        parameter.data.normal_(std=0.2, generator=source)
    return module


def slow_prediction(module: FCMAE, images: torch.Tensor, removed: torch.Tensor) -> torch.Tensor:
    """Encode, embed, put the token, decode densely, predict: on maps, by the definition."""
    state = dict(module.encoder.named_parameters())
    x = encode(images, removed, state, module.encoder.architecture["depths"], module.encoder.architecture["stem"])
    gone = removed.reshape(len(x), 1, *x.shape[2:]).double()
    x = F.conv2d(x, module.embed.weight[:, :, None, None], module.embed.bias)
    x = x * (1 - gone) + module.mask_token[:, None, None] * gone
    for place, _ in enumerate(module.decoder):
        x = slow_block(x, dict(module.named_parameters()), f"decoder.{place}", torch.ones_like(gone))
    x = F.conv2d(x, module.predict.weight[:, :, None, None], module.predict.bias)
    return x.flatten(2).transpose(1, 2)


def slow_loss(
    images: torch.Tensor, prediction: torch.Tensor, removed: torch.Tensor, side: int, norm_pix: bool
) -> float:
    """Cell by cell and pixel by pixel."""
    columns, errors = images.shape[3] // side, []
    for image, pixels in enumerate(images):
        for cell in range(removed.shape[1]):
            top, left = cell // columns * side, cell % columns * side
            values = [
                pixels[channel, top + row, left + column].item()
                for row in range(side)
                for column in range(side)
                for channel in range(3)
            ]
            target = torch.tensor(values, dtype=torch.float64)
            if norm_pix:
                variance = ((target - target.mean()) ** 2).sum() / (len(target) - 1)
                target = (target - target.mean()) / (variance + 1e-6) ** 0.5
            if removed[image, cell]:
                errors.append(((prediction[image, cell] - target) ** 2).mean().item())
    return sum(errors) / len(errors)


@pytest.mark.parametrize("norm_pix", [True, False])
@pytest.mark.parametrize("depth", [0, 1, 2])
def test_loss_and_prediction_are_the_definition(norm_pix, depth):
    module, images = objective(norm_pix=norm_pix, decoder_depth=depth), random_images(2, 16, 24, seed=1)
    removed = ragged_removed(2, 6, 0.5, seed=2)
    outcome = module(images, removed=removed)
    assert (outcome.prediction - slow_prediction(module, images, removed)).abs().max() < EXACT64
    expected = slow_loss(images, outcome.prediction, removed, module.encoder.stride, norm_pix)
    assert outcome.loss.item() == pytest.approx(expected, rel=EXACT64)


@pytest.mark.parametrize("width", [1, 40])
def test_any_decoder_width_is_the_definition(width):
    module, images = objective(decoder_dim=width), random_images(1, 16, 24, seed=1)
    removed = ragged_removed(1, 6, 0.5, seed=2)
    expected = slow_prediction(module, images, removed)
    assert (module(images, removed=removed).prediction - expected).abs().max() < EXACT64


def test_one_image_and_every_pattern_of_its_cells_is_the_definition():
    """Among the 63 with a removed cell: none visible, a single one, and none in the last row or column."""
    module, images = objective(), random_images(1, 16, 24, seed=1)
    for pattern in range(1, 2**6):
        removed = torch.tensor([[bool(pattern >> cell & 1) for cell in range(6)]])
        outcome = module(images, removed=removed)
        expected = slow_prediction(module, images, removed)
        assert (outcome.prediction - expected).abs().max() < EXACT64, removed
        error = (expected - outcome.target).square()[removed].mean()
        assert outcome.loss.item() == pytest.approx(error.item(), rel=EXACT64), removed


def test_loss_of_a_silent_decoder_is_the_mean_square_of_the_removed_pixels():
    module = objective(norm_pix=False)
    for parameter in module.predict.parameters():
        parameter.data.zero_()
    images = torch.zeros(1, 3, 8, 24, dtype=torch.float64)
    images[..., :8], images[..., 8:16], images[..., 16:] = 5.0, 2.0, -1.0
    removed = torch.tensor([[False, True, True]])
    assert module(images, removed=removed).loss.item() == pytest.approx((4 + 1) / 2, rel=PINNED)


def test_loss_of_a_silent_decoder_is_the_share_of_freedom_when_pixels_are_normalised():
    """Unbiased variance: the squares of p values sum to p - 1, whatever the pixels."""
    module = objective(norm_pix=True)
    for parameter in module.predict.parameters():
        parameter.data.zero_()
    loss = module(random_images(2, 16, 16, seed=3) * 100, removed=ragged_removed(2, 4, 0.5, seed=2)).loss
    assert loss.item() == pytest.approx(191 / 192, rel=1e-9)  # 1e-6 under the root, of a variance of 1e4


def test_masks_are_returned_and_can_be_given():
    module, images = objective(), random_images(2, 32, 32, seed=1)
    drawn = module(images, generator=torch.Generator().manual_seed(0))
    assert drawn.removed.sum(dim=1).tolist() == [10, 10]  # 6 of 16 stay
    given = module(images, removed=drawn.removed)
    assert torch.equal(given.loss, drawn.loss)
    assert torch.equal(given.removed, drawn.removed)


def test_loss_of_a_sample_does_not_depend_on_the_split_of_the_batch():
    module, images = objective(), random_images(4, 32, 32, seed=1)
    whole = module(images, generator=Draws(seed=1, step=2, index=torch.arange(4)))
    part = module(images[2:], generator=Draws(seed=1, step=2, index=torch.arange(2, 4)))
    assert torch.equal(whole.removed[2:], part.removed)
    assert (whole.prediction[2:] - part.prediction).abs().max() < EXACT64


def test_removed_pixels_reach_the_target_but_not_the_prediction():
    module, images = objective(), random_images(2, 32, 32, seed=1)
    removed = ragged_removed(2, 16, 0.5, seed=3)
    changed = images + removed.reshape(2, 1, 4, 4).repeat_interleave(8, 2).repeat_interleave(8, 3)
    one, other = module(images, removed=removed), module(changed, removed=removed)
    assert torch.equal(one.prediction, other.prediction)


def test_target_pixels_are_in_order_row_column_channel():
    image = torch.arange(3 * 4 * 4.0).reshape(1, 3, 4, 4)
    assert patches(image, 2)[0, 1].tolist() == [
        image[0, channel, row, column] for row in (0, 1) for column in (2, 3) for channel in range(3)
    ]


def test_a_constant_cell_is_normalised_to_zero():
    assert not normalised(torch.full((1, 1, 12), 7.0)).any()


def test_untrained_loss_is_about_one_by_normalisation():
    module = FCMAE(build_model("convnext_digits", response="grn", layer_scale=None), decoder_dim=64)
    loss = module(torch.rand(4, 3, 32, 32), generator=torch.Generator().manual_seed(0)).loss
    assert loss.item() == pytest.approx(1, abs=0.05)


def pair(**settings) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """The initial values of one seed, ours and official."""
    return tuple(
        FCMAE(build_model("convnextv2_atto", seed=4, **settings), decoder_dim=128, seed=4, init=init).state_dict()
        for init in ("ours", "official")
    )


WIDE = (
    "stem.conv",
    "depthwise",
    "encoder.stages.0.blocks.0.expand",
    "encoder.stages.3.blocks.1.project",
    "embed",
    "predict",
)


def test_official_initialisation_has_the_official_spreads():
    _, official = pair()
    for name, value in official.items():
        if value.ndim < 2:
            continue
        if "downsample" in name:
            assert value.std().item() == pytest.approx(0.02, rel=0.05), name
        elif name.startswith("decoder.") and "depthwise" not in name:
            bound = value.shape[1] ** -0.5  # PyTorch's own: uniform within 1 / sqrt(inputs)
            assert value.abs().max().item() == pytest.approx(bound, rel=0.01), name
            assert value.std().item() == pytest.approx(bound / 3**0.5, rel=0.05), name
        else:
            assert value.std().item() == pytest.approx(0.8796, rel=0.05), name  # a normal of std 1 cut at +-2
            assert value.abs().max() <= 2, name
    assert official["mask_token"].std().item() == pytest.approx(0.02, rel=0.3)
    biases = {name for name, value in official.items() if name.endswith("bias") and value.any()}
    assert biases == {"decoder.0.expand.bias", "decoder.0.project.bias"}


def test_both_initialisations_share_everything_but_the_tensors_of_std_1_and_the_decoders_linear_layers():
    ours, official = pair(layer_scale=1e-6)
    differ = {name for name in ours if not torch.equal(ours[name], official[name])}
    assert differ == {
        name
        for name, value in ours.items()
        if (value.ndim >= 2 and "downsample" not in name) or name in ("decoder.0.expand.bias", "decoder.0.project.bias")
    }


def test_tensors_of_std_1_are_the_same_draws_on_another_scale():
    ours, official = pair()
    for name in ours:
        if ours[name].ndim >= 2 and any(part in name for part in WIDE):
            # The share of the normal below each value, of all (ours) and of what lies within the cut (official).
            expected = torch.erf(ours[name].double() / 0.02 / 2**0.5) * math.erf(2**0.5)
            assert (torch.erf(official[name].double() / 2**0.5) - expected).abs().max() < EXACT32, name


@pytest.mark.parametrize(
    ("init", "loss", "spread"),
    [("ours", pytest.approx(1.008, abs=0.01), 0.54), ("official", pytest.approx(16.4, rel=0.05), 490)],
)
def test_noise_at_the_start_costs_what_it_costs_the_official_network(init, loss, spread):
    """Of a dense emulation of the official code: atto, noise images."""
    module = FCMAE(build_model("convnextv2_atto"), init=init)
    images = random_images(2, 96, 96, seed=0, dtype=torch.float32)
    with torch.no_grad():
        outcome = module(images, generator=torch.Generator().manual_seed(0))
        encoded = module.encoder.forward_masked(images, outcome.removed)
    assert outcome.loss.item() == loss
    visible = encoded.flatten(2).transpose(1, 2)[~outcome.removed]
    assert visible.std().item() == pytest.approx(spread, rel=0.05)


def test_arms_share_the_decoder_whatever_the_encoder_has():
    arms = [
        FCMAE(build_model("convnext_digits", response=response, layer_scale=layer_scale), decoder_dim=16).state_dict()
        for response, layer_scale in (("grn", None), ("none", 1e-6))
    ]
    common = set(arms[0]) & set(arms[1])
    assert {"mask_token", "embed.weight", "decoder.0.response.gamma", "predict.bias"} <= common
    assert all(torch.equal(arms[0][name], arms[1][name]) for name in common)


def test_options_that_do_not_fit_are_refused():
    for options, message in (({"mask_ratio": 1.0}, "between 0 and 1"), ({"init": "paper"}, "'ours' or 'official'")):
        with pytest.raises(ValueError, match=message):
            objective(**options)
    with pytest.raises(ValueError, match="nearest size that fits is 8 x 8"):
        objective()(torch.zeros(1, 3, 4, 4, dtype=torch.float64))
    with pytest.raises(LookupError, match="did you mean 'fcmae'"):
        OBJECTIVES["fcame"]
