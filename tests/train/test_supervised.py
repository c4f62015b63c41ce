"""Classifiers in the same loop: they learn, go on to the bit, start from other weights and refuse missing labels."""

from __future__ import annotations

import json
import math
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from collapse_lab.models.build import build_model
from collapse_lab.models.weights.write import write_weights
from collapse_lab.runs import Run
from collapse_lab.train.checkpoint import load_checkpoint
from collapse_lab.train.config import Config, load_config, make_config
from collapse_lab.train.load import load_model, load_step
from collapse_lab.train.log import read
from collapse_lab.train.loop import train
from collapse_lab.train.nested import merged
from collapse_lab.train.restore import load_objective
from tests.train.runs import SETTINGS, final_state, tiny

CLASSIFIER: dict[str, Any] = {
    **SETTINGS,
    "objective": {"name": "supervised", "label_smoothing": 0.1, "mixup": 0.8, "cutmix": 1.0, "erasing": 0.25},
    "optim": {"lr": 1e-3, "warmup": 2, "ema": 0.8, "layer_decay": 0.9, "min_lr": 1e-6},
    "data": {"batch": 8, "size": 16},
    "eval": {"every": 4},
}
LEFT_OUT = "left out: decoder, embed, mask_token, predict; drawn afresh: head, norm"


def classifier(out: Path, **changes: Any) -> Config:
    """The small run of tests.train.runs, as a classifier, with changes laid over it."""
    return make_config(merged({**CLASSIFIER, "out": str(out)}, changes))


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory) -> Path:
    """A finished FCMAE run; only read it."""
    return train(tiny(tmp_path_factory.mktemp("pretrained") / "run", model={"drop_path": 0.0}))


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory) -> Path:
    """A classifier that nothing interrupts; only read it."""
    return train(classifier(tmp_path_factory.mktemp("unbroken") / "run"))


def everything(path: Path) -> dict[str, torch.Tensor]:
    """Weights, moments and averages of the newest checkpoint."""
    average = load_checkpoint(list(Run(path).checkpoints().values())[-1])["average"]
    return {**final_state(path), **{f"average {name}": value for name, value in average.items()}}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


def test_a_classifier_of_digits_is_right_more_than_nine_times_in_ten(tmp_path):
    config = load_config(Path("digits_supervised"), [f"out={tmp_path / 'run'}", "epochs=4", "eval.every=1000"])
    record = Run(train(config)).read()
    assert record["best"]["top1"]["value"] > 0.9
    assert record["best"]["top5"]["value"] > record["best"]["top1"]["value"]


@pytest.mark.parametrize("stop", [3, 5])
def test_stopping_and_going_on_gives_the_same_bits_with_mixing_and_averaged_weights(stop, unbroken, tmp_path):
    config = classifier(tmp_path / "run")
    train(config, on_step=lambda state: state.step == stop)
    torch.manual_seed(stop)
    train(config)
    assert same(everything(tmp_path / "run"), everything(unbroken))
    logs = [[{**line, "images_per_second": 0} for line in read(p / "log.jsonl")] for p in (tmp_path / "run", unbroken)]
    assert logs[0] == logs[1]
    assert Run(tmp_path / "run").read()["best"] == Run(unbroken).read()["best"]


def test_the_test_images_are_judged_now_and_then_and_at_the_end_with_both_weights(unbroken, tmp_path):
    judged = {line["step"]: set(line) for line in read(unbroken / "log.jsonl") if "test_loss" in line}
    names = {f"test_{name}{ending}" for name in ("loss", "top1", "top5") for ending in ("", "_averaged")}
    assert set(judged) == {4, 8}
    assert all(names <= there for there in judged.values())
    other = train(classifier(tmp_path / "run", eval={"every": 3}, log_every=5))
    assert [line["step"] for line in read(other / "log.jsonl")] == [3, 5, 6, 8]
    assert same(everything(other), everything(unbroken))  # to look changes nothing
    assert "best" not in Run(train(classifier(tmp_path / "none", eval={"every": 0}))).read()


