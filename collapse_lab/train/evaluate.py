"""How good the network is on the test images: with its weights, and with their running average."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from collapse_lab import draws
from collapse_lab.data.source import Images, normalise
from collapse_lab.objectives.outcome import Objective, Outcome
from collapse_lab.train.average import Average
from collapse_lab.train.config import Config

PREFIX, SUFFIX = "test_", "_averaged"
HIGHER = ("top1", "top5", "embedding_std")
"""Of these the highest is the best, of anything else the lowest."""


def evaluate(
    objective: Objective, images: Images, config: Config, device: torch.device, average: Average | None = None
) -> dict[str, float]:
    """`test_loss` and the objective's own metrics in eval mode, each the mean over all images of the split.

    With `average` also those of the averaged weights, with the ending `_averaged`. What an objective draws (a mask) is
    a function of (seed, place of the image in the split): the same at every step. Modes and weights are left as they
    were.
    """
    found = {PREFIX + name: value for name, value in _means(objective, images, config, device, None).items()}
    if average is not None:
        again = _means(objective, images, config, device, average.state)
        found |= {PREFIX + name + SUFFIX: value for name, value in again.items()}
    return found


def best(lines: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Of the lines of a log, metric -> its best value on the test images, the step, and whose weights it was.

    The first of equal ones; NaN is never the best.
    """
    found: dict[str, dict[str, Any]] = {}
    for line in lines:
        for name, value in line.items():
            if not name.startswith(PREFIX) or value != value:
                continue
            metric = name.removeprefix(PREFIX).removesuffix(SUFFIX)
            sign = 1 if metric in HIGHER else -1
            if metric not in found or sign * value > sign * found[metric]["value"]:
                weights = "averaged" if name.endswith(SUFFIX) else "trained"
                found[metric] = {"value": value, "step": line["step"], "weights": weights}
    return found


def _means(
    objective: Objective, images: Images, config: Config, device: torch.device, weights: Mapping[str, Tensor] | None
) -> dict[str, float]:
    """One pass; the sums stay on the device until its end."""
    sums: dict[str, Tensor] = {}
    with _judging(objective), torch.no_grad():
        for outcome, count in _outcomes(objective, images, config, device, weights):
            for name, value in {"loss": outcome.loss, **outcome.metrics}.items():
                sums[name] = sums.get(name, 0.0) + value.double() * count
    return {name: value.item() / len(images) for name, value in sums.items()}


def _outcomes(
    objective: Objective, images: Images, config: Config, device: torch.device, weights: Mapping[str, Tensor] | None
) -> Iterator[tuple[Outcome, int]]:
    place = 0
    for batch in images.batches(config.data.batch):
        count = len(batch.label)
        pixels = normalise(batch.image.to(device), config.data.mean, config.data.std)
        pixels = pixels.to(next(objective.parameters()).dtype)
        index = torch.arange(place, place + count, device=device)
        drawn = draws.Draws(seed=draws.key(config.seed, "test"), step=0, index=index)
        given = (pixels, batch.label.to(device))
        if weights is None:
            yield objective(*given, generator=drawn), count
        else:
            yield functional_call(objective, dict(weights), given, {"generator": drawn}), count
        place += count


@contextmanager
def _judging(module: nn.Module) -> Iterator[None]:
    """Eval mode, and afterwards each module's mode of before."""
    before = [(each, each.training) for each in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for each, training in before:
            each.training = training
