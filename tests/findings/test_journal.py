"""What a monitor leaves behind and goes on from: rows and alerts in a folder, curves for TensorBoard."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from torch import nn

from collapse_lab.findings.monitor import Monitor
from collapse_lab.findings.table import read_table
from collapse_lab.runs import read_lines
from tests.capture.small import Small
from tests.findings.watched import FALL, watched

SHARES = [1.0, 0.5, 0.5, 1.0, 0.2, 0.2, 0.2]
"""Of the weights at each check of `walk`: with "for 2 checks" on at step 4, off at 6, on at 10."""


def walk(folder: Path, first: int, last: int, *, killed: bool = False) -> Monitor:
    """A loop whose model is a function of the step, a check every 2."""
    model = Small()
    model.conv.bias.data.fill_(1.0)
    weight = model.conv.weight.data.clone()
    watch = watched(model, run=folder, rules=[f"{FALL}, for 2 checks"])
    for step in range(first, last):
        model.conv.weight.data = weight * SHARES[step // 2]
        watch(step)
    if not killed:
        watch.close()
    return watch


@pytest.mark.parametrize("killed", [False, True])
@pytest.mark.parametrize(("stopped", "again"), [(8, 8), (8, 5), (3, 3), (1, 1), (9, 0)])
def test_a_loop_that_goes_on_has_the_rows_and_alerts_of_an_unbroken_one(tmp_path, killed, stopped, again):
    unbroken = walk(tmp_path / "unbroken", 0, 13)
    walk(tmp_path / "broken", 0, stopped, killed=killed)
    resumed = walk(tmp_path / "broken", again, 13)
    assert [(alert.step, alert.state) for alert in unbroken.alerts] == [(4, "on"), (6, "off"), (10, "on")]
    assert resumed.alerts == unbroken.alerts
    expected = unbroken.table().assign(run="broken", arm="broken")
    pd.testing.assert_frame_equal(resumed.table(), expected)
    pd.testing.assert_frame_equal(read_table(tmp_path / "broken" / "monitor.parquet"), expected)
    assert read_lines(tmp_path / "broken" / "alerts.jsonl") == read_lines(tmp_path / "unbroken" / "alerts.jsonl")


def test_alerts_are_lines_of_json_without_a_nan(tmp_path):
    model = Small()
    nn.init.zeros_(model.head.weight)
    with watched(model, run=tmp_path, rules=["stable_rank of head is below 1"]) as watch:
        watch(0)
    (line,) = (tmp_path / "alerts.jsonl").read_text().splitlines()
    found = json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert (found["status"], found["value"], found["reference"]) == ("degenerate", None, None)


def test_what_was_logged_by_other_rules_stays(tmp_path):
    walk(tmp_path, 0, 7)
    before = read_lines(tmp_path / "alerts.jsonl")
    with watched(Small(), run=tmp_path, rules=["stable_rank of head is below 1e3"]) as watch:
        watch(9)
    lines = read_lines(tmp_path / "alerts.jsonl")
    assert [line["step"] for line in before] == [4, 6]
    assert [line for line in lines if line in before] == before
    assert [line["step"] for line in lines] == [0, 4, 6]  # the new rule held from the first row on


class Writer:
    """In place of TensorBoard's."""

    made: list[Writer] = []  # noqa: RUF012

    def __init__(self, log_dir: str, purge_step: int) -> None:
        self.log_dir, self.purge_step, self.points, self.open = log_dir, purge_step, [], True
        self.made.append(self)

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self.points.append((name, value, step))

    def flush(self) -> None:
        pass

    def close(self) -> None:
        self.open = False


@pytest.fixture
def writers(monkeypatch):
    monkeypatch.setattr(Writer, "made", [])
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", SimpleNamespace(SummaryWriter=Writer))
    return Writer.made


def test_tensorboard_gets_a_point_a_finite_value_and_is_closed(writers, tmp_path):
    model = Small()
    nn.init.zeros_(model.head.weight)  # no stable rank there
    with watched(model, tensorboard=tmp_path / "events") as watch:
        watch(4)
    (writer,) = writers
    assert (writer.log_dir, writer.purge_step, writer.open) == (str(tmp_path / "events"), 4, False)
    assert [(name, step) for name, _, step in writer.points] == [
        ("conv/variance_share", 4),
        ("conv/stable_rank", 4),
        ("head/variance_share", 4),
    ]


def test_tensorboard_names_the_policy_where_there_are_several(writers, tmp_path):
    watched(Small(), tensorboard=tmp_path, positions=("all", "pooled"), metrics=["stable_rank"])(0)
    assert {name for name, _, _ in writers[0].points} == {
        f"{site}/stable_rank/{policy}" for site in ("conv", "head") for policy in ("all", "pooled")
    }


def test_without_tensorboard_the_extra_is_named_at_once(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ImportError, match=r"pip install 'collapse-lab\[tensorboard\]'"):
        watched(Small(), tensorboard=tmp_path)
