"""`collapse-lab study`: a file becomes runs, a comparison and a page."""

from __future__ import annotations

import json

from collapse_lab.findings.table import read_table
from collapse_lab.train.nested import to_toml
from tests.pictures import small_study, write_pictures


def test_a_study_from_a_file_writes_its_page_and_a_second_call_runs_nothing(ask, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study = small_study(write_pictures(tmp_path / "pictures"), seeds=(0,), captures=(2,))
    (tmp_path / "small.toml").write_text(to_toml(study.model_dump(mode="json")))
    code, out, err = ask("study", "small.toml", "--json")
    assert code == 0, err
    page = tmp_path / json.loads(out)["page"]
    assert page == tmp_path / "reports" / study.name / "index.html"
    assert sorted(path.name for path in page.parent.iterdir()) == ["index.html", "metrics.parquet", "run.json"]
    kept = read_table(page.parent / "metrics.parquet")
    assert set(zip(kept.arm, kept.seed, strict=True)) == {(arm, 0) for arm in study.arms}
    assert "replicates" not in kept
    told = json.loads((page.parent / "run.json").read_text())["runs"]
    assert {each["arm"]: each["status"] for each in told} == dict.fromkeys(study.arms, "finished")
    assert all(each["logged_last"][0]["step"] == each["steps"] == 2 for each in told)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs" / study.name).rglob("*.parquet")}
    assert ask("study", "small.toml")[0] == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_file_that_is_no_study_is_refused(ask, tmp_path):
    assert ask("study", tmp_path / "nowhere.toml")[0] == 4
    (tmp_path / "odd.toml").write_text("name = 3")
    code, _, err = ask("study", tmp_path / "odd.toml")
    assert code == 4
    assert "odd.toml is not a study" in err
