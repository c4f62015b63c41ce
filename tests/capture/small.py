"""Small models and images for captures."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from collapse_lab.capture import hooks
from collapse_lab.capture.batches import Seen
from collapse_lab.capture.ending import Ending
from collapse_lab.capture.settings import Settings
from collapse_lab.capture.store import Capture
from tests.metrics.planted import source

SITES = ["conv", "act", "head"]
LAYOUT = {"act": "image channel height width"}


class Small(nn.Module):
    """A convolution, a rectifier and a linear layer on the average."""

    def __init__(self, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3, dtype=dtype)
        self.act = nn.ReLU()
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(5, 4, dtype=dtype)
        for parameter in self.parameters():
            parameter.data.normal_(generator=source(parameter.ndim))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.drop(self.act(self.conv(x))).mean(dim=(2, 3)))
        return logits


def images(count: int, *, seed: int = 0, side: int = 6) -> Tensor:
    return torch.randn(count, 3, side, side, generator=source(seed), dtype=torch.float64)


class Gives(nn.Module):
    """A model whose one site, `inside`, makes of the images whatever it is told to."""

    def __init__(self, make: Any) -> None:
        super().__init__()
        self.inside = Calls(make)

    def forward(self, x: Tensor) -> Any:
        return self.inside(x)


class Calls(nn.Module):
    def __init__(self, make: Any) -> None:
        super().__init__()
        self.make = make

    def forward(self, x: Tensor) -> Any:
        return self.make(x)


def one(image: Tensor) -> Seen:
    """A batch of one."""
    return Seen(image=image, id=torch.zeros(1, dtype=torch.long), label=None, removed=None)


def observe(model: nn.Module, batches: Any, *, sites: Any, **asked: Any) -> Capture:
    """A pass whose settings are given one by one."""
    ending = Ending(**{name: asked.pop(name) for name in ("summarise", "estimate", "keep_groups") if name in asked})
    return hooks.observe(model, batches, sites=sites, settings=Settings(**asked), ending=ending)
