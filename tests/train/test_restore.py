"""Objectives that come back from runs with everything they learned."""

from __future__ import annotations

import shutil

import pytest
import torch

from collapse_lab.runs import Run
from collapse_lab.train.checkpoint import load_checkpoint, save_checkpoint
from collapse_lab.train.loop import train
from collapse_lab.train.restore import load_objective
from tests.train.runs import tiny


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Run:
    """One finished run with checkpoints of steps 1, 3 and 4; only read it."""
    return Run(train(tiny(tmp_path_factory.mktemp("restored") / "run", steps=4, save={"at": [1]})))


@pytest.mark.parametrize(("asked", "found"), [(None, 4), (1, 1)])
def test_encoder_and_decoder_come_back_bit_for_bit(trained, asked, found):
    objective, step = load_objective(str(trained.path), asked)
    saved = load_checkpoint(trained.checkpoint(found))["model"]
    assert step == found
    assert set(objective.state_dict()) == set(saved)
    assert all(torch.equal(value, saved[name]) for name, value in objective.state_dict().items())
    assert not objective.training
    assert all(parameter.requires_grad for parameter in objective.parameters())
    assert objective.norm_pix


def test_what_is_no_trained_objective_is_refused(trained, tmp_path):
    with pytest.raises(FileNotFoundError, match="is not a run folder"):
        load_objective(tmp_path)
    with pytest.raises(FileNotFoundError, match="no checkpoint of step 2, only of: 1, 3, 4"):
        load_objective(trained.path, 2)
    own = Run(shutil.copytree(trained.path, tmp_path / "run"))
    own.config.write_text(own.config.read_text().replace("decoder_dim = 8", "decoder_dim = 9"))
    with pytest.raises(ValueError, match=r"step 4 does not hold the objective 'fcmae' that .*config.toml describes"):
        load_objective(own.path)
    save_checkpoint(own, 5, {"weights": torch.zeros(1)})
    with pytest.raises(ValueError, match="does not hold the objective"):
        load_objective(own.path)
    shutil.rmtree(own.path / "checkpoints")
    with pytest.raises(FileNotFoundError, match="no whole checkpoint yet"):
        load_objective(own.path)
