"""Methods that need no labels in the same loop: they go on to the bit, come back whole, rehearse before they write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from collapse_lab.train.config import Config, load_config, make_config
from collapse_lab.train.log import read
from collapse_lab.train.loop import train
from collapse_lab.train.nested import merged
from collapse_lab.train.rehearse import rehearse
from collapse_lab.train.resolve import resolve
from collapse_lab.train.restore import load_objective
from tests.train.runs import SETTINGS, final_state

METHODS: dict[str, dict[str, Any]] = {
    "rotation": {},
    "colorization": {},
    "simsiam": {"projector_dim": 8, "predictor_dim": 4, "noise": 0.1},
    "vicreg": {"expander_dim": 8, "embedding_dim": 6},
}
JUDGED = {
    "rotation": {"test_loss", "test_top1"},
    "colorization": {"test_loss", "test_grey"},
    "simsiam": {"test_loss", "test_embedding_std"},
    "vicreg": {"test_loss", "test_invariance", "test_variance", "test_covariance"},
}
every_method = pytest.mark.parametrize("name", METHODS)


def method(out: Path, name: str, **changes: Any) -> Config:
    """The small run of tests.train.runs with another objective."""
    settings = {
        **SETTINGS,
        "out": str(out),
        "steps": 2,
        "objective": {"name": name, **METHODS[name]},
        "model": {**SETTINGS["model"], "widths": [4, 4, 8]},
        "data": {"batch": 100, "size": 16},
        "optim": {"lr": 1e-3, "ema": 0.8},
    }
    return make_config(merged(settings, changes))


@every_method
def test_stopping_and_going_on_gives_the_same_bits_and_the_objective_comes_back_whole(name, tmp_path):
    unbroken = train(method(tmp_path / "unbroken", name, eval={"every": 2}))
    train(method(tmp_path / "run", name), on_step=lambda state: state.step == 1)
    torch.manual_seed(1)
    train(method(tmp_path / "run", name))
    states = final_state(tmp_path / "run"), final_state(unbroken)
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())
    (judged,) = [line for line in read(unbroken / "log.jsonl") if "test_loss" in line]
    assert JUDGED[name] <= set(judged)
    written = load_config(unbroken / "config.toml", [f"out={unbroken}"])
    assert train(written, on_step=lambda state: pytest.fail("a finished run has no steps")) == unbroken
    objective, step = load_objective(unbroken)
    assert step == 2
    assert all(torch.equal(value, states[1][key]) for key, value in objective.state_dict().items())


@every_method
def test_a_rehearsal_takes_one_image_and_two_and_writes_nothing(name, tmp_path):
    found = rehearse(method(tmp_path / "run", name))
    assert found.parameters > 0
    assert found.memory["activations"] > 0
    assert not (tmp_path / "run").exists()


def test_colorization_knows_how_the_images_were_normalised():
    config = make_config({"objective": {"name": "colorization"}, "data": {"mean": [0.5, 0.4, 0.3]}})
    resolved = resolve(config, images=9, classes=0)
    assert resolved.objective.mean == (0.5, 0.4, 0.3)
    assert resolved.objective.std == config.data.std
    assert resolve(resolved, images=9, classes=0) == resolved
    wrong = make_config({"objective": {"name": "colorization", "std": [1, 1, 1]}})
    with pytest.raises(ValueError, match=r"objective.std = \(1.0, 1.0, 1.0\), but the images have data.std = .* leave"):
        resolve(wrong, images=9, classes=0)


@pytest.mark.parametrize("name", ["simsiam", "vicreg"])
def test_one_image_at_once_has_nothing_to_be_compared_with(name, tmp_path):
    for changes in ({"data": {"batch": 1}}, {"data": {"batch": 4}, "compute": {"accumulate": 4}}):
        with pytest.raises(ValueError, match=f"the objective {name} compares .* needs 2 or more at once, got 1"):
            train(method(tmp_path / "run", name, **changes))
    assert not (tmp_path / "run").exists()
