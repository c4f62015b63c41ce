"""Classification: cross entropy of smoothed and mixed targets, and what eval mode reports."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from collapse_lab.draws import Draws
from collapse_lab.models.build import build_model
from collapse_lab.objectives.mixing import erase, mix
from collapse_lab.objectives.supervised import Supervised
from tests.tolerances import EXACT32

LABELS = torch.tensor([0, 6, 3, 3])
DRAWN = Draws(seed=1, step=5, index=torch.arange(4))


def images() -> torch.Tensor:
    return torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def classifier(classes: int = 7, **options: float) -> Supervised:
    encoder = build_model("convnext_digits", response="grn", layer_scale=None, classes=classes)
    return Supervised(encoder, **options).train()


def soft(classes: int, smoothing: float, labels: torch.Tensor) -> torch.Tensor:
    return (1 - smoothing) * F.one_hot(labels, classes) + smoothing / classes


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_the_loss_is_the_cross_entropy_with_smoothed_labels(smoothing):
    objective = classifier(label_smoothing=smoothing)
    logits = objective.encoder(images())
    expected = -(soft(7, smoothing, LABELS) * logits.log_softmax(dim=1)).sum(dim=1).mean()
    loss = objective(images(), LABELS, generator=DRAWN).loss
    torch.testing.assert_close(loss, expected, rtol=EXACT32, atol=0)
    torch.testing.assert_close(loss, F.cross_entropy(logits, LABELS, label_smoothing=smoothing), rtol=EXACT32, atol=0)


@pytest.mark.parametrize(("mixup", "cutmix"), [(0.8, 0.0), (0.0, 1.0), (0.8, 1.0)])
def test_the_target_of_a_mixed_image_is_mixed_by_the_same_share(mixup, cutmix):
    objective = classifier(label_smoothing=0.1, mixup=mixup, cutmix=cutmix)
    mixed = mix(images(), mixup, cutmix, DRAWN)
    assert 0 < mixed.share < 1
    target = mixed.share * soft(7, 0.1, LABELS) + (1 - mixed.share) * soft(7, 0.1, LABELS[mixed.partner])
    expected = -(target * objective.encoder(mixed.images).log_softmax(dim=1)).sum(dim=1).mean()
    torch.testing.assert_close(objective(images(), LABELS, generator=DRAWN).loss, expected, rtol=EXACT32, atol=0)


def test_images_are_erased_before_they_are_mixed():
    objective = classifier(erasing=1.0, mixup=0.8)
    mixed = mix(erase(images(), 1.0, DRAWN), 0.8, 0.0, DRAWN)
    logits = objective.encoder(mixed.images)
    own, others = F.cross_entropy(logits, LABELS), F.cross_entropy(logits, LABELS[mixed.partner])
    expected = mixed.share * own + (1 - mixed.share) * others
    torch.testing.assert_close(objective(images(), LABELS, generator=DRAWN).loss, expected, rtol=EXACT32, atol=0)


def test_eval_mode_changes_neither_images_nor_labels():
    objective = classifier(label_smoothing=0.3, mixup=0.8, cutmix=1.0, erasing=1.0).eval()
    outcome = objective(images(), LABELS, generator=DRAWN)
    torch.testing.assert_close(outcome.loss, F.cross_entropy(objective.encoder(images()), LABELS))


def test_top_1_and_top_5_are_shares_of_images():
    objective = classifier().eval()
    ranks = torch.tensor([0, 1, 4, 5])  # of the label among the logits
    order = objective.encoder(images()).argsort(dim=1, descending=True)
    labels = order.gather(1, ranks[:, None])[:, 0]
    found = objective(images(), labels).metrics
    assert {name: value.item() for name, value in found.items()} == {"top1": 0.25, "top5": 0.75}


def test_five_classes_or_fewer_have_no_top_5():
    assert set(classifier(classes=5).eval()(images(), torch.zeros(4, dtype=torch.long)).metrics) == {"top1"}


def test_what_cannot_be_learned_is_refused():
    with pytest.raises(ValueError, match="needs a network with a head; say its classes"):
        Supervised(build_model("convnext_digits", response="grn", layer_scale=None))
    with pytest.raises(ValueError, match="needs labels, got none"):
        classifier()(images())
    with pytest.raises(ValueError, match=r"are shares, got 1.0 and 0.0"):
        classifier(label_smoothing=1.0)
    with pytest.raises(ValueError, match=r"or 0, got -1 and 0.0"):
        classifier(mixup=-1)
