"""`analyze --null` and `--untrained` as a user meets them."""

from __future__ import annotations

import json
from importlib.resources import files

import pytest
from jsonschema import Draft202012Validator
from rich.console import Console

from collapse_lab.capture.store import load_capture
from collapse_lab.cli import output
from collapse_lab.cli.nulls import COLUMNS
from collapse_lab.findings.table import analyze, capture, write_table
from tests.capture.small import LAYOUT, SITES, Small, images
from tests.cli.test_gate import low_rank


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A capture, an untrained one of the same images, one of other images, and a run that holds the first."""
    root = tmp_path_factory.mktemp("captures")
    for name, count in (("trained", 80), ("untrained", 80), ("other", 90)):
        capture(Small(), [images(count)], sites=SITES, layout=LAYOUT).save(root / name)
    for step in (2, 10):
        capture(Small(), [images(80 + step)], sites=SITES, layout=LAYOUT).save(
            root / "run" / "captures" / f"step-{step:08d}"
        )
    return root


def test_a_capture_is_shown_against_its_nulls_when_asked(ask, folders):
    code, out, err = ask("analyze", folders / "trained", "--null", "--untrained", folders / "untrained")
    assert code == 0, err
    lines = out.splitlines()
    start = lines.index("\t".join(COLUMNS))
    rows = [dict(zip(COLUMNS, line.split("\t"), strict=True)) for line in lines[start + 1 :]]
    assert {row["null"] for row in rows} == {"shuffled moments", "shuffled rows", "untrained"}
    assert {row["share"] for row in rows if row["null"] == "untrained"} == {"1", "–"}  # the same network twice
    assert "0 but for chance" in err


def test_nulls_are_in_the_document_only_when_asked(ask, folders):
    assert "nulls" not in json.loads(ask("analyze", folders / "trained", "--json")[1])
    code, out, err = ask("analyze", folders / "trained", "--untrained", folders / "untrained", "--json")
    assert code == 0, err
    assert json.loads(out)["nulls_of"] == str(folders / "trained")
    shares = json.loads(out)["nulls"]
    assert {"metric", "null", "null_value", "share", "low", "high", "n_rows", "status", "reason"} <= set(shares[0])
    assert "untrained" in {row["null"] for row in shares}
    schema = json.loads(files("collapse_lab.cli").joinpath("analysis.schema.json").read_text("utf-8"))
    Draft202012Validator(schema).validate(json.loads(out))


def test_what_the_untrained_network_has_as_well_is_said_so(ask, tmp_path):
    own = low_rank("pooled").save(tmp_path / "low")
    code, out, err = ask("analyze", own, "--untrained", own, "--json")  # the same network twice
    findings = json.loads(out)["findings"]
    assert code == 0, err
    assert findings
    assert all(finding["untrained_too"] for finding in findings)
    assert "untrained_too" not in json.loads(ask("analyze", own, "--json")[1])["findings"][0]
    lines = [line for line in ask("analyze", own, "--untrained", own)[2].splitlines() if line[:1] in "!·"]
    assert lines
    assert all(line.endswith("(the untrained network too)") for line in lines)


def test_a_run_is_its_last_capture(ask, folders):
    code, out, err = ask("analyze", folders / "run", "--null", "--json")
    document = json.loads(out)
    assert code == 0, err
    assert {row["n_images"] for row in document["metrics"]} == {90}
    assert {row["n_images"] for row in document["nulls"]} == {90}
    assert document["nulls_of"].endswith("step-00000010")


def test_a_twin_of_other_images_or_none_is_refused(ask, folders):
    code, out, err = ask("analyze", folders / "trained", "--untrained", folders / "other")
    assert (code, out) == (4, "")
    assert "capture both on the same images" in err
    code, _, err = ask("analyze", folders / "trained", "--untrained", folders / "nowhere")
    assert code == 4
    assert "nowhere is not a capture" in err


def test_a_run_is_no_untrained_twin(ask, folders):
    code, _, err = ask("analyze", folders / "trained", "--untrained", folders / "run")
    assert code == 4
    assert "run is not a capture" in err


def test_a_table_alone_has_no_null(ask, folders, tmp_path):
    write_table(analyze(load_capture(folders / "trained")), tmp_path / "metrics.parquet")
    code, _, err = ask("analyze", tmp_path / "metrics.parquet", "--null")
    assert code == 4
    assert "holds no statistics to hold against a null" in err


def test_progress_stays_silent_away_from_a_terminal(capsys):
    with output.progress(3, "sites measured") as step:
        step("conv", "pooled")
    assert capsys.readouterr() == ("", "")


def test_progress_counts_on_a_terminal(monkeypatch, capsys):
    monkeypatch.setattr(output, "human", lambda: Console(stderr=True, force_terminal=True, width=100))
    with output.progress(3, "sites measured") as step:
        step("conv", "pooled")
    assert "sites measured" in capsys.readouterr().err
