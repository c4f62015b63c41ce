"""Names and shapes of others: every tensor has one place, in both directions, and what has none is listed."""

from __future__ import annotations

import pytest
import torch

from collapse_lab.models.weights.infer import architecture_of
from collapse_lab.models.weights.layouts import LAYOUTS, named
from collapse_lab.models.weights.read import weights_of
from collapse_lab.models.weights.translate import translate
from tests.models.networks import CLASSES, FAMILIES, assert_same, of_family, random_images
from tests.models.weights.foreign import official_forward, official_state, sparse_state, timm_state
from tests.tolerances import EXACT64

SHAPES = [
    {"depths": (1, 2), "dims": (4, 6), "stem": 2},
    {"depths": (2, 1, 3), "dims": (4, 4, 6), "stem": 1, "in_channels": 5},
    {"depths": (1, 1, 2, 1), "dims": (2, 4, 6, 8), "stem": 4},
]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: f"{len(shape['depths'])} stages")
@pytest.mark.parametrize("classes", CLASSES)
def test_there_and_back_every_tensor_and_the_architecture_are_the_same(layout, family, shape, classes):
    model = of_family(family, **shape, classes=classes)
    found = translate(named(model.state_dict(), LAYOUTS[layout]), "here")
    assert found.layout.name == layout
    assert found.unexpected == found.left_out == ()
    assert_same(found.tensors, model.state_dict())
    assert architecture_of(found.tensors) == model.architecture


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("classes", CLASSES)
def test_tensors_are_named_and_shaped_as_the_official_code_and_timm_have_them(family, classes):
    model = of_family(family, classes=classes)
    assert_same(named(model.state_dict(), LAYOUTS["official"]), official_state(model))
    assert_same(named(model.state_dict(), LAYOUTS["timm"]), timm_state(model))


@pytest.mark.parametrize("family", FAMILIES)
def test_official_weights_compute_what_the_official_network_computes(family):
    model = of_family(family, classes=3, dtype=torch.float64)
    state = official_state(model)
    images = random_images(2, 12, 20, seed=1)
    logits = weights_of(state, None, "here").model(images)
    expected = official_forward(images, state, model.architecture["depths"], model.architecture["stem"])
    torch.testing.assert_close(logits, expected, rtol=EXACT64, atol=EXACT64)


def test_pointwise_convolutions_of_timm_are_linear_maps():
    model = of_family("V1", classes=3)
    assert_same(weights_of(timm_state(model, convolutions=True), None, "here").model.state_dict(), model.state_dict())


@pytest.mark.parametrize("family", ["V2", "V1"])
def test_sparse_weights_are_the_dense_ones_with_the_row_of_a_kernel_fastest(family):
    model = of_family(family)
    loaded = weights_of(sparse_state(model), None, "here")
    assert_same(loaded.model.state_dict(), model.state_dict())
    assert loaded.layout == "minkowski"
    assert set(loaded.left_out) == {"proj.weight", "mask_token", "decoder.0.grn.gamma"}


def test_dense_weights_are_not_densified_again():
    state = official_state(of_family("V2"))
    once = weights_of(state, None, "here").model
    again = weights_of(named(once.state_dict(), LAYOUTS["official"]), None, "here").model
    assert_same(again.state_dict(), of_family("V2").state_dict())


def test_leading_ones_of_grn_do_not_matter():
    model = of_family("V2")
    state = official_state(model)
    deep = {name: value[None, None] if "grn" in name else value for name, value in state.items()}
    assert_same(weights_of(deep, None, "here").model.state_dict(), model.state_dict())


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "module.encoder.", "encoder."])
@pytest.mark.parametrize("layout", ["ours", "official"])
def test_what_wrappers_put_before_names_is_taken_off(prefix, layout):
    model = of_family("V2", classes=3)
    wrapped = {prefix + name: value for name, value in named(model.state_dict(), LAYOUTS[layout]).items()}
    assert_same(weights_of(wrapped, None, "here").model.state_dict(), model.state_dict())


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_missing_tensor_is_named_as_the_file_would_name_it(layout):
    state = named(of_family("GRN and LayerScale", classes=3).state_dict(), LAYOUTS[layout])
    for name in state:
        rest = {other: value for other, value in state.items() if other != name}
        with pytest.raises(ValueError, match="does not fit") as refused:
            weights_of(rest, None, "here")
        assert f"1 missing: {name}" in str(refused.value), name
        assert "unexpected" not in str(refused.value), name


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_mis_shaped_tensor_is_named_with_both_shapes(layout):
    state = named(of_family("GRN and LayerScale", classes=3).state_dict(), LAYOUTS[layout])
    for name, value in state.items():
        long = torch.cat([value, value[..., :1]], dim=-1)
        with pytest.raises(ValueError, match="does not fit") as refused:
            weights_of({**state, name: long}, None, "here")
        assert f"{name}: expected (" in str(refused.value), name


def test_all_that_is_wrong_is_listed_at_once_and_long_lists_are_cut():
    state = official_state(of_family("V2"))
    del state["stages.1.1.dwconv.bias"]
    state["stages.0.0.norm.weight"] = torch.ones(9)
    state |= {f"extra.{number}": torch.ones(1) for number in range(7)}
    with pytest.raises(ValueError, match="does not fit a ConvNeXt in the layout official") as refused:
        weights_of(state, None, "a.pt")
    said = str(refused.value)
    assert "1 missing: stages.1.1.dwconv.bias;" in said
    assert "7 unexpected: extra.0, extra.1, extra.2, extra.3, extra.4 ...;" in said
    assert "1 mis-shaped: stages.0.0.norm.weight: expected (4,), got (9,)" in said


def test_an_overlapping_stem_is_refused():
    state = timm_state(of_family("V2"))
    state |= {"stem.0.weight": torch.ones(2, 3, 3, 3), "stem.1.weight": torch.ones(4, 2, 3, 3)}
    state |= {"stem.2.weight": torch.ones(4), "stem.2.bias": torch.ones(4)}
    with pytest.raises(ValueError, match=r"2 unexpected: stem.2.bias, stem.2.weight; .* mis-shaped: stem.0.weight"):
        weights_of(state, None, "ols")


def test_two_tensors_for_one_place_are_refused():
    state = official_state(of_family("V2"))
    state["encoder.stages.0.0.norm.weight"] = state["stages.0.0.norm.weight"]
    with pytest.raises(ValueError, match=r"two tensors for one place: stages.0.0.norm.weight and encoder.stages"):
        weights_of(state, None, "here")


@pytest.mark.parametrize(
    "names",
    [
        ["conv1.weight", "bn1.weight", "layer1.0.conv1.weight", "fc.weight", "fc.bias"],
        ["cls_token", "pos_embed", "blocks.0.norm1.weight", "norm.weight", "norm.bias", "head.weight", "head.bias"],
        ["norm.weight", "head.weight"],
        [],
    ],
    ids=["ResNet", "ViT", "a norm and a head", "nothing"],
)
def test_another_network_is_answered_with_what_was_seen_and_what_is_known(names):
    with pytest.raises(ValueError, match="here holds no ConvNeXt V1 or V2") as refused:
        weights_of({name: torch.ones(2) for name in names}, None, "here")
    for said in (*names[:2], "official (stages.0.0.dwconv.weight)", "timm (stages.0.blocks.0.conv_dw.weight)"):
        assert said in str(refused.value)


def test_a_stage_without_blocks_is_refused():
    state = {name: value for name, value in official_state(of_family("V2")).items() if not name.startswith("stages.0")}
    with pytest.raises(ValueError, match=r"blocks of the stages \[1\]"):
        weights_of(state, None, "here")
