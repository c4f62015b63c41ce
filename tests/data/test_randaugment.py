"""RandAugment is torchvision's; what is ours is that an image's changes are its own."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest
import torch

from collapse_lab.data.randaugment import randaugment
from collapse_lab.draws import Draws


class Adds:
    """Stands in for torchvision's RandAugment: adds a number of torch's own generator to an image."""

    def __init__(self, **settings: Any) -> None:
        self.magnitude = settings["magnitude"]

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        return image + torch.randint(0, 10**self.magnitude, (1,)).to(torch.uint8)


@pytest.fixture(autouse=True)
def _a_torchvision(monkeypatch) -> None:
    transforms = ModuleType("torchvision.transforms")
    transforms.RandAugment = Adds
    monkeypatch.setitem(sys.modules, "torchvision", ModuleType("torchvision"))
    monkeypatch.setitem(sys.modules, "torchvision.transforms", transforms)


def drawn(index: torch.Tensor, step: int = 0) -> Draws:
    return Draws(seed=0, step=step, index=index)


def test_what_happens_to_an_image_depends_on_its_place_and_step_alone():
    images, index = torch.zeros(8, 3, 4, 4, dtype=torch.uint8), torch.arange(8)
    changed = randaugment(images, 2, drawn(index))
    assert len(changed.flatten(1)[:, 0].unique()) > 4
    parts = [randaugment(images[part], 2, drawn(part)) for part in index.split(3)]
    assert torch.equal(torch.cat(parts), changed)
    assert not torch.equal(randaugment(images, 2, drawn(index, step=1)), changed)


def test_torchs_own_generator_is_given_back_as_it_was():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    randaugment(torch.zeros(2, 3, 4, 4, dtype=torch.uint8), 1, drawn(torch.arange(2)))
    assert torch.equal(torch.rand(2), expected)
