"""Sizes, initial values and options of the networks."""

from __future__ import annotations

import pytest
import torch

from collapse_lab import draws
from collapse_lab.models.convnext import SIZES, ConvNeXt, build_model
from collapse_lab.objectives.fcmae import FCMAE
from tests.models.networks import random_images, small
from tests.tolerances import EXACT32

# name, V2 with 1,000 classes, V2 without, GRN alone, V1 with 1,000 classes, FCMAE (official models; huge by formula)
COUNTS = [
    ("atto", 3_708_400, 3_386_760, 14_720, 3_695_520, 7_257_992),
    ("femto", 5_233_240, 4_847_472, 17_664, 5_217_784, 8_751_472),
    ("pico", 9_066_280, 8_552_256, 23_552, 9_045_672, 12_521_792),
    ("nano", 15_623_800, 14_981_520, 34_560, 15_593_560, 19_016_592),
    ("tiny", 28_635_496, 27_864_960, 52_992, 28_589_128, 31_965_568),
    ("base", 88_717_800, 87_690_752, 144_384, 88_591_464, 91_922_432),
    ("large", 197_956_840, 196_416_768, 216_576, 197_767_336, 200_910_592),
    ("huge", 660_289_640, 657_467_008, 397_056, 659_942_216, 662_616_192),
]
OURS = {"response": "grn", "layer_scale": 1e-6}


def count(module: torch.nn.Module, part: str = "") -> int:
    return sum(value.numel() for name, value in module.named_parameters() if part in name)


@pytest.mark.parametrize(("size", "total", "encoder", "grn", "first", "fcmae"), COUNTS, ids=[row[0] for row in COUNTS])
def test_parameter_counts_are_the_published_ones(size, total, encoder, grn, first, fcmae):
    v2 = f"convnextv2_{size}"
    with torch.device("meta"):
        bare = build_model(v2)
        assert count(build_model(v2, classes=1000)) == total
        assert (count(bare), count(bare, ".response.")) == (encoder, grn)
        assert count(FCMAE(bare)) == fcmae
        # V1 has no huge of its own: its numbers are those of the V2 network with V1's settings.
        assert count(build_model(v2, classes=1000, response="none", layer_scale=1e-6)) == first
        if f"convnext_{size}" in SIZES:
            assert count(build_model(f"convnext_{size}", classes=1000)) == first


def test_both_families_have_their_published_sizes():
    first = ["atto", "femto", "pico", "nano", "tiny", "small", "base", "large", "xlarge"]
    second = ["atto", "femto", "pico", "nano", "tiny", "base", "large", "huge"]
    ours = ["convnext_digits", "convnext_cifar"]
    assert sorted(SIZES) == sorted([f"convnext_{n}" for n in first] + [f"convnextv2_{n}" for n in second] + ours)


@pytest.mark.parametrize("name", SIZES)
def test_every_model_says_its_stride(name):
    with torch.device("meta"):
        assert build_model(name, **OURS).stride == (8 if name in ("convnext_digits", "convnext_cifar") else 32)


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


def test_any_number_of_channels_and_any_size_that_cells_divide():
    model = small((1, 1), (4, 8), in_channels=5)
    assert model.forward_features(torch.zeros(2, 5, 12, 20, dtype=torch.float64)).shape == (2, 8, 3, 5)
    with pytest.raises(ValueError, match=r"\(N, 5, H, W\), got \(2, 3, 12, 20\)"):
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
