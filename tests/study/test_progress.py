"""How far a study is said to be."""

from __future__ import annotations

from dataclasses import replace

from collapse_lab.study.jobs import jobs_of
from collapse_lab.study.progress import Board
from tests.pictures import small_study


def test_errors_of_runs_whose_folders_have_one_name_are_all_kept(tmp_path):
    study = small_study(tmp_path / "pictures", seeds=(0,))
    first, other = jobs_of(study, tmp_path / "runs")
    elsewhere = str(tmp_path / "pool" / first.run.name)
    twin = replace(other, config=other.config.model_copy(update={"out": elsewhere}))
    board = Board([first, twin], [])
    for job, error in ((first, "one"), (twin, "other")):
        board.start(job)
        board.end(job, error)
    assert board.failed == {str(first.run.path): "one", elsewhere: "other"}