def test_the_resolved_configuration_is_written_and_repeats_the_run(tmp_path):
    rates = {"lr": None, "base_lr": 0.032, "warmup": None, "warmup_epochs": 0.016}
    asked = classifier(tmp_path / "run", steps=None, epochs=0.032, optim=rates)
    path = train(asked)
    written = load_config(path / "config.toml", [f"out={path}"])
    assert (written.steps, written.epochs, written.model.classes) == (4, None, 10)
    assert (written.optim.lr, written.optim.warmup) == (pytest.approx(0.001), 2)
    assert Run(path).read()["steps"] == 4
    for config in (written, asked):
        train(config, on_step=lambda state: pytest.fail("a finished run has no steps"))


def test_a_model_comes_back_with_its_weights_or_their_average(unbroken):
    payload = load_checkpoint(Run(unbroken).checkpoint(8))
    images = torch.rand(2, 3, 16, 16)
    for averaged, part in ((False, "model"), (True, "average")):
        model = load_model(unbroken, averaged=averaged)
        assert all(torch.equal(value, payload[part][f"encoder.{name}"]) for name, value in model.state_dict().items())
        assert torch.equal(load_step(Run(unbroken), 8, averaged=averaged)(images), model(images))
        assert model(images).shape == (2, 10)
    assert not torch.equal(load_model(unbroken)(images), load_model(unbroken, averaged=True)(images))
    objective, step = load_objective(unbroken)
    assert (step, objective.classes) == (8, 10)


def test_every_layer_learns_at_its_own_rate_which_ends_near_the_least(tmp_path):
    run = Run(train(classifier(tmp_path / "run", optim={"min_lr": 5e-4, "layer_decay": 0.5}, eval={"every": 0})))
    rate = read(run.log)[-1]["lr"]
    assert rate == pytest.approx(5e-4 + 5e-4 * (1 + math.cos(math.pi * 5 / 6)) / 2)  # step 7 of 8, 2 of them warm-up
    groups = load_checkpoint(run.checkpoint(8))["optimizer"]["param_groups"]
    assert sorted({group["scale"] for group in groups}) == [0.5**layers for layers in (5, 4, 3, 2, 1, 0)]
    assert all(group["lr"] == rate * group["scale"] for group in groups)


def test_the_average_takes_in_the_weights_after_every_step(tmp_path):
    config = classifier(tmp_path / "run", steps=2, optim={"ema": 0.5}, save={"at": [0, 1]})
    payloads = [load_checkpoint(path) for path in Run(train(config)).checkpoints().values()]
    first, second, third = (payload["model"]["encoder.head.weight"] for payload in payloads)
    found = [payload["average"]["encoder.head.weight"] for payload in payloads]
    assert torch.equal(found[0], first)
    torch.testing.assert_close(found[1], (first + second) / 2)
    torch.testing.assert_close(found[2], (first + second) / 4 + third / 2)


def test_an_average_that_was_not_kept_is_refused(pretrained, tmp_path):
    with pytest.raises(ValueError, match="keeps no running average of its weights; train with"):
        load_model(pretrained, averaged=True)
    alone = shutil.copy(Run(pretrained).checkpoint(8), tmp_path / "alone.pt")
    with pytest.raises(ValueError, match="is no run and no checkpoint of one"):
        load_model(alone, averaged=True)


def test_a_classifier_starts_from_a_pre_trained_encoder_with_a_fresh_head(pretrained, tmp_path):
    small_head = {"model": {"drop_path": 0.0, "head_init_scale": 0.001}, "save": {"at": [0]}}
    with pytest.warns(UserWarning, match=f"the encoder starts from .*run; {LEFT_OUT}"):
        path = train(classifier(tmp_path / "run", init_from=str(pretrained), **small_head))
    began = load_checkpoint(Run(path).checkpoint(0))["model"]
    for name, value in load_model(pretrained).state_dict().items():
        assert torch.equal(began[f"encoder.{name}"], value), name
    fresh = build_model("convnext_digits", response="grn", layer_scale=None, classes=10, head_init_scale=0.001)
    assert torch.equal(began["encoder.head.weight"], fresh.head.weight)
    assert began["encoder.head.weight"].std() < 3e-5
    shutil.copytree(pretrained, tmp_path / "copy")  # what a run started from is not needed to go on with it
    config = classifier(tmp_path / "other", init_from=str(tmp_path / "copy"), **small_head)
    with pytest.warns(UserWarning, match=LEFT_OUT):
        train(config, on_step=lambda state: state.step == 4)
    shutil.rmtree(tmp_path / "copy")
    train(config)
    assert same(everything(tmp_path / "other"), everything(path))


