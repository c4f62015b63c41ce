"""Live metrics in any training loop: a pass of a few fixed images every so many steps, and nothing between."""

from __future__ import annotations

import copy
import operator
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pandas as pd
import torch
from torch import Tensor, nn

from collapse_lab.capture.batches import Seen, first_image, read_batches
from collapse_lab.capture.hooks import observe
from collapse_lab.capture.layouts import Layout
from collapse_lab.capture.scout import Place, scout
from collapse_lab.capture.settings import Settings
from collapse_lab.findings.alarm import Alarm, Alert, Row
from collapse_lab.findings.alerts import read_rules
from collapse_lab.findings.journal import Journal
from collapse_lab.findings.scalars import Scalars
from collapse_lab.findings.table import COLUMNS, ORIGIN, analyze, checked
from collapse_lab.metrics._metric import HEADLINE, METRICS

KEPT = 4096
"""Rows kept of a site: some metrics are read off rows, and a few images have few."""


def monitor(
    model: nn.Module,
    *,
    sites: Iterable[str],
    images: Any,
    every: int = 100,
    metrics: Iterable[str] = HEADLINE,
    rules: Iterable[str] = (),
    positions: Sequence[str] = ("sampled:8",),
    layout: Layout = None,
    seed: int = 0,
    untrained: nn.Module | pd.DataFrame | None = None,
    run: Path | str | None = None,
    tensorboard: Path | str | None = None,
) -> Monitor:
    """Watch `sites` of a model that is being trained: a context manager, called with the step of the loop.

        with cl.monitor(model, sites=["kind:block"], images=probe, every=50, rules=[...]) as watch:
            for step in range(steps):
                ...
                if watch(step):
                    break  # a rule that ends in ", stop" went on

    `images` is one batch (a tensor, (images, labels) or {"image", "label", "id"}) or an iterable of batches, which is
    read once and kept. `sites`, `positions`, `layout` and `seed` are those of `capture`. `rules` are read by
    `alerts.read_rule`; what they need is measured beside `metrics`. `untrained` is what a rule means by the untrained
    value: a network, measured as step 0, or a table of one; without it the first check is. `run` is a folder that
    rows and alerts are written to and gone on from; `tensorboard` one for event files.

    The pass runs in evaluation mode outside autocast, so the values do not depend on where the loop calls it; weights,
    gradients, running statistics, modes and random numbers are left as they were. A wrapper for data-parallel training
    or compilation is looked through; no rank waits for another, so call it on every rank or on one, and give `run`
    and `tensorboard` on one.

    Raises LookupError for unknown sites or metrics, ValueError for images, rules or a table that do not fit,
    ImportError where tensorboard is missing.
    """
    return Monitor(
        model,
        sites=sites,
        images=images,
        every=every,
        metrics=metrics,
        rules=rules,
        positions=positions,
        layout=layout,
        seed=seed,
        untrained=untrained,
        run=run,
        tensorboard=tensorboard,
    )


