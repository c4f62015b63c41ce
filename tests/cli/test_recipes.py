"""Recipes from the command line: listed, trained by name, fine-tuned, and the averaged weights taken out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from collapse_lab.capture.store import load_capture
from collapse_lab.train.load import load_model

SMALL = ("--set", "data.size=16", "--set", "steps=6", "--set", "eval.every=0")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("recipes")


@pytest.fixture
def averaged(ask, folder) -> Path:
    """A classifier with averaged weights, by the recipe of the digits; trained once."""
    code, _, err = ask("train", "-c", "digits_supervised", *SMALL, "--set", "optim.ema=0.5", "--out", folder / "run")
    assert code == 0, err
    return folder / "run"


def test_recipes_are_listed_with_what_they_are(ask):
    rows = {row["name"]: row for row in json.loads(ask("list", "recipes", "--json")[1])["rows"]}
    row = rows["convnextv2_atto_fcmae"]
    assert (row["model"], row["objective"], row["length"], row["batch"]) == (
        "convnextv2_atto",
        "fcmae",
        "800 epochs",
        4096,
    )
    assert row["about"].startswith("What ")
    assert "convnextv2_atto_fcmae\tconvnextv2_atto\tfcmae\t800 epochs\t4096\n" in ask("list", "recipes")[1]


def test_a_recipe_trains_by_its_name(ask, averaged):
    assert load_model(averaged)(torch.rand(1, 3, 16, 16)).shape == (1, 10)
    code, _, err = ask("train", "-c", "digits_supervize", "--out", averaged)
    assert code == 4
    assert "no recipe is called 'digits_supervize'; did you mean 'digits_supervised'?" in err


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ("convnextv2_atto_fcmae", "path/to/imagenet is not a folder"),
        ("digits_finetune", "no file or folder path/to/pretrained"),
    ],
)
def test_a_recipe_whose_images_or_start_are_not_said_trains_on_no_others(ask, tmp_path, recipe, said):
    code, _, err = ask("train", "-c", recipe, "--out", tmp_path / "run")
    assert code == 4
    assert said in err
    assert not (tmp_path / "run").exists()


def test_averaged_weights_are_captured_beside_the_run_and_converted(ask, averaged, tmp_path):
    given = ("capture", averaged, "--sites", "stages.2.blocks.2")
    for _ in range(2):  # a second capture of the same replaces the first
        code, out, err = ask(*given, "--averaged", "--out", tmp_path / "averaged")
        assert (code, out) == (0, f"{tmp_path / 'averaged'}\n"), err
    ask(*given)
    found = [load_capture(path) for path in (tmp_path / "averaged", averaged / "captures" / "step-00000006")]
    assert [captured.facts["averaged"] for captured in found] == [True, False]
    means = [captured["stages.2.blocks.2"].mean for captured in found]
    assert not torch.equal(*means)
    assert ask("convert", averaged, tmp_path / "net.pt", "--to", "ours", "--averaged")[0] == 0
    expected, converted = load_model(averaged, averaged=True).state_dict(), load_model(tmp_path / "net.pt").state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in converted.items())


def test_averaged_weights_need_a_run_and_a_place_of_their_own(ask, averaged, tmp_path):
    code, _, err = ask("capture", averaged, "--averaged")
    assert (code, "say --out for those of --averaged" in err) == (4, True)
    code, _, err = ask("capture", "hf:a/b", "--averaged", "--data", "digits", "--out", tmp_path / "x")
    assert (code, "is no run and has no steps; leave out --averaged" in err) == (4, True)
