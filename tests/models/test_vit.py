"""The ViT: its published counts, its definition on whole and on masked images, and where its values come from."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import collapse_lab as cl
from collapse_lab.draws import Draws
from collapse_lab.models.build import MODELS, build_model
from collapse_lab.models.encoder import Encoder
from collapse_lab.models.layers import count_layers
from collapse_lab.models.transformer import TransformerBlock, positions
from collapse_lab.models.vit import VITS
from tests.models import reference_vit as slow
from tests.models.networks import ragged_removed, random_images, small_vit
from tests.tolerances import EXACT64, HALF, PINNED

# With 1000 classes, patches of 16 and, unlike ours, 197 positions that are learnt.
PUBLISHED = {"vit_tiny": 5_717_416, "vit_small": 22_050_664, "vit_base": 86_567_656}
SMALL = {"patch": 4, "depth": 2, "widths": (24,)}


@pytest.mark.parametrize("name", VITS)
def test_parameter_counts_are_the_published_ones_less_learnt_positions(name):
    with torch.device("meta"):
        model = build_model(name, classes=1000)
    count = sum(parameter.numel() for parameter in model.parameters())
    assert count + 197 * model.channels == PUBLISHED[name]


def test_products_of_vit_base_at_224_are_the_published_ones():
    with torch.device("meta"):
        layers = count_layers(build_model("vit_base", classes=1000), visible=lambda cells: cells // 4)
    assert f"{sum(layer.macs for layer in layers) / 1e9:.2f}" == "17.56"
    attention = next(layer for layer in layers if layer.name == "blocks.0.attention")
    for tokens, macs in ((197, attention.macs), (50, attention.visible_macs)):
        assert macs == 4 * tokens * 768**2 + 2 * tokens**2 * 768


@pytest.mark.parametrize(("patch", "heads"), [(4, 3), (2, 2), (4, 1)])
def test_the_whole_map_is_the_definition(patch, heads):
    model, images = small_vit(patch, heads=heads), random_images(2, 8, 12, seed=1)
    cells = 96 // patch**2
    with torch.no_grad():
        _, expected = slow.encode(images, torch.zeros(2, cells, dtype=torch.bool), model.state_dict(), heads)
        found = model.eval().forward_features(images)
        assert found.shape == (2, 12, 8 // patch, 12 // patch)
        assert (found.flatten(2).transpose(1, 2) - expected).abs().max() < EXACT64
        assert torch.equal(model.train().forward_features(images), found)  # no other kernel in eval mode


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9])
def test_the_masked_map_is_the_definition_on_each_images_own_patches(share):
    """Images differ in how many patches they keep; at .9 some keep none."""
    model, images = small_vit().eval(), random_images(6, 8, 16, seed=1)
    removed = ragged_removed(6, 8, share, seed=3)
    assert share < 0.9 or removed.all(dim=1).any()
    with torch.no_grad():
        classes, expected = slow.encode(images, removed, model.state_dict(), heads=3)
        token, found = model.encode_visible(images, removed)
        assert (found.flatten(2).transpose(1, 2) - expected).abs().max() < EXACT64
        assert (token[:, 0] - classes).abs().max() < EXACT64
        assert torch.equal(model.forward_masked(images, removed), found)


def test_removing_nothing_is_the_whole_image_and_keep_changes_nothing():
    model, images = small_vit(), random_images(2, 8, 16, seed=1)
    none = torch.zeros(2, 8, dtype=torch.bool)
    whole = model.forward_features(images)
    assert (model.forward_masked(images, none) - whole).abs().max() < EXACT64
    removed = torch.tensor([[True, False] * 4, [False, True] * 4])
    assert torch.equal(model.forward_masked(images, removed, keep=4), model.forward_masked(images, removed))


def test_pixels_of_removed_patches_are_not_read_in_values_or_gradients():
    model, images = small_vit(), random_images(2, 8, 16, seed=1)
    removed = ragged_removed(2, 8, 0.5, seed=2)
    hidden = removed.reshape(2, 1, 2, 4).repeat_interleave(4, 2).repeat_interleave(4, 3)
    spoilt = images.masked_fill(hidden, float("nan")).requires_grad_()
    found = model.forward_masked(spoilt, removed)
    assert torch.equal(found, model.forward_masked(images, removed))
    found.square().sum().backward()
    assert not spoilt.grad[hidden.expand_as(images)].any()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_logits_are_the_head_on_the_mean_of_patches():
    model, images = small_vit(classes=5), random_images(2, 8, 8, seed=1)
    pooled = model.forward_features(images).mean(dim=(2, 3))
    assert torch.equal(model(images), model.head(pooled))
    bare = small_vit(classes=0)
    assert bare.head is None
    assert torch.equal(bare(images), pooled)


def test_positions_are_sines_and_cosines_of_column_and_row():
    expected = slow.grid_positions(3, 5, 16)
    assert (positions(3, 5, 16, torch.zeros((), dtype=torch.float64)) - expected).abs().max() < PINNED
    assert len({tuple(row) for row in expected.tolist()}) == 15


def test_positions_follow_the_size_of_the_image_and_are_no_parameter():
    model = build_model("vit_tiny", **SMALL)
    assert model.forward_features(torch.rand(1, 3, 8, 20)).shape == (1, 24, 2, 5)
    assert not any("position" in name for name in model.state_dict())


def test_initial_weights_are_uniform_by_their_inputs_and_outputs():
    model = build_model("vit_tiny", classes=10, depth=1)
    widths = {"stem.weight": 768, "blocks.0.attention.in_proj_weight": 192, "blocks.0.project.weight": 768}
    for name, inputs in widths.items():
        value = model.get_parameter(name)
        bound = math.sqrt(6 / (inputs + len(value)))
        assert value.abs().max().item() == pytest.approx(bound, rel=0.01), name
        assert value.std().item() == pytest.approx(bound / 3**0.5, rel=0.02), name
    assert model.cls_token.std().item() == pytest.approx(0.02, rel=0.2)
    assert not any(value.any() for name, value in model.named_parameters() if name.endswith("bias"))


def test_initial_values_are_functions_of_seed_and_name():
    deep, shallow = (build_model("vit_tiny", patch=4, widths=(24,), depth=depth, seed=3) for depth in (3, 1))
    other = build_model("vit_tiny", patch=4, widths=(24,), depth=1, seed=4)
    torch.manual_seed(1)  # the global generator has no part in it
    for name, value in shallow.state_dict().items():
        assert torch.equal(deep.state_dict()[name], value), name
    assert not torch.equal(other.stem.weight, shallow.stem.weight)
    assert not torch.equal(other.cls_token, shallow.cls_token)


def test_the_head_is_scaled_and_nothing_else():
    plain, scaled = (build_model("vit_tiny", **SMALL, classes=3, head_init_scale=scale) for scale in (1.0, 0.5))
    assert torch.equal(scaled.head.weight, plain.head.weight / 2)
    assert torch.equal(scaled.stem.weight, plain.stem.weight)


def test_hooks_on_every_part_of_a_block_are_called_without_gradients_in_eval_mode():
    """torch's fused transformer would pass them by."""
    model, seen = build_model("vit_base", patch=4, depth=1, widths=(24,)).eval(), []
    for name, part in model.blocks[0].named_children():
        part.register_forward_hook(lambda *_, name=name: seen.append(name))
    with torch.no_grad():
        model(torch.rand(1, 3, 8, 8))
    assert seen == ["attention_norm", "attention", "norm", "expand", "act", "response", "project"]