class Monitor:
    """The state of a watch: every row and alert so far. Made by `monitor`, which says what the arguments are.

    `alerts` are all changes so far, `new` those of the last call.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        sites: Iterable[str],
        images: Any,
        every: int,
        metrics: Iterable[str],
        rules: Iterable[str],
        positions: Sequence[str],
        layout: Layout,
        seed: int,
        untrained: nn.Module | pd.DataFrame | None,
        run: Path | str | None,
        tensorboard: Path | str | None,
    ) -> None:
        if every < 1:
            raise ValueError(f"every is a number of steps, 1 or more, got {every}")
        self.model, self.every = bare(model), every
        self._batches = _kept(images)
        self._settings = Settings(
            positions=(positions,) if isinstance(positions, str) else tuple(positions),
            seed=seed,
            groups=0,
            keep_rows=KEPT,
            layout=layout,
            across_ranks=False,  # of many that train together one alone may watch
        )
        self._places = self._scouted(sites)
        read = read_rules(rules, [place.name for place in self._places])
        asked = [metrics] if isinstance(metrics, str) else list(metrics)
        self._metrics = tuple(dict.fromkeys([*asked, *(rule.metric for rule in read)]))
        for name in self._metrics:
            METRICS[name]
        self._untrained = untrained if isinstance(untrained, nn.Module) else None
        given = _records(checked(untrained)) if isinstance(untrained, pd.DataFrame) else None
        self._alarm = Alarm(read, given)
        self._journal = None if run is None else Journal(Path(run))
        self._scalars = None if tensorboard is None else Scalars(Path(tensorboard), len(self._settings.positions))
        self._checks: dict[int, pd.DataFrame] = {}
        self._latest = -1
        self.alerts: list[Alert] = []
        self.new: list[Alert] = []

    def __call__(self, step: int) -> bool:
        """Measure if it is the first call or the step a multiple of `every`; True while a rule with "stop" is on.

        Where the run's folder holds checks of before this step, the first call goes on from them instead, with the
        alerts that were on then. Raises ValueError for a step before the latest, and what a pass raises.
        """
        step = operator.index(step)
        if step < max(self._latest, 0):
            raise ValueError(f"step {step} comes after step {self._latest}; count on, or begin a new monitor")
        begins, self._latest, self.new = self._latest < 0, step, []
        if begins:
            self._begin(step)
        if step not in self._checks and not (self._checks and step % self.every):
            self._check(self.model, step)
        return bool(self.stops)

    @property
    def stops(self) -> list[Alert]:
        """The alerts of rules with "stop" that are on."""
        return self._alarm.stops

    @property
    def began(self) -> bool:
        """Whether it was called at all."""
        return self._latest >= 0

    def table(self) -> pd.DataFrame:
        """Every row so far, as of `analyze`: one a step, site, position policy and metric. Nothing has an interval."""
        records = [row for check in self._checks.values() for row in check.to_dict("records")]
        return pd.DataFrame(records) if records else pd.DataFrame(columns=list(COLUMNS))

    def close(self) -> None:
        """Join the rows in the run's folder and end the event file; leaving the `with` block does."""
        if self._journal is not None and self._latest >= 0:
            self._journal.close()
        if self._scalars is not None:
            self._scalars.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _scouted(self, sites: Iterable[str]) -> tuple[Place, ...]:
        """The sites as one image shows them, once and for all; what cannot be captured is refused here."""
        first = next(read_batches(self._batches, Counter()))
        with untouched(self.model), torch.inference_mode(mode=False), torch.no_grad():
            return scout(self.model, sites, first_image(first), self._settings.layout)

    def _begin(self, step: int) -> None:
        """Take up what a run before came to, by judging its rows again; measure the untrained network."""
        found = None if self._journal is None else self._journal.resume(step)
        if found is not None and self._journal is not None:
            for number, check in found.groupby("step"):
                self._checks[int(str(number))] = check
                self.alerts += self._alarm.judge(_records(check), again=True)
            self._journal.alert(self.alerts)
        elif self._untrained is not None and step > 0:
            device = next((parameter.device for parameter in self.model.parameters()), torch.device("cpu"))
            self._check(copy.deepcopy(bare(self._untrained)).to(device), 0)
        self._untrained = None

    def _check(self, model: nn.Module, step: int) -> None:
        with untouched(model):
            captured = observe(model, self._batches, places=self._places, settings=self._settings)
            origin = ORIGIN if self._journal is None else self._journal.origin()
            rows = analyze(captured, metrics=self._metrics).assign(**{**origin, "step": step})
        changes = self._alarm.judge(_records(rows))
        self._checks[step] = rows
        self.alerts += changes
        self.new += changes
        if self._journal is not None:
            self._journal.write(rows, step)
            self._journal.alert(changes)
        if self._scalars is not None:
            self._scalars.write(_records(rows), step)


def bare(model: nn.Module) -> nn.Module:
    """The module inside wrappers for data-parallel training and compilation, whose parameters it shares."""
    while True:
        if isinstance(model, nn.parallel.DistributedDataParallel | nn.DataParallel):
            model = model.module
        elif isinstance(inner := getattr(model, "_orig_mod", None), nn.Module):
            model = inner
        else:
            return model


@contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    """Without autocast, and with the random numbers of the CPU and the model's devices as they were afterwards."""
    devices = {parameter.device for parameter in model.parameters()}
    gpus = [device.index for device in devices if device.type == "cuda"]
    with torch.random.fork_rng(devices=gpus), ExitStack() as stack:
        for kind in {"cpu", *(device.type for device in devices)}:
            stack.enter_context(torch.autocast(kind, enabled=False))
        yield


def _kept(images: Any) -> list[dict[str, Tensor]]:
    """The batches with identities, read once; raises ValueError for none."""
    batches = [images] if _is_batch(images) else images
    kept = [_as_given(seen) for seen in read_batches(batches, Counter())]
    if not kept:
        raise ValueError("there are no images to watch the model with; give a batch, or a list of batches")
    return kept


def _is_batch(images: Any) -> bool:
    """Whether this is one batch; of a list of two tensors the second holds labels if it has one number an image."""
    if isinstance(images, Tensor | Mapping | tuple):
        return True
    if not isinstance(images, list) or len(images) != 2 or not all(isinstance(each, Tensor) for each in images):
        return False
    return len(images[1].shape) <= 1


def _as_given(seen: Seen) -> dict[str, Tensor]:
    whole = {"image": seen.image.detach(), "id": seen.id, "label": seen.label, "removed": seen.removed}
    return {name: value for name, value in whole.items() if value is not None}


def _records(rows: pd.DataFrame) -> list[Row]:
    return [{str(name): value for name, value in row.items()} for row in rows.to_dict("records")]
