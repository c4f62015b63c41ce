"""The command line as a user meets it: documents, exit codes, and errors that name the repair."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from collapse_lab.findings.table import read_table
from tests.pictures import write_pictures


@pytest.fixture(scope="module")
def runs(study_runs: Path) -> Path:
    return study_runs


def test_help_comes_in_under_four_tenths_of_a_second():
    command = [sys.executable, "-m", "collapse_lab", "--help"]
    taken = []
    for _ in range(5):
        began = time.perf_counter()
        answer = subprocess.run(command, capture_output=True, text=True, check=True)
        taken.append(time.perf_counter() - began)
    assert "train" in answer.stdout
    assert min(taken) < 0.4


def test_asking_for_help_loads_neither_torch_nor_pandas_nor_matplotlib():
    program = (
        "import sys; import collapse_lab, collapse_lab.cli.app; "
        "print([name for name in ('torch', 'pandas', 'matplotlib', 'numpy', 'rich') if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


@pytest.mark.parametrize("what", ["models", "responses", "metrics", "data"])
def test_every_list_is_one_json_document(ask, what):
    code, out, _ = ask("list", what, "--json")
    document = json.loads(out)
    assert code == 0
    assert document["kind"] == what
    assert document["schema_version"] == 1
    assert document["rows"]


def test_models_of_both_families_are_listed_with_depths_and_widths(ask):
    rows = {row["name"]: list(row.values())[1:] for row in json.loads(ask("list", "models", "--json")[1])["rows"]}
    assert rows["convnextv2_atto"] == ["2-2-6-2", "40-80-160-320", "response grn, layer_scale None"]
    assert rows["vit_small"] == ["12", "384", "patch 16, 6 heads"]


def test_responses_are_listed_with_formula_reach_start_and_reported_accuracy(ask):
    rows = {row["name"]: row for row in json.loads(ask("list", "responses", "--json")[1])["rows"]}
    facts = ("formula", "statistics over", "at the start", "ImageNet top-1")
    assert all(tuple(row)[1:] == facts for row in rows.values())
    assert tuple(rows["affine"].values())[1:] == ("y = gamma * x + beta + x.", "nothing", "identity", 83.9)
    assert tuple(rows["times_n"].values())[2:] == ("position", None, None)
    assert rows["grn_batch"]["statistics over"] == "batch"


def test_sites_are_listed_with_their_kinds_and_filtered_by_pattern(ask):
    code, out, _ = ask("list", "sites", "convnextv2_atto", "--sites", "stages.3.*.*.act", "--json")
    assert code == 0
    assert [row["site"] for row in json.loads(out)["rows"]] == ["stages.3.blocks.0.act", "stages.3.blocks.1.act"]
    (row,) = json.loads(ask("list", "sites", "vit_tiny", "--sites", "blocks.11", "--json")[1])["rows"]
    assert (row["kind"], row["shape"], row["layout"]) == ("kind:block", "197 x 192", "image position channel")


def test_layers_are_listed_with_subtotals_and_the_published_total(ask):
    command = ("list", "layers", "convnextv2_atto", "--classes", 1000, "--mask-ratio", 0.6)
    code, out, err = ask(*command, "--json")
    document = json.loads(out)
    assert code == 0, err
    assert document["total"]["macs"] == sum(row["macs"] for row in document["rows"]) == 547_332_480
    assert document["total"]["parameters"] == 3_708_400
    assert document["total"]["limit"] == pytest.approx(49 / 19, rel=0.001)
    code, out, err = ask(*command)
    rows = [line.split("\t") for line in out.splitlines()]
    assert rows[0] == ["layer", "class", "output", "parameters", "MACs", "visible MACs"]
    assert ["stages.3", "total", "", "1,885,440", "91,853,440", "35,616,640"] in rows
    assert rows[-1][0] == "all layers"
    assert "2.58 times fewer" in err


@pytest.mark.filterwarnings("always")  # the command line says them
def test_layers_of_a_trained_run_are_those_of_its_encoder(ask, runs):
    one = next(path.parent for path in runs.glob("*/run.json"))
    code, out, err = ask("list", "layers", one, "--size", 32, "--json")
    assert code == 0, err
    assert json.loads(out)["total"]["macs"] == 3_384_320
    code, out, err = ask("list", "layers", one, "--size", 32, "--classes", 10, "--json")
    assert code == 0, err
    assert "a fresh one of 10 classes" in err
    assert json.loads(out)["rows"][-1]["parameters"] == 650


def test_train_capture_analyze_compare_and_report_make_one_path(ask, tmp_path):
    data = write_pictures(tmp_path / "pictures", train=16, test=8)
    settings = (
        "model.response=grn",
        "model.layer_scale=none",
        "objective.decoder_dim=8",
        "data.batch=4",
        "data.size=16",
    )
    run = tmp_path / "run"
    changes = [part for each in (*settings, f"data.uri={data}", "steps=2", "device=cpu") for part in ("--set", each)]
    code, out, err = ask("train", *changes, "--out", run, "--json")
    assert code == 0, err
    assert json.loads(out)["status"] == "finished"

    code, out, err = ask("capture", run, "--sites", "kind:block", "--json")
    assert code == 0, err
    assert json.loads(out)["images"] == 8

    code, out, err = ask("analyze", run, "--json")
    document = json.loads(out)
    assert code == 0, err
    assert {row["metric"] for row in document["metrics"]} >= {"effective_rank", "dead_channels"}
    assert all({"kind", "site", "severity", "text", "advice", "evidence"} <= set(each) for each in document["findings"])

    code, out, err = ask("report", run, "--out", tmp_path / "page.html")
    assert code == 0, err
    assert Path(out.strip()).read_text().startswith("<!doctype html>")


def test_compare_prints_the_primary_tests_and_writes_the_whole_table(ask, runs, tmp_path):
    code, out, err = ask("compare", runs, "--baseline", "plain", "--out", tmp_path / "c.parquet", "--json")
    assert code == 0, err
    rows = json.loads(out)["rows"]
    assert {row["contrast"] for row in rows} >= {"GRN - plain", "GRN"}
    assert (tmp_path / "c.parquet").is_file()
    code, out, _ = ask("compare", runs)
    assert code == 0
    assert out.splitlines()[0].split("\t")[0] == "contrast"


def test_compare_takes_every_step_aligns_by_depth_and_declines_pairs(ask, runs, tmp_path):
    out = tmp_path / "c.parquet"
    code, text, err = ask("compare", runs, "--at", "all", "--align", "depth", "--not-paired", "--out", out)
    assert code == 0, err
    head, *lines = (line.split("\t") for line in text.splitlines())
    assert head[:2] == ["step", "contrast"]
    assert len({line[0] for line in lines}) > 1
    rows = read_table(out)
    assert rows.site.str.startswith("block @ ").any()
    assert not rows.paired.any()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [(("--at", "first"), "a step, 'last' or 'all', got 'first'"), (("--align", "width"), "'depth', got 'width'")],
)
def test_compare_refuses_choices_that_there_are_not(ask, runs, wrong, said):
    code, _, err = ask("compare", runs, *wrong)
    assert code == 4
    assert said in err


def test_json_stands_alone_on_stdout(ask, runs):
    one = next(path.parent for path in runs.glob("*/run.json"))
    for arguments in (("analyze", one), ("list", "runs", runs), ("doctor",)):
        code, out, _ = ask(*arguments, "--json")
        assert code == 0
        json.loads(out)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("frobnicate",), 2, "No such command"),
        (("train", "--nonsense"), 2, "No such option"),
        (("train", "--set", "optim.lrr=1"), 4, "did you mean 'lr'"),
        (("train", "--set", "optim.lr=high"), 4, "optim.lr = 'high'"),
        (("train", "--set", "steps"), 4, "name=value"),
        (("train", "-c", "nowhere.toml"), 4, "nowhere.toml"),
        (("train", "--set", "model.name=convnextv2_ato", "--out", "r"), 4, "did you mean 'convnextv2_atto'"),
        (
            (
                "train",
                "--set",
                "model.name=convnextv2_atto",
                "--set",
                "data.uri=digit",
                "--set",
                "data.size=64",
                "--out",
                "r",
            ),
            4,
            "did you mean 'digits'",
        ),
        (
            ("train", "--set", "model.name=convnextv2_atto", "--set", "data.size=72", "--out", "r"),
            4,
            "the nearest size that fits is 64 x 64",
        ),
        (
            ("train", "--set", "model.name=convnextv2_atto", "--set", "data.size=16", "--out", "r"),
            4,
            "smaller than one cell",
        ),
        (("list", "sites", "convnext_digits", "--sites", "stages.9.*"), 4, "no site matches 'stages.9.*'"),
        (("list", "sites", "convnext_digit"), 4, "did you mean 'convnext_digits'"),
        (("list", "layers", "convnext_digits", "--size", "33"), 4, "the nearest size that fits is 32 x 32"),
        (("list", "layers", "convnext_digits", "--mask-ratio", "1"), 4, "mask_ratio must lie between 0 and 1"),
        (("explain", "efective_rank"), 4, "did you mean 'effective_rank'"),
        (("analyze", "nowhere"), 4, "nowhere"),
        (("capture", "nowhere"), 4, "nowhere is no run, file or address"),
        (("compare", "nowhere"), 4, "not a run folder"),
        (("report", "nowhere"), 4, "not a run folder"),
        (("list", "runs", "nowhere"), 4, "there is no folder nowhere"),
    ],
)
def test_wrong_input_is_answered_with_what_why_and_the_repair(ask, tmp_path, monkeypatch, arguments, code, said):
    monkeypatch.chdir(tmp_path)
    found, out, err = ask(*arguments)
    assert found == code
    assert said in err
    assert "Traceback" not in err
    assert out == ""
    assert list(tmp_path.iterdir()) == [], "a refused command leaves nothing behind"


def test_an_unknown_metric_is_answered_with_the_nearest(ask, runs):
    one = next(path.parent for path in runs.glob("*/run.json"))
    code, _, err = ask("analyze", one, "--metric", "efective_rank")
    assert code == 4
    assert "did you mean 'effective_rank'" in err


def test_a_step_without_a_checkpoint_is_answered_with_those_there_are(ask, runs):
    one = next(path.parent for path in runs.glob("*/run.json"))
    code, _, err = ask("capture", one, "--step", 77)
    assert code == 4
    assert "only of: 2" in err


def test_a_run_of_another_configuration_is_refused_with_both_shown(ask, runs):
    one = next(path.parent for path in runs.glob("*/run.json"))
    code, _, err = ask("train", "-c", one / "config.toml", "--set", "optim.lr=0.5", "--out", one)
    assert code == 4
    assert "optim.lr = 0.001 there, 0.5 here" in err


def test_debug_shows_the_traceback():
    command = [sys.executable, "-m", "collapse_lab", "--debug", "analyze", "nowhere"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "Traceback" in answer.stderr


def test_an_interrupted_run_says_so_and_ends_with_130(tmp_path):
    data = write_pictures(tmp_path / "pictures", train=16, test=8)
    settings = (
        "model.response=grn",
        "model.layer_scale=none",
        "objective.decoder_dim=8",
        "data.batch=4",
        "data.size=16",
    )
    changes = [part for each in (*settings, f"data.uri={data}", "steps=100000") for part in ("--set", each)]
    run = tmp_path / "run"
    command = [sys.executable, "-m", "collapse_lab", "train", *changes, "--out", str(run)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while not (run / "log.jsonl").is_file() and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(2)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "goes on where it stopped" in err
    assert json.loads((run / "run.json").read_text())["status"] == "interrupted"


def test_the_command_line_runs_without_a_home_or_a_terminal(tmp_path):
    command = [sys.executable, "-m", "collapse_lab", "list", "data"]
    bare = {"PATH": os.environ["PATH"]}
    answer = subprocess.run(command, capture_output=True, text=True, check=False, env=bare, stdin=subprocess.DEVNULL)
    assert answer.returncode == 0
    assert answer.stdout.startswith("name\taddress\ndigits\tdigits\n")
