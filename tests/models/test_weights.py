"""Weights into a network: what a file may be, what is changed on the way in, and what is refused with its reason."""

from __future__ import annotations

import argparse
import pickle
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn

from collapse_lab.models.block import initialise
from collapse_lab.models.convnext import ConvNeXt, build_model
from collapse_lab.models.export import write_weights
from collapse_lab.models.tensors import read_tensors
from collapse_lab.models.weights import read_weights, weights_of
from collapse_lab.train.load import load_model
from tests.models.foreign import official_state
from tests.models.networks import small
from tests.models.test_layouts import assert_same


def network(**changes: Any) -> ConvNeXt:
    return small(**{"dtype": torch.float32, **changes})


def save(path: Path, payload: object, **options: Any) -> Path:
    torch.save(payload, path, **options)
    return path


def test_a_model_comes_in_eval_mode_with_gradients_and_memory_of_its_own(tmp_path):
    shared = torch.ones(4)  # two parameters must not stay one
    state = official_state(network()) | {"stages.0.0.norm.weight": shared, "downsample_layers.0.1.weight": shared}
    path = save(tmp_path / "a.pt", {"model": state})
    model = load_model(path)
    path.write_bytes(b"")  # a mapped file that shrinks would kill the process
    assert not model.training
    assert all(parameter.requires_grad and parameter.isfinite().all() for parameter in model.parameters())
    with torch.no_grad():
        model.stem.norm.weight += 1
    assert torch.equal(model.stages[0].blocks[0].norm.weight, torch.ones(4))


@pytest.mark.parametrize("container", [None, "model", "state_dict", "model_ema", "state_dict_ema"])
@pytest.mark.parametrize("zipped", [True, False])
def test_weights_are_found_alone_or_where_training_code_puts_them(tmp_path, container, zipped):
    state = official_state(network())
    payload = state if container is None else {container: state, "epoch": 3}
    path = save(tmp_path / "a.pth", payload, _use_new_zipfile_serialization=zipped)
    assert_same(load_model(path).state_dict(), network().state_dict())


def test_of_weights_and_their_average_the_weights_are_taken_and_it_is_said(tmp_path):
    average = {name: value + 1 for name, value in official_state(network()).items()}
    path = save(tmp_path / "a.pth", {"model_ema": average, "model": official_state(network())})
    with pytest.warns(UserWarning, match="holds model, model_ema: model is taken, the others are left"):
        assert_same(load_model(path).state_dict(), network().state_dict())


def test_an_official_training_checkpoint_is_read_without_building_its_arguments(tmp_path):
    moments = {"step": torch.tensor(7.0), "exp_avg": torch.zeros(4)}
    optimizer = {"state": {0: moments}, "param_groups": [{"lr": 1e-3, "betas": (0.9, 0.95), "params": [0]}]}
    arguments = argparse.Namespace(lr=1e-3, output_dir=Path("runs"), dist_url="env://", opt_betas=(0.9, 0.95))
    payload = {"model": official_state(network()), "optimizer": optimizer, "scaler": {}, "epoch": 7, "args": arguments}
    assert_same(load_model(save(tmp_path / "a.pth", payload)).state_dict(), network().state_dict())


class Malicious:
    """Pickles as a call that leaves a trace."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.trace,)


@pytest.mark.parametrize("place", ["whole", "beside", "inside args", "plain pickle"])
def test_a_file_that_would_run_something_is_refused_and_runs_nothing(tmp_path, place):
    trace = tmp_path / "trace"
    bomb, state = Malicious(trace), official_state(network())
    if place == "plain pickle":
        path = tmp_path / "a.pt"
        path.write_bytes(pickle.dumps(bomb))
    else:
        arguments = argparse.Namespace(lr=bomb)
        payload = {
            "whole": bomb,
            "beside": {"model": state, "x": bomb},
            "inside args": {"model": state, "args": arguments},
        }
        path = save(tmp_path / "a.pt", payload[place])
    with pytest.raises(ValueError, match=r"a\.pt") as refused:
        load_model(path)
    assert not trace.exists()
    assert "weights_only" not in str(refused.value), "torch advises to switch the protection off"
    pickle.loads(pickle.dumps(bomb))
    assert trace.exists(), "the file was harmless, and this test could not fail"


def test_a_whole_pickled_model_is_refused_with_the_remedy(tmp_path):
    with pytest.raises(
        ValueError, match=r"would run torch.nn.modules.linear.Linear.*save model.state_dict\(\) instead"
    ):
        load_model(save(tmp_path / "a.pt", nn.Linear(2, 2)))


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        ([torch.ones(1)], "holds a list; expected the tensors of a model by name"),
        (torch.ones(1), "holds a Tensor"),
        ({"model": {"a": torch.ones(1), "b": 3}}, r"no plain tensor where weights should be: b \(int\)"),
        ({"weights": {"a": torch.ones(1)}, "epoch": 1}, r"weights \(dict\), epoch \(int\); expected tensors by name"),
        ({"model": {"a": torch.ones(2, 2).to_sparse()}}, r"no plain tensor where weights should be: a \(Tensor\)"),
        ({"model": {"a": torch.ones(2, device="meta")}}, r"no plain tensor where weights should be: a \(Tensor\)"),
        ({}, "holds no ConvNeXt V1 or V2: it has no tensors"),
    ],
)
def test_a_file_of_other_things_is_answered_with_what_it_holds(tmp_path, payload, said):
    with pytest.raises(ValueError, match=said):
        load_model(save(tmp_path / "a.pt", payload))


@pytest.mark.parametrize("name", ["a.safetensors", "a.pt"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_file_is_torn_not_garbage(tmp_path, name, share):
    path = tmp_path / name
    write_weights(network(), path, "official")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ValueError, match=f"{name} is (torn|empty)"):
        load_model(path)


@given(st.binary(max_size=200))
@settings(max_examples=50, deadline=None)
def test_no_bytes_give_anything_but_a_value_error(tmp_path_factory, noise):
    path = tmp_path_factory.getbasetemp() / "noise.bin"
    path.write_bytes(noise)
    with pytest.raises(ValueError, match=r"noise\.bin"):
        read_tensors(path)


def test_a_pointer_of_git_lfs_is_told_from_weights(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n")
    with pytest.raises(ValueError, match="git lfs pull"):
        load_model(path)


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
        path = save(tmp_path / "a.pt", {"model": official_state(model)})
        assert read_weights(path).model.architecture == model.architecture


def test_the_architecture_beside_our_tensors_is_used_and_held_against_them(tmp_path):
    model = network(layer_scale=0.25, classes=3)
    model.architecture["drop_path"] = 0.1
    for name in ("a.safetensors", "a.pt"):
        write_weights(model, tmp_path / name, "ours")
        assert load_model(tmp_path / name).architecture == model.architecture
    for said, fault in (
        ('{"depths": [1, 2]}', "builds no ConvNeXt"),
        ("[1]", "builds no ConvNeXt"),
        ("{", "is not JSON"),
    ):
        save_file(model.state_dict(), tmp_path / "b.safetensors", metadata={"architecture": said})
        with pytest.raises(ValueError, match=fault):
            load_model(tmp_path / "b.safetensors")
    wrong = {**model.architecture, "depths": (1, 3)}
    with pytest.raises(ValueError, match=r"11 missing: stages\.1\.blocks\.2"):
        weights_of(model.state_dict(), wrong, "here")
    with pytest.raises(ValueError, match="did you mean 'grn'"):
        weights_of(model.state_dict(), {**model.architecture, "response": "gnr"}, "here")