def test_the_untrained_network_of_such_a_run_is_what_it_started_from(pretrained, tmp_path):
    with pytest.warns(UserWarning, match=LEFT_OUT):
        path = train(classifier(tmp_path / "run", init_from=str(pretrained), steps=3, save={"keep": 1}))
    assert 0 not in Run(path).checkpoints()
    with pytest.warns(UserWarning, match=LEFT_OUT):
        untrained = load_step(Run(path), 0).state_dict()
    for name, value in load_model(pretrained).state_dict().items():
        assert torch.equal(untrained[name], value)


def test_a_file_of_weights_is_a_start_too_and_its_head_is_left(tmp_path):
    model = build_model("convnext_digits", response="grn", layer_scale=None, classes=10, seed=5)
    torch.nn.init.constant_(model.norm.weight, 3.0)
    (file,) = write_weights(model, tmp_path / "weights.safetensors", "ours")
    with pytest.warns(UserWarning, match="left out: head; drawn afresh: head"):
        path = train(classifier(tmp_path / "run", init_from=str(file), save={"at": [0]}, steps=1))
    began = load_checkpoint(Run(path).checkpoint(0))["model"]
    assert torch.equal(began["encoder.norm.weight"], model.norm.weight)
    assert not torch.equal(began["encoder.head.weight"], model.head.weight)


@pytest.mark.parametrize(
    ("model", "shown"),
    [
        ({"response": "none"}, "response = grn there, none here"),
        ({"layer_scale": 1e-6}, "layer_scale = off there, on here"),
        ({"widths": [8, 16, 24]}, r"dims = \(16, 32, 64\) there, \(8, 16, 24\) here"),
    ],
)
def test_another_architecture_is_refused_with_both_shown(model, shown, pretrained, tmp_path):
    with pytest.raises(ValueError, match=rf"is another network \({shown}\); set model"):
        train(classifier(tmp_path / "run", init_from=str(pretrained), model=model))
    assert not (tmp_path / "run").exists()


def test_images_without_a_label_are_refused(tmp_path):
    root = tmp_path / "photos"
    for place in ("train/a/1.png", "train/b/2.png", "train/3.png", "test/a/4.png"):
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((16, 16, 3), dtype=np.uint8)).save(root / place)
    config = classifier(tmp_path / "run", data={"batch": 2, "uri": str(root)})
    with pytest.raises(ValueError, match=r"a label from 0 to 1 .* of the 3 of photos, train, 1 have none and 0 a"):
        train(config)
    (root / "train/3.png").unlink()
    shutil.move(root / "test/a/4.png", root / "test/4.png")
    with pytest.raises(ValueError, match=r"of the 1 of photos, test, 1 have none"):
        train(config)
    assert not (tmp_path / "run").exists()


def test_wrong_layers_and_a_missing_extra_are_refused_before_anything_is_written(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"optim.layers = grouped is for depths \(3, 3, 27, 3\)"):
        train(classifier(tmp_path / "run", optim={"layers": "grouped", "layer_decay": 0.9}))
    for name in ("torchvision", "torchvision.transforms"):  # a test before this one may have imported both
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r"needs torchvision; install it with: pip install 'collapse-lab\[vision\]'"):
        train(classifier(tmp_path / "run", data={"randaugment": 9}))
    assert not (tmp_path / "run").exists()


def test_an_older_run_without_the_newer_keys_is_the_same_run(unbroken, tmp_path):
    run = Run(Path(shutil.copytree(unbroken, tmp_path / "run")))
    record = run.read()
    del record["config"]["data"]["randaugment"], record["config"]["model"]["head_init_scale"]
    (run.path / "run.json").write_text(json.dumps(record))
    steps: list[object] = []
    assert train(classifier(run.path), on_step=steps.append) == run.path
    assert not steps
    assert run.read()["status"] == "finished"
