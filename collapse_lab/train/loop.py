"""The training loop. A run is a function of its configuration and its data; resuming needs the step alone."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from collapse_lab import draws
from collapse_lab.data.randaugment import require_torchvision
from collapse_lab.data.source import Images, normalise, open_images
from collapse_lab.objectives.outcome import Objective, Outcome
from collapse_lab.runs import Run, environment, now, read_lines
from collapse_lab.train import log, signals
from collapse_lab.train.admit import admit
from collapse_lab.train.ahead import ahead
from collapse_lab.train.average import Average
from collapse_lab.train.build import build
from collapse_lab.train.checkpoint import newest_checkpoint, prune_checkpoints, save_checkpoint, sweep_parts
from collapse_lab.train.config import Config
from collapse_lab.train.evaluate import best, evaluate
from collapse_lab.train.layers import layer_scales
from collapse_lab.train.load import initial
from collapse_lab.train.optim import Scale, adamw, set_learning_rate
from collapse_lab.train.order import step_indices
from collapse_lab.train.pixels import pixels_of
from collapse_lab.train.resolve import Resolved, require_labels, resolve


@dataclass(frozen=True, kw_only=True)
class State:
    """What a caller sees after each step: `model` is the encoder; `loss` a tensor, reading it waits for the device."""

    step: int
    steps: int
    model: nn.Module
    loss: Tensor
    run: Run


OnStep = Callable[[State], object]


def train(config: Config, on_step: OnStep | None = None) -> Path:
    """Train, or go on with, the run in `config.out`; returns its folder.

    `on_step` is called after every step; when it returns True the run is saved and stopped. A finished run returns at
    once. SIGINT and SIGTERM finish the step, save, and then raise KeyboardInterrupt or SystemExit(143). Whatever
    stops a run, the same call goes on from its newest checkpoint. What the configuration leaves open (see `resolve`)
    is settled once the images are known, and written so. Raises ValueError for settings that do not fit or
    a folder of another configuration, LookupError for unknown names, RuntimeError when another process has the
    folder, OSError when it cannot be written, FloatingPointError for a non-finite loss.
    """
    run = Run(Path(config.out))
    _rehearse(config)
    images = open_images(config.data.uri, "train", config.data.size)
    tests = open_images(config.data.uri, "test", config.data.size) if config.eval.every else None
    resolved = resolve(config, images=len(images), classes=len(images.classes))
    require_labels(resolved, images, tests)
    objective = _begun(run, resolved)
    with run.locked():
        if admit(run, resolved, images):
            return run.path
        with signals.noted() as received, _threads(config.threads), _recorded(run):
            _descend(run, resolved, images, tests, objective, on_step, received)
    signals.obey(received)
    return run.path


def _descend(
    run: Run,
    config: Resolved,
    images: Images,
    tests: Images | None,
    objective: Objective,
    on_step: OnStep | None,
    received: list[int],
) -> None:
    device = _device(config.device)
    objective.to(device).train()
    scales = _scales(config, objective)
    optimizer = adamw(objective, config.optim.lr, config.optim.betas, config.optim.weight_decay, scales)
    average = Average(objective, config.optim.ema) if config.optim.ema else None
    kept = {"model": objective, "optimizer": optimizer, **({"average": average} if average else {})}
    first = saved = _restore(run, kept)
    _begin(run, first, device)
    if first == 0:
        _save(run, config, 0, objective, kept)

    began = time.perf_counter()
    bad = torch.full((), -1, device=device)  # the first step whose loss was not finite
    places = (step_indices(config.seed, step, config.data.batch, len(images)) for step in range(first, config.steps))
    read = images.pinned if device.type == "cuda" else images.stored
    for step, batch in enumerate(ahead(read, places), first):
        # The batch, and the random numbers of its samples, are functions of (seed, step).
        lr = config.rate(step)
        index = torch.arange(config.data.batch, device=device)
        drawn = draws.Draws(seed=config.seed, step=step, index=index)
        pixels = pixels_of(batch.image.to(device, non_blocking=True), drawn, config.data)
        outcome: Outcome = objective(pixels, batch.label.to(device), generator=drawn)

        # A non-finite loss is remembered on the device and read where the device is waited for anyway.
        done = step + 1
        stop = done == config.steps
        due = stop or done % config.log_every == 0
        save = stop or done % config.save.every == 0 or done in config.save.at
        bad = torch.where((bad < 0) & ~outcome.loss.isfinite(), step, bad)
        if (due or save or device.type == "cpu") and (at := int(bad)) >= 0:
            raise _diverged(f"the loss of step {at} is", at, saved, run, config)

        set_learning_rate(optimizer, lr)
        optimizer.zero_grad(set_to_none=True)
        outcome.loss.backward()
        optimizer.step()
        if average is not None:
            average.update(objective)

        numbers: dict[str, float] = {}
        if due:
            speed = config.data.batch * (done - first) / (time.perf_counter() - began)
            values = {name: value.item() for name, value in {"loss": outcome.loss, **outcome.metrics}.items()}
            numbers = {**values, "lr": lr, "images_per_second": round(speed, 1)}
        if tests is not None and (stop or done % config.eval.every == 0):
            numbers |= evaluate(objective, tests, config, device, average)
        if numbers:
            log.append(run.log, {"step": done, **numbers})
        if on_step is not None:
            state = State(step=done, steps=config.steps, model=objective.encoder, loss=outcome.loss.detach(), run=run)
            stop = on_step(state) is True or stop
        stop = stop or bool(received)
        if save or stop:
            if not _finite(objective):
                raise _diverged(f"the weights after step {step} are", step, saved, run, config)
            _save(run, config, done, objective, kept)
            saved = done
            if tests is not None:  # of the log, which going on from a checkpoint cuts to it
                run.update(best=best(read_lines(run.log)))
        if stop:
            status = "finished" if done == config.steps else "interrupted"
            run.update(status=status, step=done, stopped=now(), seconds=round(time.perf_counter() - began, 1))
            return


def _rehearse(config: Config) -> None:
    """One forward without values, before anything is read or written: what does not fit is refused here."""
    _device(config.device)
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
    if config.init_from is None or newest_checkpoint(run) is None:
        return initial(config)
    return build(config.model, config.objective, config.seed)


def _scales(config: Resolved, objective: Objective) -> Scale | None:
    if config.optim.layer_decay == 1:
        return None
    return layer_scales(objective.encoder.architecture["depths"], config.optim.layer_decay, config.optim.layers)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _recorded(run: Run) -> Iterator[None]:
    """Whatever ends the run early is written into run.json before it goes on its way."""
    try:
        yield
    except BaseException as error:
        status = "failed" if isinstance(error, Exception) else "interrupted"
        with suppress(OSError):  # the disk may be the very reason
            run.update(status=status, error=f"{type(error).__name__}: {error}", stopped=now())
        raise


def _restore(run: Run, kept: Mapping[str, Any]) -> int:
    """Load the newest whole checkpoint, if there is one; the step it stands at."""
    sweep_parts(run)
    payload = newest_checkpoint(run)
    if payload is None:
        return 0
    for name, part in kept.items():
        part.load_state_dict(payload[name])
    log.cut(run.log, payload["step"])
    return int(payload["step"])


def _begin(run: Run, first: int, device: torch.device) -> None:
    """Say where the run goes on, and what makes it differ from one that was never stopped."""
    record, threads = run.read(), torch.get_num_threads()
    recorded = record.get("threads", threads)
    if recorded != threads:
        note = f"{run.path} began with {recorded} threads; with {threads} it will not be bit-equal to an unbroken run"
        warnings.warn(note, stacklevel=5)
    if record["status"] == "failed":
        warnings.warn(f"{run.path} had failed ({record.get('error')}); it goes on from step {first}", stacklevel=5)
    facts = environment()
    run.update(status="running", error=None, device=str(device), threads=recorded, step=first, **facts)


def _save(run: Run, config: Config, step: int, objective: Objective, kept: Mapping[str, Any]) -> None:
    states = {name: part.state_dict() for name, part in kept.items()}
    save_checkpoint(run, step, {"step": step, "architecture": objective.encoder.architecture, **states})
    prune_checkpoints(run, step, config.save.keep, config.save.at)


def _finite(module: nn.Module) -> bool:
    """So that no checkpoint ever holds a NaN, and every one can be gone on from."""
    return all(bool(value.isfinite().all()) for value in module.state_dict().values())


def _diverged(what: str, step: int, saved: int, run: Run, config: Resolved) -> FloatingPointError:
    lr = config.rate(step)
    return FloatingPointError(
        f"{what} not finite (learning rate {lr:.3g}); the last good checkpoint is {run.checkpoint(saved)}; "
        f"lower optim.lr or lengthen optim.warmup, in a new run"
    )


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.partition(":")[0] not in ("cpu", "cuda") or (name != "cpu" and not torch.cuda.is_available()):
        raise ValueError(f"device {name!r} cannot be used here; use 'auto', 'cpu', or 'cuda' where there is a GPU")
    return torch.device(name)
