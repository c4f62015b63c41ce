"""Weights into a network: what is kept, what is changed on the way in, and what is refused with its reason."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from collapse_lab.models.block import initialise
from collapse_lab.models.build import build_model
from collapse_lab.models.convnext import ConvNeXt
from collapse_lab.models.weights.read import read_weights, weights_of
from collapse_lab.models.weights.write import write_weights
from collapse_lab.train.load import load_model
from tests.models.networks import assert_same, small
from tests.models.weights.foreign import official_state


def network(**changes: Any) -> ConvNeXt:
    return small(**{"dtype": torch.float32, **changes})


def test_a_model_comes_in_eval_mode_with_gradients_and_memory_of_its_own(tmp_path):
    shared = torch.ones(4)  # two parameters must not stay one
    state = official_state(network()) | {"stages.0.0.norm.weight": shared, "downsample_layers.0.1.weight": shared}
    path = tmp_path / "a.pt"
    torch.save({"model": state}, path)
    model = load_model(path)
    path.write_bytes(b"")  # a mapped file that shrinks would kill the process
    assert not model.training
    assert all(parameter.requires_grad and parameter.isfinite().all() for parameter in model.parameters())
    with torch.no_grad():
        model.stem.norm.weight += 1
    assert torch.equal(model.stages[0].blocks[0].norm.weight, torch.ones(4))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_widened_exactly_and_it_is_said_once(dtype):
    state = {name: value.to(dtype) for name, value in official_state(network()).items()}
    with pytest.warns(UserWarning, match=r"weights: widened to float32, exactly") as said:
        model = weights_of(state, None, "here").model
    assert len(said) == 1
    assert {value.dtype for value in model.state_dict().values()} == {torch.float32}
    assert_same(model.state_dict(), network().to(dtype).float().state_dict())


def test_double_precision_stays_and_of_several_types_all_become_the_widest():
    state = official_state(network(dtype=torch.float64))
    with warnings.catch_warnings(action="error"):
        assert_same(weights_of(state, None, "here").model.state_dict(), network(dtype=torch.float64).state_dict())
    state["stages.0.0.norm.weight"] = state["stages.0.0.norm.weight"].float()
    with pytest.warns(UserWarning, match="holds float32 weights: widened to float64"):
        assert weights_of(state, None, "here").model.stages[0].blocks[0].norm.weight.dtype == torch.float64


def test_whole_numbers_are_no_weights():
    state = official_state(network())
    state["stages.0.0.norm.weight"] = torch.ones(4, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"stages.0.0.norm.weight: expected \(4,\), got \(4,\) of torch.int64"):
        weights_of(state, None, "here")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_is_named(value):
    state = {name: tensor.clone() for name, tensor in official_state(network()).items()}
    state["stages.1.0.pwconv1.weight"][0, 0] = value
    with pytest.raises(ValueError, match=r"NaN or infinity in 1 of \d+ tensors: stages.1.0.pwconv1.weight;"):
        weights_of(state, None, "here")


def loaded(file_classes: int | None, classes: int | None) -> tuple[dict[str, Tensor], dict[str, Tensor], list[str]]:
    """The file's tensors, the model's, and what was said."""
    stored = network(classes=file_classes).state_dict()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        model = weights_of(stored, None, "here", classes=classes).model
    assert model.architecture["classes"] == (file_classes if classes is None else classes)
    return stored, model.state_dict(), [str(each.message) for each in said]


@pytest.mark.parametrize(("file_classes", "classes"), [(3, None), (3, 3), (0, None), (0, 0), (None, None)])
def test_a_head_that_fits_is_kept_silently(file_classes, classes):
    stored, found, said = loaded(file_classes, classes)
    assert_same(found, stored)
    assert said == []


def test_no_classes_drop_the_head_and_keep_the_norm():
    stored, found, said = loaded(3, 0)
    assert_same(found, {name: value for name, value in stored.items() if not name.startswith("head.")})
    assert said == []


def initial_state(**changes: Any) -> dict[str, Tensor]:
    """As `build_model` starts a network of this shape."""
    model = ConvNeXt(**{**network().architecture, **changes})
    initialise(model, 0)
    return model.state_dict()


@pytest.mark.parametrize(
    ("file_classes", "expected"),
    [
        (3, ["here holds a head of 3 classes: a fresh one of 7 classes is drawn, from seed 0"]),
        (0, ["here holds no head: a fresh one of 7 classes is drawn, from seed 0"]),
        (
            None,
            [
                "here holds no final norm: it starts with weight 1 and bias 0",
                "here holds no head: a fresh one of 7 classes is drawn, from seed 0",
            ],
        ),
    ],
)
def test_a_head_of_another_size_starts_as_build_model_starts_it_and_it_is_said(file_classes, expected):
    stored, found, said = loaded(file_classes, 7)
    assert said == expected
    fresh = initial_state(classes=7)
    for name in ("head.weight", "head.bias"):
        assert torch.equal(found[name], fresh[name])
    norm = stored if file_classes is not None else fresh
    assert torch.equal(found["norm.weight"], norm["norm.weight"])
    assert torch.equal(found["stem.conv.weight"], stored["stem.conv.weight"])


def test_grn_dropped_leaves_all_other_tensors_as_they_are():
    stored = network().state_dict()
    found = weights_of(stored, None, "here", response="none").model
    assert found.architecture["response"] == "none"
    assert_same(found.state_dict(), {name: value for name, value in stored.items() if ".response." not in name})


def test_grn_added_starts_as_the_identity_so_that_nothing_changes():
    plain = network(response="none")
    grown = weights_of(plain.state_dict(), None, "here", response="grn").model
    images = torch.rand(2, 3, 8, 8)
    assert {name for name in grown.state_dict() if "response" in name}
    assert torch.equal(grown(images), plain(images))
    assert_same(weights_of(grown.state_dict(), None, "here", response="none").model.state_dict(), plain.state_dict())


def test_a_switched_response_keeps_the_type_of_the_weights():
    plain = network(response="none", dtype=torch.float64)
    grown = weights_of(plain.state_dict(), None, "here", response="grn").model
    assert {value.dtype for value in grown.state_dict().values()} == {torch.float64}


def test_an_unknown_response_is_answered_with_the_nearest():
    with pytest.raises(LookupError, match="no response is called 'gnr'; did you mean 'grn'"):
        weights_of(network().state_dict(), None, "here", response="gnr")


def test_negative_classes_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"classes is a number of classes.*got -1"):
        load_model(tmp_path, classes=-1)


def test_published_models_are_recognised_with_their_head(tmp_path):
    for name, classes in (("convnextv2_atto", 1000), ("convnext_atto", 21841)):
        model = build_model(name, classes=classes)
        torch.save({"model": official_state(model)}, tmp_path / "a.pt")
        assert read_weights(tmp_path / "a.pt").model.architecture == model.architecture


def test_the_architecture_beside_our_tensors_is_used_and_held_against_them(tmp_path):
    model = network(layer_scale=0.25, classes=3)
    model.architecture["drop_path"] = 0.1
    for name in ("a.safetensors", "a.pt"):
        write_weights(model, tmp_path / name, "ours")
        assert load_model(tmp_path / name).architecture == model.architecture
    save_file(model.state_dict(), tmp_path / "b.safetensors", metadata={"architecture": '{"depths": [1, 2]}'})
    with pytest.raises(ValueError, match=r"b\.safetensors lacks 'stem'"):
        load_model(tmp_path / "b.safetensors")
    wrong = {**model.architecture, "depths": (1, 3)}
    with pytest.raises(ValueError, match=r"11 missing: stages\.1\.blocks\.2"):
        weights_of(model.state_dict(), wrong, "here")
    with pytest.raises(ValueError, match="did you mean 'grn'"):
        weights_of(model.state_dict(), {**model.architecture, "response": "gnr"}, "here")


@pytest.mark.parametrize("said", ["convnextv2_atto", "[1]", "{", "[" * 100_000, '{"name": "convnextv2"}'])
def test_what_others_call_an_architecture_keeps_no_weights_from_loading(said, tmp_path):
    save_file(official_state(network()), tmp_path / "theirs.safetensors", metadata={"architecture": said})
    assert_same(load_model(tmp_path / "theirs.safetensors").state_dict(), network().state_dict())


@pytest.mark.parametrize("size", [{"stem": 0}, {"in_channels": 0}, {"dims": (4, 0)}, {"dims": (4, 10**30)}])
def test_an_architecture_of_no_size_builds_nothing(size):
    with pytest.raises(ValueError, match=r"here builds no ConvNeXt: [^\n]+$"):
        weights_of(network().state_dict(), {**network().architecture, **size}, "here")


def test_a_file_cannot_ask_for_more_blocks_than_it_has_tensors():
    state = official_state(network())
    with pytest.raises(ValueError, match="a stage of 1000000000 blocks cannot be made of 39 tensors"):
        weights_of({**state, "stages.1.999999999.norm.bias": torch.ones(6)}, None, "here")
    with pytest.raises(ValueError, match="a stage of 1000000000 blocks cannot be made of 38 tensors"):
        weights_of(network().state_dict(), {**network().architecture, "depths": [1, 10**9]}, "here")
