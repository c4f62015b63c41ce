"""Every learning method in the same loop: it goes on to the bit, comes back whole, and rehearses before it writes."""

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
}
JUDGED = {
    "rotation": {"test_loss", "test_top1"},
    "colorization": {"test_loss", "test_grey"},
}
every_method = pytest.mark.parametrize("name", METHODS)


def method(out: Path, name: str, **changes: Any) -> Config:
    """The small run of tests.train.runs with another objective."""
    settings = {
        **SETTINGS,
        "out": str(out),
        "steps": 4,
        "objective": {"name": name, **METHODS[name]},
        "model": {**SETTINGS["model"], "widths": [4, 4, 8]},
        "data": {"batch": 64, "size": 16},
        "optim": {"lr": 1e-3, "ema": 0.8},
    }
    return make_config(merged(settings, changes))


@every_method
def test_stopping_and_going_on_gives_the_same_bits_and_the_objective_comes_back_whole(name, tmp_path):
    unbroken = train(method(tmp_path / "unbroken", name, eval={"every": 4}))
    train(method(tmp_path / "run", name), on_step=lambda state: state.step == 3)
    torch.manual_seed(3)
    train(method(tmp_path / "run", name))
    states = final_state(tmp_path / "run"), final_state(unbroken)
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())
    (judged,) = [line for line in read(unbroken / "log.jsonl") if "test_loss" in line]
    assert JUDGED[name] <= set(judged)
    objective, step = load_objective(unbroken)
    assert step == 4
    assert all(torch.equal(value, states[1][key]) for key, value in objective.state_dict().items())


@every_method
def test_a_rehearsal_takes_what_a_run_would_and_the_written_configuration_repeats_it(name, tmp_path):
    config = method(tmp_path / "run", name)
    found = rehearse(config)
    assert found.parameters > 0
    assert found.memory["activations"] > 0
    assert not (tmp_path / "run").exists()
    path = train(method(tmp_path / "run", name, steps=1))
    written = load_config(path / "config.toml", [f"out={path}"])
    assert train(written, on_step=lambda state: pytest.fail("a finished run has no steps")) == path


def test_colorization_knows_how_the_images_were_normalised():
    config = make_config({"objective": {"name": "colorization"}, "data": {"mean": [0.5, 0.4, 0.3]}})
    resolved = resolve(config, images=9, classes=0)
    assert resolved.objective.mean == (0.5, 0.4, 0.3)
    assert resolved.objective.std == config.data.std
    assert resolve(resolved, images=9, classes=0) == resolved
    wrong = make_config({"objective": {"name": "colorization", "std": [1, 1, 1]}})
    with pytest.raises(ValueError, match=r"objective.std = \(1.0, 1.0, 1.0\), but the images have data.std = .* leave"):
        resolve(wrong, images=9, classes=0)
