"""Studies that share runs: one is known by its configuration and images; names and sites are each study's own."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

from collapse_lab.findings.compare import Comparison
from collapse_lab.findings.table import read_table
from collapse_lab.report.sources import sources_of
from collapse_lab.study import run
from collapse_lab.study.compared import compare_jobs, located_jobs, runs_of
from collapse_lab.study.jobs import jobs_of
from collapse_lab.study.plan import Study
from collapse_lab.study.pool import located
from collapse_lab.study.run import run_study
from collapse_lab.study.work import work
from tests.pictures import small_study

RENAMED = {"plain": "control", "GRN": "treated"}


@pytest.fixture
def runs(study_runs: Path, tmp_path: Path) -> Path:
    """A copy of the finished runs of a small study."""
    return Path(shutil.copytree(study_runs, tmp_path / "runs"))


@pytest.fixture
def study(study_runs: Path) -> Study:
    return small_study(study_runs.parent / "pictures")


def compared(study: Study, runs: Path) -> Comparison:
    """From the runs that are there."""
    return compare_jobs(study, [job for job in located_jobs(study, runs) if job.finished()])


def changed(study: Study, **changes: object) -> Study:
    return Study.model_validate(study.model_dump() | changes)


def renamed(study: Study, **changes: object) -> Study:
    """The same question under other names."""
    arms = {RENAMED[arm]: changes for arm, changes in study.model_dump()["arms"].items()}
    return changed(study, name="other", baseline="control", arms=arms, **changes)


def test_a_finished_run_is_used_whatever_its_arm_is_called_and_however_the_data_folder_is(study, study_runs, tmp_path):
    moved = Path(shutil.copytree(study_runs.parent / "pictures", tmp_path / "moved"))
    config = study.config | {"data": study.config["data"] | {"uri": str(moved)}}
    found = runs_of(renamed(study, config=config), study_runs)
    assert {RENAMED[arm]: paths for arm, paths in runs_of(study, study_runs).items()} == found
    assert [path.name for path in found["treated"]] == [f"grn-seed{seed}" for seed in range(3)]


def test_a_comparison_and_its_page_use_the_names_of_the_study_that_asks(study, study_runs):
    one, two = compared(study, study_runs), compared(renamed(study), study_runs)
    assert set(two.metrics.arm) == {"control", "treated"}
    assert {source.arm for source in sources_of(two)} == {"control", "treated"}
    assert set(sources_of(two)[0].metrics.arm) == {"control"}
    ours = one.row("GRN - plain", "effective_rank")
    theirs = two.row("treated - control", "effective_rank")
    assert (ours.value, ours.low, ours.high) == (theirs.value, theirs.low, theirs.high)


def test_runs_are_found_in_the_folders_of_the_pool(study, study_runs, tmp_path):
    pooled = changed(study, pool=(str(study_runs),))
    assert all(len(paths) == 3 for paths in runs_of(pooled, tmp_path / "own").values())
    assert runs_of(study, tmp_path / "own") == {"plain": [], "GRN": []}


def test_another_configuration_or_other_images_are_another_run(study, study_runs):
    longer = changed(study, config=study.config | {"optim": {"lr": 2e-3}}, seeds=(0,))
    first = located_jobs(longer, study_runs)[0]
    assert first.run.path.parent == study_runs
    assert first.run.name.startswith("plain-seed0-")
    assert len(first.run.name) == len("plain-seed0-") + 8
    assert not first.run.exists()


def test_two_arms_of_one_configuration_are_refused(study, study_runs):
    values = study.model_dump()
    values["arms"]["again"] = values["arms"]["plain"]
    with pytest.raises(ValueError, match="the arms 'plain' and 'again' are one configuration"):
        located(jobs_of(Study.model_validate(values), study_runs))


def test_what_a_run_lacks_is_added_and_what_others_measured_there_stays_and_changes_none_of_their_numbers(study, runs):
    before = compared(study, runs)
    more = changed(study, name="more", seeds=(0,), captures=(2,), sites=("stem", "kind:block"), probe_sites=("stem",))
    job = located_jobs(more, runs)[0]
    assert not job.finished()
    work(job)
    assert job.finished()
    table = read_table(job.run.metrics)
    assert {"stem", "stages.2.blocks.0", "stages.2.blocks.0.act"} <= set(table.site)
    assert sorted(table.step.unique()) == [0, 2]
    assert set(table[table.metric == "linear_probe_accuracy"].site) == {"", "stem"}
    pd.testing.assert_frame_equal(compared(study, runs).table, before.table)
    assert job.run.read()["arm"] == "plain"


def test_a_study_of_finished_runs_starts_no_process(study, study_runs, monkeypatch):
    started = []
    monkeypatch.setattr(run, "work_off", lambda pending, limits, board: started.extend(pending) or iter(()))
    told = []
    comparison = run_study(renamed(study), study_runs, on_progress=told.append)
    assert started == []
    assert told[-1].finished == told[-1].runs == 6
    assert {state.state for state in told[-1].states} == {"finished"}
    assert set(comparison.folders) == {"control", "treated"}


def test_a_step_that_was_not_kept_is_refused_before_any_run(study, runs):
    early = changed(study, captures=(1, 2))
    with pytest.raises(ValueError, match=r"plain-seed0 is at step 2 and has not kept its steps \[1\]"):
        run_study(early, runs)


def test_a_record_that_cannot_be_read_is_passed_over(study, runs):
    (runs / "plain-seed0" / "run.json").write_text("{")
    with pytest.warns(UserWarning, match="plain-seed0 is passed over"):
        found = runs_of(study, runs)
    assert len(found["plain"]) == 2
