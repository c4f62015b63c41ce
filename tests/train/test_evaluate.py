"""Evaluation: exact means over the test images, and nothing of it is left behind."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from collapse_lab.data.source import Images, normalise, open_images
from collapse_lab.models.build import build_model
from collapse_lab.objectives.fcmae import FCMAE
from collapse_lab.objectives.supervised import Supervised
from collapse_lab.train.average import Average
from collapse_lab.train.config import Config, make_config
from collapse_lab.train.evaluate import best, evaluate
from tests.tolerances import EXACT32

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def images() -> Images:
    whole = open_images("digits", "test", 16)
    few = torch.arange(50)
    return replace(whole, image=whole.image[few], label=whole.label[few], id=whole.id[few])


def config(batch: int) -> Config:
    return make_config({"data": {"batch": batch, "size": 16}})


def classifier(seed: int = 0) -> Supervised:
    encoder = build_model("convnext_digits", response="grn", layer_scale=None, classes=10, drop_path=0.5, seed=seed)
    return Supervised(encoder, label_smoothing=0.2, mixup=0.8, erasing=1.0).train()


def test_every_image_counts_once_whatever_the_batch(images):
    objective = classifier()
    pixels = normalise(images.image, Config().data.mean, Config().data.std)
    logits = objective.eval().encoder(pixels)
    objective.train()
    expected = {
        "test_loss": torch.nn.functional.cross_entropy(logits, images.label).item(),
        "test_top1": (logits.argmax(dim=1) == images.label).double().mean().item(),
        "test_top5": (logits.topk(5).indices == images.label[:, None]).any(dim=1).double().mean().item(),
    }
    for batch in (7, 50, 64):
        assert evaluate(objective, images, config(batch), CPU) == pytest.approx(expected, rel=EXACT32)


def test_the_masked_loss_is_of_the_same_masks_every_time_and_whatever_the_batch(images):
    objective = FCMAE(build_model("convnext_digits", response="grn", layer_scale=None), decoder_dim=8)
    found = [evaluate(objective, images, config(batch), CPU)["test_loss"] for batch in (7, 7, 50)]
    assert found[0] == found[1] == pytest.approx(found[2], rel=EXACT32)


def test_modes_and_weights_are_left_as_they_were(images):
    objective = classifier()
    average = Average(classifier(seed=1), 0.9)
    before = {name: value.clone() for name, value in objective.state_dict().items()}
    evaluate(objective, images, config(50), CPU, average)
    assert all(module.training for module in objective.modules())
    assert all(torch.equal(value, before[name]) for name, value in objective.state_dict().items())
    assert all(parameter.grad is None for parameter in objective.parameters())
    with pytest.raises(ValueError, match="9 x 9 pixels are not divided by cells"):
        evaluate(objective, replace(images, image=images.image[:, :, :9, :9]), config(50), CPU)
    assert objective.training


def test_averaged_weights_are_judged_as_the_network_that_has_them(images):
    objective, other = classifier(), classifier(seed=1)
    found = evaluate(objective, images, config(50), CPU, Average(other, 0.9))
    alone = evaluate(other, images, config(50), CPU)
    assert {name: found[f"{name}_averaged"] for name in alone} == alone
    assert {name: found[name] for name in alone} == evaluate(objective, images, config(50), CPU)


def test_the_best_is_the_highest_accuracy_and_the_lowest_loss_of_either_weights():
    lines = [
        {"step": 10, "loss": 9.0, "test_loss": 2.0, "test_top1": 0.5, "test_top1_averaged": 0.1},
        {"step": 15, "loss": 0.1},
        {"step": 20, "test_loss": 1.0, "test_top1": 0.4, "test_top1_averaged": 0.7},
        {"step": 30, "test_loss": float("nan"), "test_top1": 0.7, "test_top1_averaged": 0.7},
    ]
    assert best(lines) == {
        "loss": {"value": 1.0, "step": 20, "weights": "trained"},
        "top1": {"value": 0.7, "step": 20, "weights": "averaged"},
    }
    assert best([]) == {}
