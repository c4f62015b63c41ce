"""A study in the process that asks for it."""

from __future__ import annotations

import multiprocessing

import pytest

from collapse_lab.study import work
from collapse_lab.study.run import run_study
from tests.pictures import small_study, write_pictures


def test_a_study_of_small_runs_needs_no_other_process(tmp_path, monkeypatch):
    monkeypatch.setattr(multiprocessing, "get_context", lambda _: pytest.fail("a process was asked for"))
    study = small_study(write_pictures(tmp_path / "pictures"), seeds=(0,), captures=(2,))
    seen = []
    comparison = run_study(study, tmp_path / "runs", at_once=0, on_progress=seen.append)
    assert [progress.finished for progress in seen] == [0, 1, 2]
    assert set(comparison.folders) == {"plain", "GRN"}


def test_a_run_that_fails_here_is_named_and_the_next_is_tried(tmp_path, monkeypatch):
    study = small_study(write_pictures(tmp_path / "pictures"), seeds=(0,), captures=(2,))
    tried = []

    def fail(job):
        tried.append(job.arm)
        raise OSError("the disk is full")

    monkeypatch.setattr(work, "work", fail)
    with pytest.raises(RuntimeError, match=r"plain-seed0: OSError: the disk is full; grn-seed0: OSError"):
        run_study(study, tmp_path / "runs", at_once=0)
    assert tried == ["plain", "GRN"]
