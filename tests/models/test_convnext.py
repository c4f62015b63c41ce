"""Initial values and options of the networks."""

from __future__ import annotations

import pytest
import torch

from collapse_lab import draws
from collapse_lab.models.build import build_model
from collapse_lab.models.convnext import ConvNeXt
from collapse_lab.models.grid import AllPositions
from collapse_lab.models.responses.table import RESPONSES
from tests.models.networks import random_images, small
from tests.tolerances import EXACT32

OURS = {"response": "grn", "layer_scale": 1e-6}


@pytest.mark.parametrize("response", RESPONSES)
def test_a_response_is_built_without_values_and_seeded_like_the_rest(response):
    with torch.device("meta"):
        bare = build_model("convnextv2_atto", response=response)
    assert all(value.is_meta for value in bare.state_dict().values())
    models = [build_model("convnext_digits", response=response, layer_scale=None, seed=2) for _ in range(2)]
    first, again = (model.state_dict() for model in models)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert all(value.any() for name, value in models[0].named_parameters() if value.ndim >= 2), response


def test_v2_differs_from_v1_by_grn_and_layer_scale_alone():
    with torch.device("meta"):
        first = {name for name, _ in build_model("convnext_tiny").named_parameters()}
        second = {name for name, _ in build_model("convnextv2_tiny").named_parameters()}
    assert {name.rpartition(".")[2] for name in first - second} == {"layer_scale"}
    assert {name.rpartition(".")[0].rpartition(".")[2] for name in second - first} == {"response"}


def test_initial_weights_have_std_02_biases_are_zero_and_gates_closed():
    torch.manual_seed(1)  # the global generator must not matter
    model = build_model("convnextv2_atto", classes=10, layer_scale=1e-6)
    for name, value in model.named_parameters():
        if value.ndim >= 2:
            assert value.std().item() == pytest.approx(0.02, rel=0.15), name
        elif name.endswith(("bias", "beta", "gamma")):
            assert not value.any(), name
        else:
            assert value.unique().tolist() == pytest.approx([1e-6 if "scale" in name else 1.0]), name


def test_initial_values_are_a_function_of_seed_and_name_alone():
    built = []
    for noise in (0, 1):
        torch.manual_seed(noise)
        built.append(build_model("convnext_digits", **OURS, seed=5).state_dict())
    assert all(torch.equal(built[0][name], built[1][name]) for name in built[0])
    other = build_model("convnext_digits", **OURS, seed=6).state_dict()
    assert not torch.equal(built[0]["stem.conv.weight"], other["stem.conv.weight"])


def test_arms_of_one_seed_share_every_tensor_they_have_in_common():
    arms = [
        build_model("convnext_digits", response=response, layer_scale=layer_scale, classes=classes, seed=3).state_dict()
        for response in ("grn", "none")
        for layer_scale in (1e-6, None)
        for classes in (None, 10)
    ]
    for arm in arms[1:]:
        common = set(arms[0]) & set(arm)
        assert {"stem.conv.weight", "stages.2.blocks.1.project.bias"} <= common
        assert all(torch.equal(arms[0][name], arm[name]) for name in common)


def test_initial_values_do_not_depend_on_the_default_type():
    torch.set_default_dtype(torch.float64)
    try:
        double = build_model("convnext_digits", **OURS)
    finally:
        torch.set_default_dtype(torch.float32)
    single = build_model("convnext_digits", **OURS)
    assert torch.equal(double.stem.conv.weight.float(), single.stem.conv.weight)


def test_the_head_is_scaled_at_the_start():
    heads = [build_model("convnext_digits", **OURS, classes=10, head_init_scale=scale).head for scale in (1.0, 0.5)]
    assert torch.equal(heads[0].weight * 0.5, heads[1].weight)
    assert not heads[1].bias.any()  # 0 times any scale


def test_the_architecture_rebuilds_the_network():
    model = build_model("convnext_digits", **OURS, classes=10, drop_path=0.1)
    again = ConvNeXt(**model.architecture)
    again.load_state_dict(model.state_dict())
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(again.eval()(images), model.eval()(images))


def test_forward_is_the_mean_over_positions_then_norm_and_head():
    images = random_images(2, 16, 16, seed=0)
    bare = small((1, 1, 1), (4, 8, 12))
    assert torch.allclose(bare(images), bare.forward_features(images).mean(dim=(2, 3)))
    assert build_model("convnext_digits", **OURS, classes=7)(images.float()).shape == (2, 7)


def test_no_classes_leave_the_final_norm_alone():
    images = random_images(2, 16, 16, seed=0)
    model = small((1, 1, 1), (4, 8, 12), classes=0)
    assert {name for name in model.state_dict() if not name.startswith(("stem", "stages"))} == {
        "norm.weight",
        "norm.bias",
    }
    pooled = model.forward_features(images).mean(dim=(2, 3))
    assert torch.equal(model(images), model.norm(pooled))
    assert build_model("convnext_digits", **OURS, classes=0)(images.float()).shape == (2, 64)


