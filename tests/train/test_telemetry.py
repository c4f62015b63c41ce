"""What a run says of itself: every logged step once, in every place."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace
from typing import ClassVar

import pytest
import torch

from collapse_lab.runs import Run, read_lines
from collapse_lab.train.log import append, best
from collapse_lab.train.loop import train
from collapse_lab.train.telemetry import Pace, Telemetry, read_numbers
from tests.train.runs import tiny


class Writer:
    """TensorBoard's, as far as it is used."""

    opened: ClassVar[list[Writer]] = []

    def __init__(self, log_dir: str, purge_step: int) -> None:
        self.folder, self.purge_step, self.points, self.closed = log_dir, purge_step, [], False
        Writer.opened.append(self)

    def add_scalar(self, name, value, step):
        self.points.append((name, value, step))

    def flush(self): ...

    def close(self):
        self.closed = True


@pytest.fixture
def writers(monkeypatch) -> list[Writer]:
    monkeypatch.setattr(Writer, "opened", [])
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", SimpleNamespace(SummaryWriter=Writer))
    return Writer.opened


def test_tensorboard_gets_what_the_log_gets(writers, tmp_path):
    path = train(tiny(tmp_path / "run", tensorboard=True))
    (writer,) = writers
    assert (writer.folder, writer.purge_step, writer.closed) == (str(path / "tensorboard" / "training"), 2, True)
    logged = {(name, line[name], line["step"]) for line in read_lines(Run(path).log) for name in set(line) - {"step"}}
    assert set(writer.points) == logged


def test_tensorboard_is_closed_when_the_run_fails(writers, tmp_path):
    def crash(state):
        if state.step == 3:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        train(tiny(tmp_path / "run", tensorboard=True), on_step=crash)
    assert writers[0].closed


def test_a_missing_tensorboard_is_refused_before_anything_is_written(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ImportError, match=r"pip install 'collapse-lab\[tensorboard\]'"):
        train(tiny(tmp_path / "run", tensorboard=True))
    assert not (tmp_path / "run").exists()


def test_a_rank_that_does_not_write_has_no_sink(writers, tmp_path):
    with Telemetry(Run(tmp_path), writes=False, tensorboard=True).open() as telemetry:
        telemetry.write(1, {"loss": 1.0})
    assert (writers, list(tmp_path.iterdir())) == ([], [])


def test_lines_are_json_whatever_the_values(tmp_path):
    append(tmp_path / "log.jsonl", {"step": 1, "loss": float("nan"), "lr": float("inf"), "top1": 0.5})
    (line,) = (tmp_path / "log.jsonl").read_text().splitlines()
    refuse = {"parse_constant": lambda name: pytest.fail(f"{name} is not JSON")}
    assert json.loads(line, **refuse) == {"step": 1, "loss": None, "lr": None, "top1": 0.5}


def test_a_log_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(OSError, match=r"cannot write .*log.jsonl: .*; check free space") as refused:
        append(tmp_path / "nowhere" / "log.jsonl", {"step": 1})
    assert refused.value.errno is not None


def test_the_best_of_a_loss_is_its_lowest_and_of_an_accuracy_its_highest():
    lines = [
        {"step": 1, "loss": 3.0, "lr": 1.0},
        {"step": 2, "loss": 1.0, "top1": 0.2},
        {"step": 3, "loss": None, "top1": 0.6},
        {"step": 4, "loss": 1.0, "top1": 0.6, "grad_norm": 9.0},
        {"step": 5, "test_loss_averaged": 2.0, "test_top1_averaged": 0.1},
        {"step": 6, "test_loss_averaged": 1.0, "test_top1_averaged": 0.3},
    ]
    assert best(lines) == {
        "loss": (1.0, 2),
        "top1": (0.6, 3),
        "test_loss_averaged": (1.0, 6),
        "test_top1_averaged": (0.3, 6),
    }
    assert best([]) == {}


def test_scalars_are_read_from_the_device_all_at_once(monkeypatch):
    reads = []
    real = torch.Tensor.tolist
    monkeypatch.setattr(torch.Tensor, "tolist", lambda value: reads.append(value.shape) or real(value))
    monkeypatch.setattr(torch.Tensor, "item", lambda value: pytest.fail("a scalar was read alone"))
    values = {"loss": torch.tensor(0.5, requires_grad=True), "top1": torch.tensor(0.25, dtype=torch.float64)}
    assert read_numbers(values) == {"loss": 0.5, "top1": 0.25}
    assert len(reads) == 1


def test_pace_is_of_the_steps_since_it_was_asked_last(monkeypatch):
    moments = iter([10.0, 12.0, 13.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(moments))
    pace = Pace(batch=8, step=4)
    assert (pace(6), pace(10)) == (8.0, 32.0)
