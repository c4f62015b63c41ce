"""The training loop. A run is a function of its configuration and its data; resuming needs the step alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from collapse_lab import draws
from collapse_lab.data.randaugment import require_torchvision
from collapse_lab.data.source import Batch, Images, normalise, open_images
from collapse_lab.objectives.outcome import Objective, Outcome
from collapse_lab.runs import Run, now, read_lines
from collapse_lab.train import resume, signals
from collapse_lab.train.admit import admit
from collapse_lab.train.ahead import ahead
from collapse_lab.train.average import Average
from collapse_lab.train.build import build
from collapse_lab.train.config import Config
from collapse_lab.train.evaluate import best, evaluate
from collapse_lab.train.layers import layer_scales
from collapse_lab.train.load import initial
from collapse_lab.train.nonfinite import Guard, Watch
from collapse_lab.train.optim import Scale, adamw
from collapse_lab.train.order import step_indices
from collapse_lab.train.pixels import pixels_of
from collapse_lab.train.place import Place, entered
from collapse_lab.train.resolve import Resolved, require_labels, resolve
from collapse_lab.train.step import Buffers, clipped, gradients, update
from collapse_lab.train.telemetry import Pace, Telemetry, read_numbers


@dataclass(frozen=True, kw_only=True)
class State:
    """What a caller sees after each step: `model` is the encoder; `loss` a tensor, reading it waits for the device.

    Of several ranks the first alone calls, and the loss is that of its own images.
    """

    step: int
    steps: int
    model: nn.Module
    loss: Tensor
    lr: float
    run: Run


OnStep = Callable[[State], object]


class Part(NamedTuple):
    """Some images of a step, and their places in its batch of all ranks."""

    places: Tensor
    batch: Batch


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What a run works with, all of it checked."""

    run: Run
    config: Resolved
    place: Place
    images: Images
    tests: Images | None
    objective: Objective
    telemetry: Telemetry

    def places(self, step: int) -> Tensor:
        """Of the images that a step sees, all ranks together: a function of (seed, step)."""
        return step_indices(self.config.seed, step, self.config.data.batch, len(self.images))

    def read(self, step: int) -> list[Part]:
        """This rank's images of a step, in the parts that they are computed in."""
        return [self.part(step, index) for index in self.place.parts(self.config.data.batch)]

    def part(self, step: int, index: Tensor) -> Part:
        """The images at some places of a step's batch."""
        read = self.images.pinned if self.place.device.type == "cuda" else self.images.stored
        return Part(index, read(self.places(step)[index]))

    def forward(self, network: nn.Module, step: int, part: Part) -> Outcome:
        """The objective, which `network` calls, on some images of a step.

        All that is random of an image is a function of (seed, step, its place in the global batch).
        """
        config, device = self.config, self.place.device
        drawn = draws.Draws(seed=config.seed, step=step, index=part.places.to(device, non_blocking=True))
        pixels = pixels_of(part.batch.image.to(device, non_blocking=True), drawn, config.data)
        labels = part.batch.label.to(device, non_blocking=True)
        with self.place.autocast():
            outcome: Outcome = network(pixels.to(self.place.dtype), labels, generator=drawn)
        return outcome

    def guard(self) -> Guard:
        """What stops the run where steps or weights are not finite."""
        limit = self.config.skip_limit if self.config.on_nonfinite == "skip" else 0
        writes = self.place.ranks.first
        return Guard(
            run=self.run, images=self.images, places=self.places, rate=self.config.rate, limit=limit, writes=writes
        )


def train(config: Config, on_step: OnStep | None = None) -> Path:
    """Train, or go on with, the run in `config.out`; returns its folder.

    `on_step` is called after every step; when it returns True the run is saved and stopped. A finished run returns at
    once. SIGINT and SIGTERM finish the step, save, and then raise KeyboardInterrupt or SystemExit(143). Whatever
    stops a run, the same call goes on from its newest checkpoint. Where torchrun started several processes all of them
    call this, and the first one writes. Raises ValueError for settings that do not fit or a folder of another
    configuration, LookupError for unknown names, TypeError for a learning method on a network that it is not for,
    RuntimeError when another process has the folder or another rank failed, OSError when it cannot be written,
    FloatingPointError for a loss or gradient that is not finite.
    """
    run = Run(Path(config.out))
    with ExitStack() as leaving:
        ready = prepare(run, config, leaving.enter_context(entered(config)))
        ranks = ready.place.ranks
        if ranks.from_first(lambda: _admitted(ready, leaving), "begin"):
            return run.path
        received = leaving.enter_context(signals.noted())
        leaving.enter_context(resume.recorded(run, writes=ranks.first))
        leaving.enter_context(ready.telemetry.open())
        _descend(ready, on_step, received)
    signals.obey(received)
    return run.path


def prepare(run: Run, config: Config, place: Place) -> Prepared:
    """Build and check everything before any work; writes nothing. Raises what `train` raises of a configuration."""
    try_out(config)
    together = len(place.parts(config.data.batch)[0])
    images = _opened(config, place)
    tests = _tests(config) if config.eval.every else None
    resolved = resolve(config, images=len(images), classes=len(images.classes))
    require_labels(resolved, images, tests)
    objective = _begun(run, resolved)
    if together < objective.least_images:
        raise ValueError(
            f"the objective {config.objective.name} compares the images of a batch and needs {objective.least_images} "
            f"or more at once, got {together}; take a larger data.batch, or less compute.accumulate"
        )
    return Prepared(
        run=run,
        config=resolved,
        place=place,
        images=images,
        tests=tests,
        objective=objective,
        telemetry=Telemetry(run, writes=place.ranks.first, tensorboard=config.tensorboard),
    )


