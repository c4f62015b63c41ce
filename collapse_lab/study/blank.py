"""Networks without values: what sites they have can be asked before there is a run."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import nn

from collapse_lab.train.build import build
from collapse_lab.train.config import Config
from collapse_lab.train.resolve import resolve


def encoder_of(config: Config) -> nn.Module:
    """The encoder of a configuration, whatever its seed."""
    return _encoder(config.model_copy(update={"out": "", "seed": 0}))


@lru_cache(maxsize=64)
def _encoder(config: Config) -> nn.Module:
    resolved = resolve(config, images=config.data.batch, classes=config.model.classes or 2)
    with torch.device("meta"):
        return build(resolved.model, resolved.objective, seed=0).encoder
