"""`collapse-lab runs`: what became of every run below a folder."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from collapse_lab.cli.runs import _span
from collapse_lab.runs import Run, now
from collapse_lab.train.checkpoint import save_checkpoint
from collapse_lab.train.log import append


def made(path: Path, status: str, *losses: float, steps: int = 10, **facts: object) -> Run:
    """A run folder as a process leaves it."""
    run = Run(path)
    run.update(status=status, step=0, steps=steps, created=now(), **facts)
    for number, loss in enumerate(losses, 1):
        append(run.log, {"step": number, "loss": loss})
    return run


def test_runs_are_listed_with_status_step_last_and_best_loss(ask, tmp_path):
    made(tmp_path / "a" / "done", "finished", 2.0, 0.5, 0.75, arm="grn")
    made(tmp_path / "b", "failed")
    code, out, _ = ask("runs", tmp_path, "--json")
    document = json.loads(out)
    assert (code, document["kind"]) == (0, "runs")
    done, failed = document["rows"]
    assert done["best"] == {"loss": {"value": 0.5, "step": 2}}
    assert (done["status"], done["loss"], done["steps"], done["arm"]) == ("finished", 0.75, 10, "grn")
    assert (failed["status"], failed["loss"], failed["best"]) == ("failed", None, {})
    assert 0 <= done["age"] < 60
    lines = [line.split("\t") for line in ask("runs", tmp_path)[1].splitlines()]
    assert lines[0] == ["run", "status", "step", "loss", "best", "age", "arm"]
    assert lines[1][1:5] == ["finished", "0/10", "0.75", "loss 0.5 at 2"]
    assert lines == [line.split("\t") for line in ask("list", "runs", tmp_path)[1].splitlines()]


def test_a_run_that_nobody_works_on_any_more_is_interrupted_and_one_at_work_is_at_its_last_line(ask, tmp_path):
    run = made(tmp_path / "run", "running", 2.0, 1.0)
    with run.locked():
        (row,) = json.loads(ask("runs", tmp_path, "--json")[1])["rows"]
        assert (row["status"], row["step"]) == ("running", 2)
    (row,) = json.loads(ask("runs", tmp_path, "--json")[1])["rows"]
    assert (row["status"], row["step"]) == ("interrupted", 0)
    for step in (0, 1):
        save_checkpoint(run, step, {"step": step})
    (row,) = json.loads(ask("runs", tmp_path, "--json")[1])["rows"]
    assert row["step"] == 1, "what it goes on from, not what it logged"


def test_the_age_is_that_of_the_last_writing(ask, tmp_path):
    run = made(tmp_path / "run", "finished", 1.0)
    for path in (run.log, run.path / "run.json"):
        os.utime(path, (0, path.stat().st_mtime - 7_300))
    assert ask("runs", tmp_path)[1].splitlines()[1].split("\t")[5] == "2 h"


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0 s"), (-3, "0 s"), (59, "59 s"), (3_599, "59 min"), (7_200, "2 h"), (200_000, "2 d")]
)
def test_an_age_is_told_in_its_longest_unit(seconds, words):
    assert _span(seconds) == words


def test_a_folder_that_is_not_there_is_refused(ask, tmp_path):
    code, _, err = ask("runs", tmp_path / "none")
    assert (code, "there is no folder" in err) == (4, True)
