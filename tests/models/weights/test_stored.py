"""What a file of weights may be: tensors where training code puts them, and nothing that runs."""

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
from torch import nn

from collapse_lab.models.weights.stored import read_tensors
from collapse_lab.models.weights.write import write_weights
from collapse_lab.train.load import load_model
from tests.models.networks import assert_same, of_family
from tests.models.weights.foreign import official_state


def save(path: Path, payload: object, **options: Any) -> Path:
    torch.save(payload, path, **options)
    return path


@pytest.mark.parametrize("container", [None, "model", "state_dict", "model_ema", "state_dict_ema"])
@pytest.mark.parametrize("zipped", [True, False])
def test_weights_are_found_alone_or_where_training_code_puts_them(tmp_path, container, zipped):
    state = official_state(of_family("V2"))
    payload = state if container is None else {container: state, "epoch": 3}
    path = save(tmp_path / "a.pth", payload, _use_new_zipfile_serialization=zipped)
    assert_same(load_model(path).state_dict(), of_family("V2").state_dict())


def test_of_weights_and_their_average_the_weights_are_taken_and_it_is_said(tmp_path):
    average = {name: value + 1 for name, value in official_state(of_family("V2")).items()}
    path = save(tmp_path / "a.pth", {"model_ema": average, "model": official_state(of_family("V2"))})
    with pytest.warns(UserWarning, match="holds model, model_ema: model is taken, the others are left"):
        assert_same(load_model(path).state_dict(), of_family("V2").state_dict())


def test_an_official_training_checkpoint_is_read_without_building_its_arguments(tmp_path):
    moments = {"step": torch.tensor(7.0), "exp_avg": torch.zeros(4)}
    optimizer = {"state": {0: moments}, "param_groups": [{"lr": 1e-3, "betas": (0.9, 0.95), "params": [0]}]}
    arguments = argparse.Namespace(lr=1e-3, output_dir=Path("runs"), dist_url="env://", opt_betas=(0.9, 0.95))
    payload = {
        "model": official_state(of_family("V2")),
        "optimizer": optimizer,
        "scaler": {},
        "epoch": 7,
        "args": arguments,
    }
    assert_same(load_model(save(tmp_path / "a.pth", payload)).state_dict(), of_family("V2").state_dict())


class Malicious:
    """Pickles as a call that leaves a trace."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.trace,)


@pytest.mark.parametrize("place", ["whole", "beside", "inside args", "plain pickle"])
def test_a_file_that_would_run_something_is_refused_and_runs_nothing(tmp_path, place):
    trace = tmp_path / "trace"
    bomb, state = Malicious(trace), official_state(of_family("V2"))
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


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_of_a_bare_pickle_it_is_said_what_reading_it_would_run(tmp_path, protocol):
    path, trace = tmp_path / "bare.pt", tmp_path / "trace"
    path.write_bytes(pickle.dumps({"model": Malicious(trace)}, protocol))
    with pytest.raises(ValueError, match=r"holds more than tensors: reading it would run .*(touch|getattr)"):
        read_tensors(path)
    assert not trace.exists()


def test_a_program_is_told_from_weights(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, of TorchScript's end
        torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.ones(1, 2)), tmp_path / "program.pt")
    with pytest.raises(ValueError, match="is a TorchScript program, not weights"):
        read_tensors(tmp_path / "program.pt")


def test_a_few_bytes_cannot_ask_for_any_amount_of_memory(tmp_path):
    torch.save({"model": {"head.weight": torch.ones(1).expand(2**40, 16)}}, tmp_path / "wide.pt")
    with pytest.raises(ValueError, match=r"no plain tensor where weights should be: head.weight"):
        read_tensors(tmp_path / "wide.pt")


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
    write_weights(of_family("V2"), path, "official")
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