@pytest.mark.parametrize("channels", [1, 4, 12])
@pytest.mark.parametrize(("height", "width"), [(4, 4), (12, 20), (8, 36)])
def test_any_number_of_channels_and_any_size_that_cells_divide(channels, height, width):
    model = small((1, 1), (4, 8), in_channels=channels)
    images = torch.rand(2, channels, height, width, dtype=torch.float64)
    dense = model.forward_features(images)
    cells = (height // 4, width // 4)
    assert dense.shape == (2, 8, *cells)
    everything = torch.zeros(2, cells[0] * cells[1], dtype=torch.bool)
    assert torch.allclose(model.forward_masked(images, everything), dense)
    with pytest.raises(ValueError, match=rf"\(N, {channels}, H, W\), got \(2, 3, 12, 20\)"):
        model.forward_features(torch.zeros(2, 3, 12, 20, dtype=torch.float64))


def test_drop_path_keeps_the_mean_and_rests_in_eval_mode():
    model = build_model("convnext_digits", response="none", layer_scale=None, drop_path=0.5)
    index = torch.arange(4000)
    kept = list(model.train()._drop_path(torch.zeros(4000, 1, 1), draws.Draws(seed=0, step=0, index=index)))
    assert [sorted(factor.unique().tolist()) for factor in kept] == [
        [1.0],
        *[pytest.approx([0, 1 / (1 - rate)]) for rate in (0.125, 0.25, 0.375, 0.5)],
    ]
    assert all(factor.mean().item() == pytest.approx(1, abs=0.05) for factor in kept)
    assert list(model.eval()._drop_path(torch.zeros(2, 1, 1), None)) == [None] * 5


def test_a_dropped_branch_is_left_out_for_that_image_and_scaled_for_the_others():
    model = small((1, 1), (4, 8))
    block, grid = model.stages[0].blocks[0], AllPositions(4, 4)
    x = torch.randn(2, 16, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    kept = torch.tensor([0.0, 1 / (1 - 0.2)], dtype=torch.float64)[:, None, None]
    out = block(x, grid, kept)
    assert torch.equal(out[0], x[0])
    assert torch.allclose(out[1] - x[1], 1.25 * (block(x, grid) - x)[1])


def test_drop_path_of_a_sample_does_not_depend_on_its_batch():
    model = build_model("convnext_digits", response="none", layer_scale=None, drop_path=0.5).train()
    images = torch.rand(6, 3, 32, 32)
    whole = model(images, generator=draws.Draws(seed=0, step=1, index=torch.arange(6)))
    tail = model(images[4:], generator=draws.Draws(seed=0, step=1, index=torch.arange(4, 6)))
    assert torch.allclose(whole[4:], tail, atol=1e-6)


def test_unknown_names_are_answered_with_the_nearest():
    with pytest.raises(LookupError, match="did you mean 'convnextv2_atto'"):
        build_model("convnextv2_ato")
    with pytest.raises(LookupError, match="no response is called 'gnr'; did you mean 'grn'"):
        build_model("convnext_digits", response="gnr", layer_scale=None)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"response": "grn"}, "say both response"),
        ({"layer_scale": None}, "say both response"),
        ({"response": "grn", "layer_scale": "tiny"}, "layer_scale is a number"),
        ({"response": "grn", "layer_scale": None, "drop_path": 1.0}, "drop_path is a probability"),
        ({"response": "grn", "layer_scale": None, "classes": -1}, "classes is a number of classes"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        build_model("convnext_digits", **settings)


def test_initial_values_never_change():
    weight = build_model("convnext_digits", **OURS, seed=1).stem.conv.weight
    assert weight[0, 0].flatten().tolist() == pytest.approx(
        [0.00707665, -0.009389062, 0.003149146, -0.024549013], rel=EXACT32
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"in_channels": 0}, "in_channels is 1 or more, got 0"),
        ({"layer_scale": float("nan")}, "layer_scale is a number, or None for none, got nan"),
        ({"classes": -1}, "got -1"),
        ({"drop_path": 1.0}, "drop_path is a probability below 1"),
    ],
)
def test_settings_that_build_nothing_sensible_are_refused(changes, said):
    with pytest.raises(ValueError, match=said):
        build_model("convnext_digits", **{**OURS, **changes})


@pytest.mark.parametrize("keep", [-1, 0, 17])
def test_a_promise_that_no_mask_can_keep_is_refused(keep):
    model = small((1, 1, 1), (4, 8, 12))
    with pytest.raises(ValueError, match=f"1 to 16, got {keep}"):
        model.forward_masked(random_images(1, 32, 32, seed=0), torch.zeros(1, 16, dtype=torch.bool), keep=keep)