def _descend(ready: Prepared, on_step: OnStep | None, received: list[int]) -> None:
    run, config, place, objective = ready.run, ready.config, ready.place, ready.objective
    ranks, device = place.ranks, place.device
    network = place.prepare(objective)
    scales = _scales(config, objective)
    optimizer = adamw(objective, config.optim.lr, config.optim.betas, config.optim.weight_decay, scales)
    average = Average(objective, config.optim.ema) if config.optim.ema else None
    watch, guard, buffers = Watch(device), ready.guard(), Buffers(objective)
    kept: dict[str, resume.Kept] = {"model": objective, "optimizer": optimizer, "nonfinite": watch}
    kept |= {} if average is None else {"average": average}
    first = saved = resume.restore(run, kept, place)
    ranks.from_first(lambda: resume.begin(run, first, place), "begin")
    if first == 0:
        ranks.from_first(partial(resume.save, run, config.save, 0, objective, kept), "save the run")

    began, pace = time.perf_counter(), Pace(config.data.batch, first)
    for step, parts in enumerate(ahead(ready.read, range(first, config.steps)), first):
        lr = config.rate(step)
        optimizer.zero_grad(set_to_none=True)
        buffers.keep()
        averages = gradients(network, partial(ready.forward, network, step), parts)
        norm = clipped(objective, config.optim.clip)

        # Whether the loss or a gradient is not finite is found, and the step left out, on the device itself ...
        bad_loss, bad_norm = ranks.any(torch.stack([~averages["loss"].isfinite(), ~norm.isfinite()]))
        watch.note(step, bad_loss, bad_loss | bad_norm)
        update(optimizer, lr, bad_loss | bad_norm)
        buffers.undo(bad_loss | bad_norm)
        if average is not None:
            average.update(objective)

        # ... and read only where the device is waited for anyway.
        done = step + 1
        stop = done == config.steps
        due, save = stop or done % config.log_every == 0, stop or config.save.due(done)
        if due or save or device.type == "cpu":
            guard.tell(watch, saved)
        numbers: dict[str, float] = {}
        if due:
            values = {name: ranks.mean(value) for name, value in averages.items()}
            numbers = {**read_numbers({**values, "grad_norm": norm}), "lr": lr, "images_per_second": pace(done)}
            numbers |= {"skipped": watch.total} if watch.total else {}
        if ready.tests is not None and ranks.first and (stop or done % config.eval.every == 0):
            numbers |= evaluate(objective, ready.tests, config, device, average)
        if numbers:
            ready.telemetry.write(done, numbers)
        if on_step is not None and ranks.first:
            state = State(step=done, steps=config.steps, model=objective.encoder, loss=averages["loss"], lr=lr, run=run)
            stop = on_step(state) is True or stop
        stop = signals.agreed(received, stop, ranks)
        if save or stop:
            guard.tell(watch, saved)
            guard.refuse_broken(objective, step, saved)
            ranks.from_first(partial(resume.save, run, config.save, done, objective, kept), "save the run")
            saved = done
            if ready.tests is not None and ranks.first:  # of the log, which going on from a checkpoint cuts to it
                run.update(best=best(read_lines(run.log)))
        if stop:
            _say_stopped(ready, done, time.perf_counter() - began)
            return


def _say_stopped(ready: Prepared, step: int, seconds: float) -> None:
    status = "finished" if step == ready.config.steps else "interrupted"
    facts = {"step": step, "stopped": now(), "seconds": round(seconds, 1)}
    ready.place.ranks.from_first(lambda: ready.run.update(status=status, **facts), "say that it stopped")


def try_out(config: Config) -> None:
    """One forward without values, before anything is read or written: what does not fit is refused here."""
    if config.data.randaugment:
        require_torchvision()
    rehearsed = resolve(config, images=config.data.batch, classes=config.model.classes or 2)
    with torch.device("meta"), torch.no_grad():
        objective = build(rehearsed.model, rehearsed.objective, config.seed).eval()
        _scales(rehearsed, objective)
        black = torch.zeros(1, 3, config.data.size, config.data.size, dtype=torch.uint8)
        zero = torch.zeros(1, dtype=torch.long)
        drawn = draws.Draws(seed=config.seed, step=0, index=zero)
        objective(normalise(black, config.data.mean, config.data.std), zero, generator=drawn)


def _begun(run: Run, config: Resolved) -> Objective:
    """As it begins; what it starts from is not needed any longer once there is a whole checkpoint."""
    if config.init_from is None or not run.checkpoints():
        return initial(config)
    return build(config.model, config.objective, config.seed)


def _scales(config: Resolved, objective: Objective) -> Scale | None:
    if config.optim.layer_decay == 1:
        return None
    return layer_scales(objective.encoder.depths, config.optim.layer_decay, config.optim.layers)


def _opened(config: Config, place: Place) -> Images:
    """The images; raises ValueError where another rank has others."""
    ranks = place.ranks
    images = ranks.attempt(lambda: open_images(config.data.uri, "train", config.data.size), "open the images")
    if ranks.world > 1 and len(found := set(ranks.told(images.fingerprint()))) > 1:
        raise ValueError(f"the ranks see {len(found)} different sets of images at {config.data.uri}; copy one to all")
    return images


def _tests(config: Config) -> Images:
    try:
        return open_images(config.data.uri, "test", config.data.size)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error}; or train without evaluation: eval.every = 0") from None


def _admitted(ready: Prepared, leaving: ExitStack) -> bool:
    """Lock the run's folder until all is left; whether the run in it is already finished."""
    leaving.enter_context(ready.run.locked())
    return admit(ready.run, ready.config, ready.images)
