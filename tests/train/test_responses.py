"""Runs with a response that has a state of its own: it is saved, gone on from, and loaded."""

from __future__ import annotations

import pytest
import torch

from collapse_lab.models.responses.table import RESPONSES
from collapse_lab.runs import Run
from collapse_lab.train.checkpoint import load_checkpoint
from collapse_lab.train.load import load_model
from collapse_lab.train.loop import train
from tests.train.runs import final_state, tiny


def test_running_statistics_survive_a_stop_to_the_bit_and_come_back_with_the_model(tmp_path):
    for name, stop in (("unbroken", 0), ("stopped", 4)):
        config = tiny(tmp_path / name, model={"response": "bn"})
        train(config, on_step=lambda state, stop=stop: state.step == stop)
        train(config)
    states = [final_state(tmp_path / name) for name in ("unbroken", "stopped")]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])

    model = load_model(tmp_path / "stopped")
    saved = load_checkpoint(Run(tmp_path / "stopped").checkpoint(8))["model"]
    found = dict(model.named_buffers())
    assert len(found) == 2 * 5  # of each block
    for name, value in found.items():
        assert torch.equal(value, saved[f"encoder.{name}"]), name
        assert not torch.equal(value, torch.full_like(value, float(name.endswith("var")))), name
    images = torch.rand(3, 3, 16, 16)
    torch.testing.assert_close(model(images)[:1], model(images[:1]))


@pytest.mark.parametrize("response", RESPONSES)
def test_a_run_with_any_response_finishes_and_its_model_loads(response, tmp_path):
    path = train(tiny(tmp_path / "run", steps=1, model={"response": response}))
    model = load_model(path)
    assert model.architecture["response"] == response
    assert model(torch.rand(1, 3, 16, 16)).isfinite().all()
