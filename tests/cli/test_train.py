"""`collapse-lab train` as a user meets it: the line, a stop that says how to go on, and the dry run."""

from __future__ import annotations

import io
import json
import shlex
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from rich.console import Console

from collapse_lab.cli.line import Line, duration
from collapse_lab.runs import Run
from collapse_lab.train.config import load_config
from collapse_lab.train.loop import train
from collapse_lab.train.nested import to_toml
from tests.train.runs import final_state, tiny


@pytest.fixture
def written(tmp_path: Path):
    """The arguments that train a small run in `tmp_path / "run"`."""

    def write(**changes: Any) -> tuple[object, ...]:
        (tmp_path / "run.toml").write_text(to_toml(tiny(tmp_path / "run", **changes).model_dump(mode="json")))
        return ("train", "-c", tmp_path / "run.toml")

    return write


def said(moments: list[float], steps: int, monkeypatch: pytest.MonkeyPatch, **console: Any) -> str:
    """All that the line shows of steps that end at these moments, in seconds."""
    clock = iter([0.0, *moments])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    out = io.StringIO()
    line = Line(8, Console(file=out, width=100, highlight=False, **console))
    for step in range(1, len(moments) + 1):
        line(SimpleNamespace(step=step, steps=steps, loss=torch.tensor(0.5), lr=1.5e-4))
    return out.getvalue()


def test_off_a_terminal_there_is_a_plain_line_every_ten_seconds_and_at_the_end(monkeypatch):
    lines = said([1.0, 5.0, 10.5, 15.0, 19.0, 21.0, 22.0], 7, monkeypatch).splitlines()
    assert [line.split("  ")[0] for line in lines] == ["step 3/7", "step 6/7", "step 7/7"]
    assert lines[1].split() == ["step", "6/7", "loss", "0.5000", "lr", "0.00015", "2", "images/s", "4", "s", "left"]


def test_on_a_terminal_the_line_is_drawn_again_in_colour_but_not_against_no_color(monkeypatch):
    terminal = {"force_terminal": True, "color_system": "standard"}
    drawn = said([1.0, 1.2, 2.0], 3, monkeypatch, **terminal, no_color=False)
    assert (drawn.count("step"), drawn.count("\r"), drawn.count("\n")) == (2, 1, 1)
    assert "\x1b[36m" in drawn
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[36m" not in said([1.0, 1.2, 2.0], 3, monkeypatch, **terminal)


def test_the_loss_is_read_only_when_it_is_shown(monkeypatch):
    reads: list[float] = []
    monkeypatch.setattr(torch.Tensor, "item", lambda value: reads.append(1) or 0.5)
    said([1.0, 2.0, 3.0, 4.0], 4, monkeypatch)
    assert len(reads) == 1


@pytest.mark.parametrize(("seconds", "words"), [(0.4, "0 s"), (59.4, "59 s"), (61, "1:01"), (3723, "1:02:03")])
def test_times_are_told_in_the_units_they_need(seconds, words):
    assert duration(seconds) == words


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)])
def test_a_signal_saves_and_prints_the_command_that_goes_on(number, code, ask, written, tmp_path, monkeypatch):
    monkeypatch.setattr(Line, "__call__", lambda _, state: state.step == 4 and signal.raise_signal(number))
    found, out, err = ask(*written())
    assert (found, out) == (code, "")
    assert Run(tmp_path / "run").read()["status"] == "interrupted"
    command = shlex.split(err.split("go on with: ")[1].splitlines()[0])
    monkeypatch.undo()
    found, _, err = ask(*command[1:])
    assert found == 0, err
    train(tiny(tmp_path / "unbroken"))
    states = final_state(tmp_path / "run"), final_state(tmp_path / "unbroken")
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_a_dry_run_shows_what_a_run_would_take_and_writes_nothing(ask, written, tmp_path):
    arguments = (*written(compute={"accumulate": 2}), "--set", "optim.lr=0.25", "--dry-run")
    before = sorted(tmp_path.rglob("*"))
    code, out, err = ask(*arguments)
    assert code == 0, err
    config, _, table = out.partition("\nwhat\tvalue\n")
    (tmp_path / "shown.toml").write_text(config)
    assert load_config(tmp_path / "shown.toml").optim.lr == 0.25
    rows = dict(line.split("\t") for line in table.splitlines())
    assert rows["first batch"] == "2 x 3 x 16 x 16, 2 part(s) a step on each of 1 process(es)"
    assert rows["images"] == "1,000"
    document = json.loads(ask(*arguments, "--json")[1])
    trained, memory = document["parameters"], document["memory"]
    assert (document["kind"], document["shape"]) == ("dry run", [2, 3, 16, 16])
    assert (memory["gradients"], memory["optimiser"]) == (4 * trained, 8 * trained)
    assert memory["activations"] > 0
    (tmp_path / "shown.toml").unlink()
    assert sorted(tmp_path.rglob("*")) == before


def test_a_dry_run_refuses_what_a_run_would_refuse(ask, written, tmp_path):
    arguments = written()
    assert ask(*arguments)[0] == 0
    code, _, err = ask(*arguments, "--set", "seed=3", "--dry-run")
    assert (code, "holds a run of another configuration (seed = 0 there, 3 here)" in err) == (4, True)
    for change, words in (
        ("data.size=12", "12 x 12 pixels are not divided by cells"),
        ("objective.mask_ratio=0.99", "mask_ratio 0.99 keeps 0 of 4 cells"),
        ("data.uri=./nowhere", "nowhere"),
        ("compute.accumulate=3", "is not divided by 1 ranks x 3 parts"),
        ("compute.precison=bf16", "did you mean 'precision'"),
    ):
        code, _, err = ask(*arguments, "--out", tmp_path / "other", "--set", change, "--dry-run")
        assert (code, words in err) == (4, True), err
    assert not (tmp_path / "other").exists()


def test_what_is_done_of_a_step_that_is_not_finite_is_asked_for(ask, written, tmp_path):
    code, _, err = ask(*written(), "--on-nonfinite", "ignore")
    assert (code, "input should be 'stop' or 'skip'" in err) == (4, True)
    assert ask(*written(), "--on-nonfinite", "skip")[0] == 0
    assert load_config(Run(tmp_path / "run").config).on_nonfinite == "skip"