def test_sites_hold_the_class_token_and_every_patch():
    model, images = build_model("vit_tiny", **SMALL).eval(), torch.rand(70, 3, 8, 12)
    captured = cl.capture(model, [images], sites=["stem", "kind:block", "kind:act", "kind:response"], positions=["all"])
    rows = {site: captured[site].n_rows / 70 for site in captured.sites}
    assert rows == {"stem": 6, **{f"blocks.{j}{part}": 7 for j in (0, 1) for part in (".act", ".response", "")}}
    assert captured["blocks.1.act"].channels == 4 * 24
    with torch.no_grad():
        x = torch.cat(
            [model.cls_token.expand(70, 1, -1), positions(2, 3, 24, model.cls_token) + _embedded(model, images)], 1
        )
        first = model.blocks[0](x)
    assert torch.allclose(captured["blocks.0"].mean.float(), first.mean(dim=(0, 1)), atol=1e-5)


def _embedded(model: Encoder, images: torch.Tensor) -> torch.Tensor:
    return nn.functional.conv2d(images, model.stem.weight, model.stem.bias, stride=4).flatten(2).transpose(1, 2)


@pytest.mark.parametrize("most", [1, 3])
def test_a_masked_capture_holds_the_class_token_and_visible_patches(most):
    model, images = build_model("vit_tiny", **SMALL).eval(), torch.rand(3, 3, 8, 8)
    removed = torch.ones(3, 4, dtype=torch.bool)
    removed[0, :most] = removed[1, 1] = False  # the third image keeps none
    batch = {"image": images, "removed": removed}
    captured = cl.capture(model, [batch], sites=["stem", "blocks.1"], positions=["all"])
    assert {site: captured[site].n_rows for site in captured.sites} == {"stem": most + 1, "blocks.1": most + 1 + 3}


