"""`collapse-lab study`: a file becomes runs, a comparison and a page."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from collapse_lab.cli.board import Board
from collapse_lab.findings.compare import compare
from collapse_lab.findings.table import read_table
from collapse_lab.study import run
from collapse_lab.study.progress import Progress, RunState
from collapse_lab.train.nested import to_toml
from tests.pictures import small_study


@pytest.fixture
def here(study_runs, tmp_path, monkeypatch) -> Path:
    """A folder with the file of a study and its finished runs."""
    monkeypatch.chdir(tmp_path)
    study = small_study(study_runs.parent / "pictures")
    (tmp_path / "small.toml").write_text(to_toml(study.model_dump(mode="json")))
    shutil.copytree(study_runs, tmp_path / "runs" / study.name)
    return tmp_path


def test_a_study_from_a_file_writes_page_table_and_records_and_runs_nothing_that_is_done(ask, here):
    before = {path: path.stat().st_mtime_ns for path in (here / "runs").rglob("*.parquet")}
    code, out, err = ask("study", "small.toml", "--json")
    assert code == 0, err
    document = json.loads(out)
    page = here / document["page"]
    assert page == here / "reports" / "small" / "index.html"
    assert sorted(path.name for path in page.parent.iterdir()) == ["index.html", "metrics.parquet", "run.json"]
    kept = read_table(page.parent / "metrics.parquet")
    assert set(zip(kept.arm, kept.seed, strict=True)) == {(arm, seed) for arm in ("plain", "GRN") for seed in range(3)}
    arms = {arm: [own for _, own in rows.groupby("seed")] for arm, rows in kept.groupby("arm", sort=False)}
    again = compare(arms, baseline="plain").row("GRN - plain", "effective_rank")
    shown = [row for row in document["rows"] if (row["contrast"], row["metric"]) == ("GRN - plain", "effective_rank")]
    assert [(row["low"], row["high"]) for row in shown] == [(again.low, again.high)]
    told = json.loads((page.parent / "run.json").read_text())["runs"]
    assert {each["status"] for each in told} == {"finished"}
    assert all(each["logged_last"][0]["step"] == each["steps"] == 2 for each in told)
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_failed_run_is_listed_and_the_others_are_compared(ask, here, monkeypatch):
    shutil.rmtree(here / "runs" / "small" / "grn-seed2")

    def work_off(pending, limits, board):
        for job in pending:
            board.start(job)
            yield board.progress()
            board.end(job, "ValueError: it broke")

    monkeypatch.setattr(run, "work_off", work_off)
    code, out, err = ask("study", "small.toml")
    assert code == 1
    assert "grn-seed2 failed: ValueError: it broke" in err
    assert "1 runs failed; compared are the runs that there are: plain 3, GRN 2." in err
    assert out.rstrip().endswith("index.html")
    assert (here / "reports" / "small" / "index.html").is_file()


def test_a_file_that_is_no_study_is_refused(ask, tmp_path):
    assert ask("study", tmp_path / "nowhere.toml")[0] == 4
    (tmp_path / "odd.toml").write_text("name = 3")
    code, _, err = ask("study", tmp_path / "odd.toml")
    assert code == 4
    assert "odd.toml is not a study" in err
    code, _, err = ask("study", "dmeo")
    assert code == 4
    assert "did you mean 'demo'" in err


def test_the_board_has_a_line_a_run(capsys):
    state = RunState(
        arm="V1", seed=2, run="v1-seed2", state="training", step=5, steps=10, loss=0.25, images_per_second=80.4
    )
    progress = Progress(finished=1, runs=2, done=15.0, cost=20.0, failed={"v2-seed0": "gone"}, states=[state])
    console = Console(width=100, force_terminal=False)
    board = Board(console, None)
    console.print(board._table(progress))
    lines = capsys.readouterr().out
    assert all(text in lines for text in ("V1", "5/10", "0.25", "80.4", "training"))
    assert "1 of 2 runs, 1 failed, 75%" in lines
