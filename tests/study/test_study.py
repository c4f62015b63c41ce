"""Arms x seeds: run where missing, reuse what is done, lose nothing to a failure."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch

from collapse_lab.runs import Run
from collapse_lab.study import probing, work
from collapse_lab.study.jobs import jobs_of
from collapse_lab.study.plan import Study
from collapse_lab.study.run import FailedRunsWarning, run_study
from tests.pictures import small_study, write_pictures


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("study") / "pictures")


def test_a_study_runs_each_arm_and_seed_once_and_a_second_call_runs_nothing(data, tmp_path):
    study = small_study(data, seeds=(0,), captures=(2,))
    seen = []
    first = run_study(study, tmp_path, on_progress=seen.append)
    assert seen[-1].finished == seen[-1].runs == 2
    assert seen[-1].done == seen[-1].cost
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.p*t") if path.is_file()}

    again = []
    second = run_study(study, tmp_path, on_progress=again.append)
    assert len(again) == 1, "no process is started for runs that are done"
    assert {path: path.stat().st_mtime_ns for path in written} == written
    pd.testing.assert_frame_equal(first.table, second.table)


def test_a_finished_run_keeps_its_last_checkpoint_its_capture_and_tables_of_every_step(data, tmp_path):
    job = jobs_of(small_study(data, seeds=(0,)), tmp_path)[0]
    work.work(job)
    run = job.run
    assert list(run.checkpoints()) == [2]
    assert (run.capture(2) / "capture.json").is_file()
    table = pd.read_parquet(run.metrics)
    assert sorted(table.step.unique()) == [0, 2]
    assert set(table.arm) == {"plain"}
    probe = table[table.metric == "linear_probe_accuracy"]
    assert len(probe) == 1
    assert 0 <= probe.value.item() <= 1
    assert job.finished()


def test_a_classifier_in_a_study_is_finished_and_its_probe_reads_features_not_logits(data, tmp_path, monkeypatch):
    values = small_study(data, seeds=(0,)).model_dump()
    values["config"] |= {"objective": {"name": "supervised"}, "optim": {"lr": 1e-3}}
    values["arms"]["plain"]["config"]["optim"] = {"base_lr": 0.1}  # takes the place of the study's lr
    job = jobs_of(Study.model_validate(values), tmp_path)[0]
    widths, plain = [], probing.probe

    def seen(train, test, *rest, **named):
        widths.append((train[0].shape[1], test[0].shape[1]))
        return plain(train, test, *rest, **named)

    monkeypatch.setattr(probing, "probe", seen)
    work.work(job)
    assert widths == [(64, 64)]
    assert job.finished()


def test_a_run_that_fails_is_named_with_its_error_and_leaves_nothing_to_compare_where_its_arm_has_no_other(
    data, tmp_path
):
    study = small_study(data, seeds=(0,), captures=(2,))
    values = study.model_dump()
    values["arms"]["GRN"]["config"]["optim"] = {"lr": 1e30}
    said = r"1 of 2 runs failed, the others are kept: grn-seed0: FloatingPointError: .*: GRN; nothing can be compared"
    with pytest.raises(RuntimeError, match=said):
        run_study(Study.model_validate(values), tmp_path)
    assert jobs_of(study, tmp_path)[0].finished()


def test_an_arm_that_fails_altogether_is_left_out_and_the_others_are_compared(data, tmp_path):
    values = small_study(data, seeds=(0,), captures=(2,)).model_dump()
    values["arms"]["broken"] = {"config": {"optim": {"lr": 1e30}}}
    study = Study.model_validate(values)
    with pytest.warns(FailedRunsWarning, match="1 of 3 runs failed, .*; no run is left of: broken"):
        comparison = run_study(study, tmp_path, at_once=0)
    assert list(comparison.folders) == [arm for arm in study.arms if arm != "broken"]
    assert len(comparison.table) > 0


def test_a_run_of_another_configuration_is_not_taken_for_this_one(data, tmp_path):
    study = small_study(data, seeds=(0,), captures=(2,))
    job = jobs_of(study, tmp_path)[0]
    record = {"status": "finished", "config": {"steps": 1}}
    job.run.path.mkdir(parents=True)
    (job.run.path / "run.json").write_text(json.dumps(record))
    assert not job.finished()


def test_an_interrupted_run_goes_on_where_it_stopped_and_keeps_every_captured_step_that_the_study_keeps(data, tmp_path):
    from collapse_lab.train.loop import train

    study = Study.model_validate(small_study(data, seeds=(0,)).model_dump() | {"checkpoints": "all"})
    job = jobs_of(study, tmp_path)[0]
    train(job.config, on_step=lambda state: state.step == 1)
    assert Run(job.run.path).read()["status"] == "interrupted"
    work.work(job)
    assert job.finished()
    assert list(job.run.checkpoints()) == [0, 2]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_run_goes_on_unseen_when_the_study_is_stopped_from_outside(data, tmp_path, number):
    program = tmp_path / "program.py"
    program.write_text(
        "import sys\n"
        "from pathlib import Path\n"
        "from collapse_lab.study.run import run_study\n"
        "from tests.pictures import small_study\n"
        "if __name__ == '__main__':\n"
        "    study = small_study(Path(sys.argv[1]), seeds=(0,), captures=(0, 1000000))\n"
        "    run_study(study, Path(sys.argv[2]), at_once=1)\n"
    )
    run = jobs_of(small_study(data, seeds=(0,)), tmp_path / "runs")[0].run
    command = [sys.executable, str(program), str(data), str(tmp_path / "runs")]
    with subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}) as process:
        _wait(lambda: run.log.is_file())
        process.send_signal(number)
    _wait(lambda: run.read()["status"] == "interrupted")
    assert run.read()["arm"] == "plain"
    assert list(run.checkpoints())[-1] == run.read()["step"] > 0


def _wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_run_of_a_study_keeps_to_its_share_of_the_threads(tmp_path, monkeypatch):
    before, seen = torch.get_num_threads(), []
    monkeypatch.setattr(work, "work", lambda job: seen.append(torch.get_num_threads()))
    monkeypatch.setattr(work, "threadpool_limits", seen.append)
    try:
        work.work_alone(SimpleNamespace(run=Run(tmp_path / "one")), threads=before + 2)
    finally:
        torch.set_num_threads(before)
    assert seen == [before + 2, before + 2]


def test_a_process_that_ends_without_a_word_says_what_that_may_mean(data, tmp_path):
    job = jobs_of(small_study(data, seeds=(0,)), tmp_path)[0]
    assert "if __name__ == '__main__'" in str(work._why(job, 1))
    assert "out of memory" in str(work._why(job, -9))
    assert work._why(job, 0) is None
