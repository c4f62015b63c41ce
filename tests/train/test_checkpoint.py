"""Checkpoints: whole or passed over, and models that come back from them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from collapse_lab.runs import Run
from collapse_lab.train.checkpoint import (
    load_checkpoint,
    newest_checkpoint,
    prune_checkpoints,
    save_checkpoint,
    sweep_parts,
)
from collapse_lab.train.config import SaveConfig, load_config
from collapse_lab.train.load import load_model, load_step
from collapse_lab.train.loop import train
from tests.test_runs import files_no_larger_than
from tests.train.runs import tiny


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Run:
    """One finished run with a checkpoint of step 2 beside the newest; only read it."""
    return Run(train(tiny(tmp_path_factory.mktemp("trained") / "run", save={"at": [2]})))


@pytest.fixture
def own(trained, tmp_path) -> Run:
    """A copy of it, to be spoilt."""
    return Run(shutil.copytree(trained.path, tmp_path / "run"))


def tear(run: Run, step: int) -> None:
    path = run.checkpoint(step)
    path.write_bytes(path.read_bytes()[:-100])


def test_the_newest_the_steps_asked_for_and_no_others_are_kept(trained):
    assert list(trained.checkpoints()) == [2, 6, 8]


def test_a_torn_checkpoint_is_passed_over_loudly(own):
    tear(own, 8)
    with pytest.warns(UserWarning, match="step-00000008.pt is torn.*trying the one before"):
        assert newest_checkpoint(own)["step"] == 6
    with pytest.raises(ValueError, match="is torn: its checksum is not the recorded one"):
        load_checkpoint(own.checkpoint(8))


def test_a_run_whose_every_checkpoint_is_torn_does_not_begin_again_unasked(own):
    for step in own.checkpoints():
        tear(own, step)
    log = own.log.read_bytes()
    own.update(status="interrupted")
    config = load_config(own.config, given={"out": str(own.path)})
    with (
        pytest.warns(UserWarning, match="is torn"),
        pytest.raises(ValueError, match=r"none of the 3 checkpoints of .* is whole: .*begin again in another folder"),
    ):
        newest_checkpoint(own)
    with pytest.warns(UserWarning, match="is torn"), pytest.raises(ValueError, match="none of the 3 checkpoints"):
        train(config)
    assert own.log.read_bytes() == log


def test_a_checkpoint_without_its_checksum_is_not_trusted(own):
    own.checkpoint(8).with_suffix(".sha256").unlink()
    with pytest.raises(ValueError, match=r"has no checksum step-00000008.sha256 beside it; copy both"):
        load_model(own.checkpoint(8))


def test_torn_later_checkpoints_do_not_push_out_whole_ones(own):
    tear(own, 8)
    prune_checkpoints(own, 6, SaveConfig(keep=1))
    assert list(own.checkpoints()) == [6, 8]


def test_a_full_disk_leaves_the_older_checkpoints(own):
    payload = {"step": 8, "model": {"a": torch.zeros(100_000)}, "architecture": {}}
    with (
        files_no_larger_than(10_000),
        pytest.raises(OSError, match=r"cannot write .*step-00000009.pt.*check free space"),
    ):
        save_checkpoint(own, 9, payload)
    assert newest_checkpoint(own)["step"] == 8
    assert not list(own.path.rglob("*.part"))


def test_what_a_killed_writer_left_is_swept(own):
    part = own.path / "checkpoints" / ".step-00000008.pt.1.part"
    part.touch()
    sweep_parts(own)
    assert not part.exists()
    assert list(own.checkpoints()) == [2, 6, 8]


def test_a_model_comes_back_from_a_run_a_file_and_a_step(trained):
    images = torch.rand(2, 3, 16, 16)
    models = [load_model(trained.path), load_model(str(trained.checkpoint(8))), load_step(trained, 8)]
    kept = {name: value for name, value in load_checkpoint(trained.checkpoint(8))["model"].items() if "encoder" in name}
    for model in models:
        assert not model.training
        assert {f"encoder.{name}" for name in model.state_dict()} == set(kept)
        assert all(torch.equal(value, kept[f"encoder.{name}"]) for name, value in model.state_dict().items())
        assert torch.equal(model(images), models[0](images))
        assert all(parameter.requires_grad for parameter in model.parameters())
    assert not torch.equal(load_step(trained, 2)(images), models[0](images))


def test_the_untrained_network_needs_no_checkpoint(trained, tmp_path):
    kept = Run(train(tiny(tmp_path / "run", save={"at": [0]}, steps=1)))
    assert 0 not in trained.checkpoints()
    assert 0 in kept.checkpoints()
    untrained = load_step(trained, 0)
    assert not untrained.training
    saved = load_step(kept, 0).state_dict()
    assert set(saved) == set(untrained.state_dict())
    assert all(torch.equal(value, saved[name]) for name, value in untrained.state_dict().items())


def test_a_checkpoint_that_was_taken_out_of_its_run_is_a_file_of_weights(trained, tmp_path):
    alone = Path(shutil.copy(trained.checkpoint(8), tmp_path / "encoder.pt"))
    images = torch.rand(2, 3, 16, 16)
    assert torch.equal(load_model(alone)(images), load_model(trained.path)(images))
    assert load_model(alone).architecture == load_model(trained.path).architecture


def test_a_run_is_switched_as_it_is_loaded(trained):
    plain = load_model(trained.path, response="none", classes=None).state_dict()
    whole = load_model(trained.path).state_dict()
    assert set(whole) - set(plain) == {name for name in whole if ".response." in name} != set()
    assert all(torch.equal(value, whole[name]) for name, value in plain.items())


def test_what_is_no_model_is_refused(trained, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file or folder .*; expected a run"):
        load_model(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError, match="no checkpoint of step 5, only of: 2, 6, 8"):
        load_step(trained, 5)
    Run(tmp_path).update(status="created")
    with pytest.raises(FileNotFoundError, match="no whole checkpoint yet"):
        load_model(tmp_path)
    save_checkpoint(Run(tmp_path), 1, {"weights": torch.zeros(1)})
    with pytest.raises(ValueError, match=r"is not a checkpoint of a run: it has \['weights'\]"):
        load_model(tmp_path)


def test_nothing_but_tensors_and_plain_values_is_read(tmp_path):
    run = Run(tmp_path)
    save_checkpoint(run, 1, {"model": shutil.copytree})
    with pytest.raises(ValueError, match="cannot be read"):
        load_checkpoint(run.checkpoint(1))
