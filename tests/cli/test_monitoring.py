"""`collapse-lab train --monitor`: live rows and alerts in the run, and a stop with exit code 5."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from collapse_lab.cli.monitoring import Monitoring
from collapse_lab.data.source import normalise, open_images
from collapse_lab.findings.table import analyze, capture, read_table
from collapse_lab.runs import Run, read_lines
from collapse_lab.train.load import load_step
from collapse_lab.train.nested import to_toml
from tests.train.runs import final_state, tiny

QUICK = ("--monitor-every", 2, "--monitor-images", 32, "--monitor-sites", "stages.1.blocks.*")
FIRES = "variance_share of stages.1.* is below 0.9"  # holds of any network


@pytest.fixture
def written(tmp_path: Path):
    """A configuration file for a run in `tmp_path`, by name: the arguments that train it."""

    def write(name: str, **changes: Any) -> tuple[object, ...]:
        path = tmp_path / f"{name}.toml"
        path.write_text(to_toml(tiny(tmp_path / name, **changes).model_dump(mode="json")))
        return ("train", "-c", path)

    return write


def test_the_run_holds_rows_from_the_untrained_network_on_and_the_same_weights_as_without(ask, written, tmp_path):
    code, _, err = ask(*written("seen"), *QUICK)
    assert code == 0, err
    assert ask(*written("plain"))[0] == 0
    table = read_table(tmp_path / "seen" / "monitor.parquet")
    assert sorted(table.step.unique()) == [0, 2, 4, 6, 8]
    assert set(table.site) == {"stages.1.blocks.0"}
    assert set(table.run) == {"seen"}
    assert set(table.n_images) == {32}
    plain, seen = final_state(tmp_path / "plain"), final_state(tmp_path / "seen")
    assert all(torch.equal(plain[name], seen[name]) for name in plain)
    assert not (tmp_path / "plain" / "monitor.parquet").exists()


def test_rows_are_those_of_a_capture_of_the_same_test_images(ask, written, tmp_path):
    ask(*written("run"), *QUICK)
    run = Run(tmp_path / "run")
    images, config = open_images("digits", "test", 16), tiny(tmp_path)
    places = images.sample(32, seed=0)
    batch = {"image": normalise(images.image[places], config.data.mean, config.data.std), "id": images.id[places]}
    table = read_table(run.path / "monitor.parquet")
    for step in (0, 8):
        seen = capture(load_step(run, step), [batch], sites=["stages.1.blocks.*"], positions=["sampled:8"], groups=0)
        expected = analyze(seen, metrics=["effective_rank"])
        found = table[(table.step == step) & (table.metric == "effective_rank")]
        assert found.value.tolist() == pytest.approx(expected.value.tolist(), rel=1e-6)
        assert set(found.images_hash) == set(expected.images_hash)


def test_fail_on_stops_with_5_and_its_evidence_as_long_as_it_holds_and_without_it_the_run_goes_on(
    ask, written, tmp_path
):
    asked = (*written("run"), *QUICK, "--fail-on", f"{FIRES}, for 3 checks")
    code, out, err = ask(*asked, "--json")
    assert code == 5
    document = json.loads(out)
    assert (document["status"], document["step"]) == ("interrupted", 4)
    assert len(document["failed"]) == 1
    assert "stopped by 'variance_share of stages.1.* is below 0.9, for 3 checks, stop'" in err
    assert "stages.1.blocks.0 (sampled:8) is 0." in err
    alerts = read_lines(tmp_path / "run" / "alerts.jsonl")
    assert [(alert["step"], alert["state"], alert["stop"]) for alert in alerts] == [(4, "on", True)]
    assert ask(*asked)[0] == 5  # it is on already, and one step is taken to see it
    assert Run(tmp_path / "run").read()["step"] == 5
    assert ask(*written("run"), *QUICK)[0] == 0
    assert Run(tmp_path / "run").read()["status"] == "finished"
    assert read_lines(tmp_path / "run" / "alerts.jsonl") == alerts
    assert ask(*written("unbroken"), *QUICK)[0] == 0
    unbroken = read_table(tmp_path / "unbroken" / "monitor.parquet").assign(run="run", arm="run")
    pd.testing.assert_frame_equal(read_table(tmp_path / "run" / "monitor.parquet"), unbroken)


def test_a_run_that_is_finished_already_is_measured_once_and_fails_where_the_rule_holds(ask, written, tmp_path):
    assert ask(*written("run"))[0] == 0
    code, out, _ = ask(*written("run"), *QUICK, "--fail-on", FIRES, "--json")
    assert (code, json.loads(out)["status"]) == (5, "finished")
    assert read_table(tmp_path / "run" / "monitor.parquet").step.unique().tolist() == [0, 8]
    assert ask(*written("run"), *QUICK, "--fail-on", FIRES)[0] == 5


def test_a_rule_alone_is_told_and_does_not_stop(ask, written, tmp_path):
    code, _, err = ask(*written("run"), *QUICK, "--rule", FIRES)
    assert code == 0
    assert err.count("alert on: variance_share of stages.1.blocks.0 (sampled:8) is") == 1
    assert len(read_lines(tmp_path / "run" / "alerts.jsonl")) == 1


def test_a_run_that_crashed_between_checkpoints_comes_to_the_rows_of_an_unbroken_one(
    ask, written, tmp_path, monkeypatch
):
    def crash(self: Monitoring, state: Any) -> bool:
        if state.step == 5:
            raise ZeroDivisionError("on step five")
        return watch(self, state)

    asked, watch = (*written("run"), *QUICK), Monitoring.__call__
    assert ask(*written("unbroken"), *QUICK)[0] == 0
    monkeypatch.setattr(Monitoring, "__call__", crash)
    assert ask(*asked)[0] == 1
    monkeypatch.undo()
    assert sorted(Run(tmp_path / "run").checkpoints())[-1] == 3
    assert read_table(tmp_path / "run" / "monitor.parquet").step.max() == 4  # measured, and to be trained again
    with warnings.catch_warnings():
        warnings.simplefilter("always")  # which the command line prints
        code, _, err = ask(*asked)
    assert (code, "it goes on from step 3" in err) == (0, True)
    unbroken = read_table(tmp_path / "unbroken" / "monitor.parquet").assign(run="run", arm="run")
    pd.testing.assert_frame_equal(read_table(tmp_path / "run" / "monitor.parquet"), unbroken)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--rule", "it collapses"), 4, "METRIC of SITES, then one of"),
        (("--fail-on", "stable_rank of stages.9.* is below 3"), 4, "no watched site matches 'stages.9.*'"),
        (("--monitor-sites", "nowhere"), 4, "no site matches 'nowhere'"),
        (("--monitor-images", 100_000), 4, "100000 images asked for, but there are 797"),
        (("--monitor-every", 0), 4, "every is a number of steps"),
        (("--tensorboard",), 3, "collapse-lab[tensorboard]"),
    ],
)
def test_what_does_not_fit_is_refused_before_the_run_begins(ask, written, tmp_path, monkeypatch, arguments, code, says):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    found, _, err = ask(*written("run"), *arguments)
    assert (found, says in err) == (code, True), err
    assert not (tmp_path / "run").exists()


def test_a_monitored_run_is_captured_and_analysed_as_any_other(ask, written, tmp_path):
    ask(*written("run"), *QUICK)
    assert ask("capture", tmp_path / "run", "--sites", "stages.1.blocks.*")[0] == 0
    code, out, _ = ask("analyze", tmp_path / "run", "--json")
    assert code == 0
    assert json.loads(out)["step"] == 8
