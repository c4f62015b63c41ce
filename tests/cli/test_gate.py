"""`collapse-lab analyze` as a gate: what --fail-on stops, the JSON document's schema, thresholds of the user's own."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

import pandas as pd
import pytest
import torch
from jsonschema import Draft202012Validator

from collapse_lab.capture.store import Capture
from collapse_lab.findings.rules import KINDS
from collapse_lab.findings.table import analyze, read_table, write_table
from collapse_lab.stats.accumulate import stats_of, summarise
from tests.metrics.planted import normal, rotation

SCHEMA = json.loads(files("collapse_lab.cli").joinpath("analysis.schema.json").read_text("utf-8"))


def low_rank(positions: str) -> Capture:
    """A low rank at stages.2.blocks.0 and 1, one dead channel of 16 at stages.3.blocks.0, whose other rows are fine."""
    flat = normal(200, 2, 2) @ rotation(16)[:2]
    alive = normal(200, 2, 16, seed=1)
    alive[:, :, 3] = 0
    sites = {"stages.2.blocks.0": flat, "stages.2.blocks.1": flat + 1, "stages.3.blocks.0": alive}
    ids = torch.arange(200)
    return Capture({(site, positions): summarise(x, ids, (positions,))[positions] for site, x in sites.items()})


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_table(analyze(low_rank("pooled")), tmp_path_factory.mktemp("gate") / "metrics.parquet")


@pytest.mark.parametrize(
    ("asked", "stopped"),
    [
        ("dimensional_collapse", ["stages.2.blocks.0", "stages.2.blocks.1"]),
        ("dimensional_collapse:stages.2.*.1", ["stages.2.blocks.1"]),
        ("dimensional_collapse:stages.2.**", ["stages.2.blocks.0", "stages.2.blocks.1"]),
        ("dimensional_collapse:kind:block", ["stages.2.blocks.0", "stages.2.blocks.1"]),
        ("dimensional_collapse:stages.3.**", []),
        ("dead_channels", []),  # one in sixteen is a note of a kind that can be a fault
        ("complete_collapse", []),
    ],
)
def test_fail_on_stops_with_5_for_the_faults_it_names_alone(ask, table, asked, stopped):
    code, out, err = ask("analyze", table, "--fail-on", asked, "--json")
    assert code == (5 if stopped else 0), err
    assert [each["site"] for each in json.loads(out)["failed"]] == stopped
    assert [line.split()[3] for line in err.splitlines() if "--fail-on" in line] == stopped


def test_fail_on_a_kind_that_is_always_a_note_stops_for_the_note(ask, tmp_path):
    few = summarise(normal(9, 1, 16), torch.arange(9), ("all",))["all"]
    path = write_table(analyze(few), tmp_path / "few.parquet")
    assert ask("analyze", path)[0] == 0
    code, _, err = ask("analyze", path, "--fail-on", "complete_collapse", "--fail-on", "insufficient_samples")
    assert code == 5
    assert "--fail-on insufficient_samples: the features was measured on 9 images" in err


def test_a_note_of_too_few_images_stops_though_no_metric_has_a_value(ask, tmp_path):
    path = write_table(analyze(stats_of(normal(1, 2, 8))), tmp_path / "metrics.parquet")
    code, _, err = ask("analyze", path, "--fail-on", "insufficient_samples")
    assert code == 5, err


def test_fail_on_looks_at_every_site_whatever_metric_is_shown(ask, table):
    code, out, _ = ask("analyze", table, "--metric", "dead_channels", "--fail-on", "dimensional_collapse")
    assert code == 5
    assert "effective_rank" not in out


@pytest.mark.parametrize(
    ("asked", "code", "said"),
    [
        ("dimension_collapse", 2, "did you mean 'dimensional_collapse'"),
        ("dead_channels:stages.9.*", 4, "no site matches 'stages.9.*'"),
        ("dead_channels:", 2, "'dead_channels:' names no site; leave the colon out for all of them"),
    ],
)
def test_a_gate_that_could_never_close_is_refused(ask, table, asked, code, said):
    found, out, err = ask("analyze", table, "--fail-on", asked, "--json")
    assert (found, out) == (code, "")
    assert said in err


def test_the_document_of_every_kind_of_layer_keeps_its_schema(ask, tmp_path):
    Draft202012Validator.check_schema(SCHEMA)
    broken = torch.full((40, 2, 8), torch.nan)
    sites = {"low": normal(40, 2, 2) @ rotation(8)[:2], "zero": torch.zeros(40, 2, 8), "nan": broken}
    ids = torch.arange(40)
    captured = Capture({(site, "pooled"): summarise(x, ids, ("pooled",))["pooled"] for site, x in sites.items()})
    path = write_table(analyze(captured), tmp_path / "metrics.parquet")
    code, out, err = ask("analyze", path, "--all", "--json", "--fail-on", "non_finite")
    document = json.loads(out)
    assert code == 5, err
    Draft202012Validator(SCHEMA).validate(document)
    assert {each["kind"] for each in document["findings"]} >= {"dimensional_collapse", "non_finite", "degenerate"}
    [low] = [each for each in document["findings"] if each["kind"] == "dimensional_collapse"]
    assert low["null"]["metric"] == "effective_rank"
    assert low["severity_low"] is None  # the table has no interval
    document["findings"][0]["severity"] = 2
    assert not Draft202012Validator(SCHEMA).is_valid(document)


def test_the_schema_knows_every_kind():
    assert set(SCHEMA["$defs"]["kind"]["enum"]) == set(KINDS)


def test_a_gate_does_not_pass_for_want_of_evidence(ask, table, tmp_path):
    whole = read_table(table)
    poor = {
        "subset": whole[whole.metric == "rankme"],
        "headline": whole[whole.metric.isin(["effective_rank", "dead_channels"])],
        "no value": whole.assign(value=float("nan"), status="insufficient"),
    }
    for name, part in poor.items():
        path = write_table(part, tmp_path / f"{name}.parquet")
        code, out, err = ask("analyze", path, "--fail-on", "dimensional_collapse")
        assert (code, out) == (4, ""), name
        assert "cannot be judged" in err
        assert "dimensional_collapse" in ask("analyze", path)[2].partition("Not judged, ")[2]


def test_a_table_of_something_else_is_refused(ask, tmp_path):
    path = tmp_path / "other.parquet"
    pd.DataFrame({"img": [1], "label": [2]}).to_parquet(path)
    code, out, err = ask("analyze", path)
    assert (code, out) == (4, "")
    assert "this is no table of metrics, it lacks:" in err


def test_a_metric_that_the_table_does_not_hold_is_said_so(ask, table, tmp_path):
    path = write_table(read_table(table).query("metric != 'rankme'"), tmp_path / "part.parquet")
    code, out, err = ask("analyze", path, "--metric", "rankme")
    assert (code, out) == (4, "")
    assert "holds no rankme" in err


def test_thresholds_come_from_a_file(ask, table, tmp_path):
    own = tmp_path / "own.toml"
    own.write_text("many_dead = 0.05\n[few_directions]\nvalue = 0.01\n[many_starved]\nvalue = 0.99\n")
    code, out, err = ask("analyze", table, "--thresholds", own, "--json")
    assert code == 0, err
    found = {(each["kind"], each["fault"]) for each in json.loads(out)["findings"]}
    assert ("dead_channels", True) in found
    assert "dimensional_collapse" not in {kind for kind, _ in found}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("many_ded = 0.2", "did you mean 'many_dead'"),
        ("many_dead = 1.5", "must be a number between 0 and 1, got 1.5"),
        ("many_dead =", "is no TOML file of thresholds"),
        ('[many_dead]\nvalue = 0.2\nfinding = "below"', "only the value of many_dead can be changed, not its finding"),
        ("[many_dead]\nvalue = 0.2\nvlaue = 0.3", "not its vlaue"),
        (None, "there is no file of thresholds"),
    ],
)
def test_thresholds_that_cannot_be_used_are_refused_in_words(ask, table, tmp_path, text, said):
    own = tmp_path / "own.toml"
    if text is not None:
        own.write_text(text)
    code, out, err = ask("analyze", table, "--thresholds", own)
    assert (code, out) == (4, "")
    assert said in err


def test_a_table_of_several_runs_is_refused(ask, table, tmp_path):
    one = pd.read_parquet(table)
    path = write_table(pd.concat([one, one.assign(seed=1)]), tmp_path / "two.parquet")
    code, _, err = ask("analyze", path, "--fail-on", "dead_channels")
    assert code == 4
    assert "several runs" in err
