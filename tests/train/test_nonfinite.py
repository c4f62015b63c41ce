"""A loss or gradient that is not finite changes no weight, and is told with its images."""

from __future__ import annotations

import math
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from collapse_lab.runs import Run, read_lines
from collapse_lab.train import loop
from collapse_lab.train.loop import train
from collapse_lab.train.nonfinite import REMEMBERED, LeftOut, Watch
from collapse_lab.train.pixels import pixels_of
from tests.train.runs import final_state, tiny
from tests.train.together import under


def bad_at(*steps: int, value: float = float("nan")):
    """Disturbs the loss of these steps."""

    def disturb(step, part, outcome):
        factor = value if step in steps else 1.0
        return type(outcome)(**{**vars(outcome), "loss": outcome.loss * factor})

    return disturb


def flags(bad: bool, loss: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor(loss), torch.tensor(bad)


def test_a_watch_says_once_which_steps_were_bad_and_counts_those_in_a_row():
    watch = Watch(torch.device("cpu"))
    for step, bad in enumerate([False, True, True, False, True]):
        watch.note(step, *flags(bad, loss=step != 2))
    assert watch.read() == [
        LeftOut(step=1, loss=True),
        LeftOut(step=2, loss=False),
        LeftOut(step=4, loss=True),
    ]
    assert (watch.read(), watch.total, watch.most_in_a_row) == ([], 3, 2)
    watch.note(5, *flags(True))
    assert (watch.read(), watch.total, watch.most_in_a_row) == ([LeftOut(step=5, loss=True)], 4, 2)


def test_of_more_steps_than_are_remembered_the_last_are_told_and_all_are_counted():
    watch = Watch(torch.device("cpu"))
    for step in range(REMEMBERED + 10):
        watch.note(step, *flags(True))
    assert [each.step for each in watch.read()] == list(range(10, REMEMBERED + 10))
    assert watch.total == watch.most_in_a_row == REMEMBERED + 10


def test_a_watch_that_comes_back_goes_on_counting():
    watch, again = Watch(torch.device("cpu")), Watch(torch.device("cpu"))
    for step in range(3):
        watch.note(step, *flags(True))
    watch.read()
    again.load_state_dict(watch.state_dict())
    again.note(3, *flags(True))
    assert again.read() == [LeftOut(step=3, loss=True)]
    assert (again.total, again.most_in_a_row) == (4, 4)


def test_a_streak_that_ended_is_not_held_against_a_run_that_comes_back(tmp_path):
    watch, again = Watch(torch.device("cpu")), Watch(torch.device("cpu"))
    for step, bad in enumerate([True, True, True, False]):
        watch.note(step, *flags(bad))
    watch.read()
    again.load_state_dict(watch.state_dict())
    again.note(4, *flags(True))
    assert (again.read(), again.most_in_a_row) == ([LeftOut(step=4, loss=True)], 1)


def test_stopping_names_the_step_its_images_and_the_way_on(tmp_path):
    message = under(bad_at(4), lambda: train(tiny(tmp_path / "run")))
    assert message.startswith("FloatingPointError: the loss of step 4 is not finite (learning rate ")
    (line,) = read_lines(tmp_path / "run" / "nonfinite.jsonl")
    assert (line["step"], line["what"], line["files"], len(line["ids"])) == (4, "the loss", [], 4)
    assert f"its images: {', '.join(map(str, line['ids']))}" in message
    assert "step-00000003.pt" in message
    assert "--on-nonfinite skip" in message


def test_images_from_files_are_named_by_their_files(tmp_path):
    (tmp_path / "photos" / "train").mkdir(parents=True)
    for number in range(12):
        pixels = np.random.default_rng(number).integers(0, 255, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / "train" / f"{number}.png")
    settings = {"data": {"uri": str(tmp_path / "photos"), "batch": 12}}
    message = under(bad_at(0), lambda: train(tiny(tmp_path / "run", **settings)))
    assert message.count(".png)") == 8
    assert message.endswith("and 4 more, see nonfinite.jsonl")
    (line,) = read_lines(tmp_path / "run" / "nonfinite.jsonl")
    assert sorted(Path(file).name for file in line["files"]) == sorted(f"{number}.png" for number in range(12))


def test_a_bad_step_leaves_weights_and_moments_as_they_were(tmp_path):
    before = final_state(train(tiny(tmp_path / "before", steps=8), on_step=lambda state: state.step == 4))
    skip = tiny(tmp_path / "skip", steps=8, on_nonfinite="skip")
    with pytest.warns(UserWarning, match="the loss of step 4 is not finite, its update is left out; its images: "):
        assert under(bad_at(4), lambda: train(skip, on_step=lambda state: state.step == 5)) == "no error"
    after = final_state(tmp_path / "skip")
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_bad_step_leaves_running_statistics_as_they_were(tmp_path, monkeypatch):
    def spoilt(images, drawn, data):
        return pixels_of(images, drawn, data) * (math.nan if drawn.step == 2 else 1.0)

    monkeypatch.setattr(loop, "pixels_of", spoilt)
    settings = {"model": {"response": "bn"}, "optim": {"ema": 0.5}, "on_nonfinite": "skip"}
    with pytest.warns(UserWarning, match="the loss of step 2 is not finite"):
        train(tiny(tmp_path / "run", **settings), on_step=lambda state: state.step == 3)
    train(tiny(tmp_path / "before", **settings), on_step=lambda state: state.step == 2)
    after, before = final_state(tmp_path / "run"), final_state(tmp_path / "before")
    assert sum("running" in name for name in before) == 10
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_gradient_alone_is_found_as_well(tmp_path):
    skip = tiny(tmp_path / "run", on_nonfinite="skip")
    with pytest.warns(UserWarning, match="a gradient of step 2 is not finite"):
        # The loss is finite in float32, the squares of its gradients are not.
        assert under(bad_at(2, value=1e37), lambda: train(skip)) == "no error"
    assert read_lines(tmp_path / "run" / "nonfinite.jsonl")[0]["what"] == "a gradient"
    assert Run(tmp_path / "run").read()["status"] == "finished"


def test_skipping_is_counted_in_the_log_and_resumes_to_the_same_bits(tmp_path):
    unbroken, run = (tiny(tmp_path / name, on_nonfinite="skip", log_every=1) for name in ("unbroken", "run"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what is left out
        under(bad_at(1, 5), lambda: train(unbroken))
        under(bad_at(1, 5), lambda: train(run, on_step=lambda state: state.step == 3))
        under(bad_at(1, 5), lambda: train(run))
    logs = [read_lines(Run(tmp_path / name).log) for name in ("unbroken", "run")]
    for lines in logs:
        assert [line.get("skipped", 0) for line in lines] == [0, 1, 1, 1, 1, 2, 2, 2]
        assert [line["loss"] is None for line in lines] == [step in (1, 5) for step in range(8)]
    states = final_state(tmp_path / "unbroken"), final_state(tmp_path / "run")
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert [line["step"] for line in read_lines(tmp_path / "run" / "nonfinite.jsonl")] == [1, 5]


def test_more_bad_steps_in_a_row_than_allowed_stop_the_run(tmp_path):
    run = tiny(tmp_path / "run", on_nonfinite="skip", skip_limit=2)
    with pytest.warns(UserWarning, match="is left out"):
        message = under(bad_at(2, 3, 4), lambda: train(run))
    assert message.startswith("FloatingPointError: 3 steps in a row, more than skip_limit = 2, one of them step 4, are")
    assert list(Run(tmp_path / "run").checkpoints())[-1] == 3


def test_a_stopped_run_may_go_on_skipping(tmp_path):
    under(bad_at(4), lambda: train(tiny(tmp_path / "run")))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert under(bad_at(4), lambda: train(tiny(tmp_path / "run", on_nonfinite="skip"))) == "no error"
    assert any("its update is left out" in str(each.message) for each in said)
    assert Run(tmp_path / "run").read()["status"] == "finished"