def test_autocast_computes_products_in_half_and_leaves_norms_whole():
    model, images = build_model("vit_tiny", **SMALL), torch.rand(2, 3, 8, 8)
    removed = torch.tensor([[True, False, True, True], [True, False, False, True]])
    whole = model.forward_masked(images, removed)
    with torch.autocast("cpu", torch.bfloat16):
        half = model.forward_masked(images, removed)
    assert half.dtype == torch.float32
    assert 0 < (half - whole).abs().max() < HALF


def test_drop_path_drops_each_branch_of_a_block_by_its_own_coin_and_rests_in_eval_mode():
    model = build_model("vit_tiny", **SMALL, drop_path=0.5)
    drawn = Draws(seed=0, step=0, index=torch.arange(4000))
    first, second, third, fourth = model.train()._drop_path(torch.zeros(4000, 1, 1), drawn, branches=2)
    assert first.eq(1).all()
    assert second.eq(1).all()
    assert sorted(third.unique().tolist()) == [0, 2]
    assert (third * fourth).mean().item() == pytest.approx(1, abs=0.1)  # independent of each other
    images = torch.rand(6, 3, 8, 8)
    whole = model(images, generator=Draws(seed=0, step=1, index=torch.arange(6)))
    tail = model(images[4:], generator=Draws(seed=0, step=1, index=torch.arange(4, 6)))
    assert torch.allclose(whole[4:], tail, atol=1e-6)
    assert not torch.equal(whole, model.eval()(images))


def test_a_dropped_branch_is_left_out_for_that_image_and_scaled_for_the_others():
    block, x = TransformerBlock(12, 3).double(), torch.randn(2, 5, 12, dtype=torch.float64)
    kept = torch.tensor([0.0, 1.25], dtype=torch.float64)[:, None, None]
    none = torch.zeros_like(kept)
    assert torch.equal(block(x, None, (kept, kept))[0], x[0])
    for one, other in (((kept, none), (kept * 0.8, none)), ((none, kept), (none, kept * 0.8))):
        assert torch.allclose(block(x, None, one)[1] - x[1], 1.25 * (block(x, None, other) - x)[1])


def test_recomputing_blocks_changes_no_gradient():
    gradients = []
    for recompute in (False, True):
        model = small_vit(drop_path=0.5).train()
        model.recompute = recompute
        drawn = Draws(seed=0, step=0, index=torch.arange(2))
        model(random_images(2, 8, 8, seed=1), generator=drawn).sum().backward()
        gradients.append(model.stem.weight.grad)
    assert torch.equal(*gradients)


def test_images_that_patches_do_not_divide_are_refused_with_the_nearest_size():
    with pytest.raises(ValueError, match=r"30 x 33 pixels are not divided by cells of 16 x 16; .* fits is 32 x 32"):
        build_model("vit_tiny", depth=1)(torch.rand(1, 3, 30, 33))


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        (
            "vit_tiny",
            {"response": "grn"},
            "is a ViT, which has no response and no LayerScale; leave out response = grn",
        ),
        ("vit_tiny", {"layer_scale": None}, "leave out layer_scale = None"),
        ("vit_tiny", {"widths": (8, 16)}, "one width throughout: widths is one number of channels"),
        (
            "vit_tiny",
            {"widths": (50,)},
            "50 wide and has 3 heads; its width is a multiple of 4 .* and of the number of",
        ),
        ("vit_tiny", {"widths": (9,)}, "a multiple of 4"),
        ("vit_tiny", {"patch": 0}, "patches of 1 pixel or more and 1 block or more, got 0 and 12"),
        ("vit_tiny", {"depth": 0}, "got 16 and 0"),
        ("vit_tiny", {"drop_path": 1.0}, "drop_path is a probability below 1"),
        ("convnextv2_atto", {"patch": 4}, "is a ConvNeXt, .* leave out patch = 4, which vit_tiny, vit_small, vit_base"),
        ("convnextv2_atto", {"depth": 4}, "leave out depth = 4"),
    ],
)
def test_settings_that_do_not_fit_or_are_of_the_other_family_are_refused(name, settings, message):
    with pytest.raises(ValueError, match=message):
        build_model(name, **settings)


def test_an_unknown_name_is_answered_with_the_nearest_of_both_families():
    with pytest.raises(LookupError, match="did you mean 'vit_tiny'"):
        build_model("vit_tni")
    assert {"vit_base", "convnextv2_atto"} <= set(MODELS)
