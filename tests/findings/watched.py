"""A small model under a monitor."""

from __future__ import annotations

from typing import Any

from torch import nn

from collapse_lab.findings.monitor import Monitor, monitor
from tests.capture.small import images

FALL = "variance_share of conv fell 1 % below its own maximum"
METRICS = ("variance_share", "stable_rank")


def watched(model: nn.Module, **settings: Any) -> Monitor:
    defaults = {"sites": ["conv", "head"], "images": images(20), "every": 2, "metrics": METRICS}
    return monitor(model, **{**defaults, **settings})
