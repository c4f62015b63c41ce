"""Captures of any model from the command line, each in a folder of its own that `analyze` reads."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

from collapse_lab.capture import hooks
from collapse_lab.capture.store import load_capture
from tests.pictures import write_pictures
from tests.tolerances import ORDER, ROUNDED_ROWS

MODELS = """
import torch
from torch import nn

class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.odd = nn.Conv2d(3, 3, 3, padding=1), nn.Softplus()

    def forward(self, x):
        return x + self.odd(self.conv(x) * 2)

class Net(nn.Module):
    def __init__(self, depth):
        super().__init__()
        self.blocks = nn.Sequential(*(Block() for _ in range(depth)))
        self.head = nn.Linear(3, 2)

    def forward(self, x):
        return self.head(self.blocks(x).mean(dim=(2, 3)))

def net():
    torch.manual_seed(0)
    return Net(2)

def other():
    return nn.Sequential(nn.Flatten(), nn.Linear(768, 3))
"""
BLOCKS = ("--layout", "kind:block=image channel height width")


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets_to_capture.py").write_text(MODELS)
    write_pictures(tmp_path / "pictures", train=2, test=6)
    yield tmp_path
    sys.modules.pop("nets_to_capture", None)


CAPTURE = ("capture", "py:nets_to_capture:net", "--data", "pictures", "--size", 16)


def test_a_model_of_ones_own_is_captured_and_analysed(ask, here):
    code, out, err = ask(*CAPTURE, "--out", "c", *BLOCKS, "--batch", 4, "--json")
    assert code == 0, err
    document = json.loads(out)
    assert (document["sites"], document["images"]) == (["blocks.0", "blocks.1"], 6)
    facts = load_capture(here / "c").facts
    assert (facts["source"], facts["size"], facts["normalisation"]) == ("py:nets_to_capture:net", 16, "ImageNet's")
    assert facts["layouts"]["blocks.1"] == "image channel height width"
    code, out, err = ask("analyze", "c", "--json")
    assert code == 0, err
    assert {row["site"] for row in json.loads(out)["metrics"]} == {"blocks.0", "blocks.1"}
    assert ask(*CAPTURE, "--out", "c", *BLOCKS)[0] == 0  # the same model again


def test_rows_maps_and_groups_are_kept_on_request_and_memory_is_told_before(ask, here):
    keep = ("--keep-rows", 20, "--keep-maps", 2, "--keep-groups", "--rows-dtype", "float16")
    code, _, err = ask(*CAPTURE, "--out", "c", *BLOCKS, *keep)
    assert code == 0, err
    assert "statistics take" in err
    assert "of memory and" in err
    captured = load_capture(here / "c")
    rows = captured["blocks.0", "sampled:8"].rows
    assert len(rows.values) == 20
    assert rows.position.max() < 16 * 16
    assert set(rows.id.tolist()) <= set(captured["blocks.0", "pooled"].rows.id.tolist())
    assert captured.maps.values["blocks.1"].shape == (2, 256, 3)
    assert set(captured.held) == {"blocks.0", "blocks.1"}


def test_a_limit_of_memory_is_kept_to_and_said(ask, here):
    code, _, err = ask(*CAPTURE, "--out", "c", *BLOCKS, "--positions", "sampled:8", "--memory-limit", "80kB")
    assert code == 0, err
    assert "groups of images instead of 16" in err
    assert load_capture(here / "c").facts["groups"] < 16
    code, _, err = ask(*CAPTURE, "--out", "d", *BLOCKS, "--memory-limit", "1kB")
    assert code == 4
    assert "more than the limit of 1 kB" in err


@pytest.mark.parametrize(
    ("option", "expected", "words"),
    [
        (("--memory-limit", "much"), 4, "such as 800MB, got 'much'"),
        (("--rows-dtype", "int8"), 2, "'int8' is not one of 'float32', 'float16'"),
        (("--std", 0, 1, 1), 4, "std divides every channel and is above 0, got [0.0, 1.0, 1.0]"),
        (("--layout", "blocks.9=image channel height width"), 4, "layout: no site matches 'blocks.9'"),
        (("--accumulation", "half"), 2, "'half' is not one of 'float64', 'float32'"),
    ],
)
def test_an_option_that_says_nothing_is_refused(ask, here, option, expected, words):
    code, _, err = ask(*CAPTURE, "--out", "c", *BLOCKS, *option)
    assert code == expected
    assert words in err
    assert not (here / "c").exists()


def test_products_summed_in_float32_have_a_higher_floor(ask, here):
    for name in ("float64", "float32"):
        code, _, err = ask(*CAPTURE, "--out", name, *BLOCKS, "--accumulation", name)
        assert code == 0, err
    exact, single = (load_capture(here / name)["blocks.0"] for name in ("float64", "float32"))
    assert single.accumulation_eps == 2.0**-23
    assert single.floor > 100 * exact.floor


@pytest.fixture
def passed(ask, here, monkeypatch) -> list[object]:
    """The batches that passed: a capture in `c` was interrupted in the third of three, and saved after each."""
    batches, run_model = [], hooks.run_model

    def stopping(model: object, batch: object) -> None:
        if len(batches) == 2:
            raise KeyboardInterrupt
        batches.append(batch)
        run_model(model, batch)

    monkeypatch.setattr(hooks, "run_model", stopping)
    assert ask(*CAPTURE, "--out", "c", *BLOCKS, "--batch", 2, "--save-every", 1)[0] == 130
    monkeypatch.setattr(hooks, "run_model", lambda model, batch: (batches.append(batch), run_model(model, batch)))
    return batches


def test_an_interrupted_capture_goes_on_from_its_last_saving(ask, here, passed):
    code, _, err = ask(*CAPTURE, "--out", "c", *BLOCKS, "--batch", 2, "--save-every", 1)
    assert code == 0, err
    assert len(passed) == 3  # of three batches each once
    assert ask(*CAPTURE, "--out", "whole", *BLOCKS, "--batch", 2)[0] == 0
    one, two = load_capture(here / "c"), load_capture(here / "whole")
    assert one["blocks.1"].images_hash == two["blocks.1"].images_hash
    assert torch.allclose(one["blocks.1"].scatter, two["blocks.1"].scatter, rtol=ORDER)


def test_an_interrupted_capture_does_not_go_on_with_other_pixels(ask, here, passed):
    other = ("--mean", 0, 0, 0, "--std", 1, 1, 1)
    code, _, err = ask(*CAPTURE, "--out", "c", *BLOCKS, "--batch", 2, "--save-every", 1, *other)
    assert code == 4
    assert "an interrupted capture of other settings (images, mean: [0.485, 0.456, 0.406] and [0.0, 0.0, 0.0])" in err


def test_a_capture_that_is_whole_keeps_nothing_of_one_that_was_interrupted(ask, here, passed):
    assert (here / "c" / ".parts").is_dir()
    assert ask(*CAPTURE, "--out", "c", *BLOCKS, "--batch", 2)[0] == 0
    assert not (here / "c" / ".parts").exists()


def test_mean_and_std_change_what_the_model_sees_and_are_recorded(ask, here):
    for name, given in (("a", ()), ("b", ("--mean", 0, 0, 0, "--std", 1, 1, 1))):
        code, _, err = ask(*CAPTURE, "--out", name, "--sites", "**.conv@input", *given)
        assert code == 0, err
    one, two = load_capture(here / "a"), load_capture(here / "b")
    assert (two.facts["mean"], two.facts["std"], two.facts["normalisation"]) == ([0, 0, 0], [1, 1, 1], "given")
    site = "blocks.0.conv@input"
    seen, pixels = one[site, "pooled"].mean, two[site, "pooled"].mean
    mean, std = (seen.new_tensor(one.facts[name]) for name in ("mean", "std"))
    assert (pixels - (seen * std + mean)).abs().max() < ROUNDED_ROWS


def test_a_folder_of_another_model_or_of_something_else_is_refused_before_the_pass(ask, here):
    assert ask(*CAPTURE, "--out", "c", *BLOCKS)[0] == 0
    before = (here / "c" / "capture.json").read_bytes()
    code, _, err = ask("capture", "py:nets_to_capture:other", *CAPTURE[2:], "--out", "c", "--sites", "class:Linear")
    assert code == 4
    assert "c holds a capture of another model (model 'Net' there, 'Sequential' here" in err
    assert (here / "c" / "capture.json").read_bytes() == before
    code, _, err = ask(*CAPTURE, "--out", "pictures", *BLOCKS)
    assert code == 4
    assert "pictures is no capture and not empty (test, train)" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (CAPTURE, "say --data (a source or a folder of images) and --out (a folder)"),
        ((*CAPTURE, "--out", "c", "--step", 3), "is no run and has no steps; leave out --step"),
        ((*CAPTURE, "--out", "c", "--layout", "x"), "--layout takes PATTERN=AXES"),
        ((*CAPTURE, "--out", "c"), "--layout 'blocks.0=image channel height width'"),
        ((*CAPTURE, "--out", "c", "--sites", "*.act"), "no site matches '*.act'"),
        (("capture", "py:nets_to_capture:other", *CAPTURE[2:], "--out", "c"), "has no kind:block; choose with --sites"),
        (("list", "sites", "py:nets_to_capture:nothing"), "the module nets_to_capture has no 'nothing'"),
    ],
)
def test_what_is_missing_or_does_not_fit_is_said_and_nothing_is_written(ask, here, arguments, said):
    code, out, err = ask(*arguments)
    assert code == 4
    assert said in err
    assert out == ""
    assert not (here / "c").exists()


def test_options_that_a_run_has_itself_are_refused(ask, study_runs):
    run = next(path.parent for path in study_runs.glob("*/run.json"))
    code, _, err = ask("capture", run, "--out", "c", "--size", 8)
    assert code == 4
    assert "is a run, which has its own; leave out --out, --size" in err


def test_sites_are_listed_with_shape_layout_and_bytes_and_a_remedy_where_unknown(ask, here):
    code, out, err = ask("list", "sites", "py:nets_to_capture:net", "--size", 8, "--sites", "blocks.**")
    assert code == 0
    rows = [line.split("\t") for line in out.splitlines()]
    assert rows[0] == ["site", "kind", "class", "shape", "layout", "bytes a row"]
    assert rows[1] == ["blocks.0.conv", "kind:conv", "class:Conv2d", "3 x 8 x 8", "image channel height width", "12"]
    assert rows[3] == ["blocks.0", "kind:block", "class:Block", "3 x 8 x 8", "?", "–"]
    assert "4 cannot be captured as they are:" in err
    assert "--layout 'blocks.0=image channel height width'" in err
    told = ask("list", "sites", "py:nets_to_capture:net", "--size", 8, "--sites", "kind:block", *BLOCKS, "--json")[1]
    assert [row["bytes a row"] for row in json.loads(told)["rows"]] == [12, 12]


def test_sites_of_a_named_network_are_listed_without_its_weights(ask):
    code, out, err = ask("list", "sites", "convnextv2_tiny", "--sites", "stages.3.blocks.2.act", "--json")
    assert code == 0, err
    (row,) = json.loads(out)["rows"]
    assert (row["shape"], row["layout"], row["bytes a row"]) == ("49 x 3072", "image position channel", 12288)
