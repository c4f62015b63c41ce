"""`collapse-lab probe` and `collapse-lab baselines`: tables of what features are worth."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from collapse_lab.findings.table import read_table, write_table
from collapse_lab.runs import Run


@pytest.fixture
def run(study_runs: Path, tmp_path: Path) -> Run:
    """A finished run of two steps, probed at its last map by its study."""
    return Run(Path(shutil.copytree(study_runs / "grn-seed1", tmp_path / "grn-seed1")))


def test_every_block_is_probed_beside_its_rank_and_the_rows_join_the_metrics_of_the_run(ask, run):
    code, out, err = ask("probe", run.path, "--sites", "stages.2.blocks.*", "--kinds", "knn", "--json")
    assert code == 0, err
    rows = json.loads(out)["rows"]
    assert {row["arm"] for row in rows} == {"GRN"}
    layers = {row["site"] for row in rows if row["metric"] == "knn_accuracy"}
    assert layers == {"", "stages.2.blocks.0", "stages.2.blocks.1", "stages.2.blocks.2"}
    table = read_table(run.metrics)
    ranks = table[(table.metric == "effective_rank") & (table.step == 2) & (table.positions == "sampled:8")]
    expected = dict(zip(ranks.site, ranks.value, strict=True))
    assert {row["site"]: row["effective_rank"] for row in rows if row["site"]} == pytest.approx(
        {site: expected[site] for site in layers - {""}}
    )
    kept = table[table.metric == "knn_accuracy"]
    assert set(kept.site) == layers
    assert set(kept.seed) == {1}
    assert kept.images_hash.nunique() == 1
    assert kept.images_hash.iloc[0] == ranks.images_hash.iloc[0]
    assert "linear_probe_accuracy" in set(table.metric)


def test_what_was_probed_is_not_probed_again(ask, run, monkeypatch):
    asked = ("probe", run.path, "--sites", "stem", "--json")
    first = ask(*asked)
    assert first[0] == 0, first[2]
    monkeypatch.setattr("collapse_lab.study.probing.load_step", None)
    assert ask(*asked) == first


def test_why_a_score_has_no_value_is_said_and_on_a_terminal_intervals_stay(ask, run, monkeypatch):
    table = read_table(run.metrics)
    assert ask("probe", run.path, "--sites", "stem")[0] == 0
    monkeypatch.setattr("collapse_lab.cli.probe._probed", lambda own, *_: 2)
    probed = read_table(run.metrics)
    lost = (probed.metric == "linear_probe_accuracy") & (probed.site == "stem")
    probed.loc[lost, ["value", "corrected", "low", "high", "status", "reason"]] = [
        *([float("nan")] * 4),
        *("insufficient", "a probe needs images of two classes at least, got 1"),
    ]
    write_table(probed, run.metrics)
    monkeypatch.setattr("collapse_lab.cli.output.on_terminal", lambda: True)
    code, out, err = ask("probe", run.path)
    assert code == 0, err
    assert "no value: a probe needs images of two classes at least, got 1" in err
    (kept,) = table[table.metric == "linear_probe_accuracy"].to_dict("records")
    assert f"{kept['corrected']:.3f} [{kept['low']:.3f}, {kept['high']:.3f}]" in " ".join(out.split())
    assert "insufficient" in out


def test_what_cannot_be_probed_is_said_with_what_to_do(ask, run):
    code, _, err = ask("probe", run.path, "--step", 1)
    assert code == 4
    assert f"has no capture of step 1; make one with 'collapse-lab capture {run.path} --step 1'" in err
    code, _, err = ask("probe", run.path, "--kinds", "knm")
    assert code == 4
    assert "did you mean 'knn'" in err
    record = json.loads((run.path / "run.json").read_text())
    record["data"]["classes"] = 0
    (run.path / "run.json").write_text(json.dumps(record))
    code, _, err = ask("probe", run.path)
    assert code == 4
    assert "without labels" in err


def test_baselines_are_averaged_over_splits(ask):
    code, out, err = ask("baselines", "--most", 60, "--size", 8, "--kinds", "knn", "--methods", "pixels", "--seeds", 2)
    assert code == 0, err
    header, row = (line.split("\t") for line in out.splitlines())
    told = dict(zip(header, row, strict=True))
    assert told["method"] == "pixels"
    assert told["features"] == "192"
    assert (told["n_seeds"], told["n_train"], told["n_images"]) == ("2", "60", "60")
