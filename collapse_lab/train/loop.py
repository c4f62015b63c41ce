"""The training loop. A run is a function of its configuration and its data; resuming needs the step alone."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from collapse_lab import draws
from collapse_lab.data.source import Images, normalise, open_images
from collapse_lab.models.convnext import build_model
from collapse_lab.objectives.outcome import Objective, Outcome
from collapse_lab.objectives.table import OBJECTIVES
from collapse_lab.runs import Run, environment, now
from collapse_lab.train import log, signals
from collapse_lab.train.admit import admit
from collapse_lab.train.ahead import ahead
from collapse_lab.train.checkpoint import newest_checkpoint, prune_checkpoints, save_checkpoint, sweep_parts
from collapse_lab.train.config import Config, ModelConfig, ObjectiveConfig
from collapse_lab.train.optim import adamw, learning_rate
from collapse_lab.train.order import step_indices
from collapse_lab.train.pixels import pixels_of


@dataclass(frozen=True, kw_only=True)
class State:
    """What a caller sees after each step: `model` is the encoder; `loss` a tensor, reading it waits for the device."""

    step: int
    model: nn.Module
    loss: Tensor
    run: Run


OnStep = Callable[[State], object]


def build(model: ModelConfig, objective: ObjectiveConfig, seed: int) -> Objective:
    """The encoder inside its objective, with the initial values of `seed`."""
    settings = model.model_dump()
    settings["layer_scale"] = None if model.layer_scale == "none" else model.layer_scale
    encoder = build_model(**settings, seed=seed)
    options = objective.model_dump(exclude={"name"})
    return OBJECTIVES[objective.name](encoder, **options, seed=seed)


def train(config: Config, on_step: OnStep | None = None) -> Path:
    """Train, or go on with, the run in `config.out`; returns its folder.

    `on_step` is called after every step; when it returns True the run is saved and stopped. A finished run returns at
    once. SIGINT and SIGTERM finish the step, save, and then raise KeyboardInterrupt or SystemExit(143). Whatever
    stops a run, the same call goes on from its newest checkpoint. Raises ValueError for settings that do not fit or
    a folder of another configuration, LookupError for unknown names, RuntimeError when another process has the
    folder, OSError when it cannot be written, FloatingPointError for a non-finite loss.
    """
    run = Run(Path(config.out))
    objective = build(config.model, config.objective, config.seed)
    _rehearse(objective, config)
    images = open_images(config.data.uri, "train", config.data.size)
    with run.locked():
        if admit(run, config, images):
            return run.path
        with signals.noted() as received, _threads(config.threads), _recorded(run):
            _descend(run, config, images, objective, on_step, received)
    signals.obey(received)
    return run.path


def _descend(
    run: Run, config: Config, images: Images, objective: Objective, on_step: OnStep | None, received: list[int]
) -> None:
    device = _device(config.device)
    objective.to(device).train()
    optimizer = adamw(objective, config.optim.lr, config.optim.betas, config.optim.weight_decay)
    first = saved = _restore(run, objective, optimizer)
    _begin(run, first, device)
    if first == 0:
        _save(run, config, 0, objective, optimizer)

    began = time.perf_counter()
    bad = torch.full((), -1, device=device)  # the first step whose loss was not finite
    places = (step_indices(config.seed, step, config.data.batch, len(images)) for step in range(first, config.steps))
    read = images.pinned if device.type == "cuda" else images.stored
    for step, batch in enumerate(ahead(read, places), first):
        # The batch, and the random numbers of its samples, are functions of (seed, step).
        lr = learning_rate(step, config.steps, config.optim.warmup, config.optim.lr)
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

        for group in optimizer.param_groups:
            group["lr"] = lr
        optimizer.zero_grad(set_to_none=True)
        outcome.loss.backward()
        optimizer.step()

        if due:
            speed = config.data.batch * (done - first) / (time.perf_counter() - began)
            values = {name: value.item() for name, value in {"loss": outcome.loss, **outcome.metrics}.items()}
            log.append(run.log, {"step": done, **values, "lr": lr, "images_per_second": round(speed, 1)})
        if on_step is not None:
            state = State(step=done, model=objective.encoder, loss=outcome.loss.detach(), run=run)
            stop = on_step(state) is True or stop
        stop = stop or bool(received)
        if save or stop:
            if not _finite(objective):
                raise _diverged(f"the weights after step {step} are", step, saved, run, config)
            _save(run, config, done, objective, optimizer)
            saved = done
        if stop:
            status = "finished" if done == config.steps else "interrupted"
            run.update(status=status, step=done, stopped=now(), seconds=round(time.perf_counter() - began, 1))
            return


def _rehearse(objective: Objective, config: Config) -> None:
    """One forward on a black image, before anything is read or written: what does not fit is refused here."""
    black = torch.zeros(1, 3, config.data.size, config.data.size, dtype=torch.uint8)
    drawn = draws.Draws(seed=config.seed, step=0, index=torch.zeros(1, dtype=torch.long))
    with torch.no_grad():
        objective.eval()(normalise(black, config.data.mean, config.data.std), generator=drawn)
    _device(config.device)


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


def _restore(run: Run, objective: Objective, optimizer: torch.optim.Optimizer) -> int:
    """Load the newest whole checkpoint, if there is one; the step it stands at."""
    sweep_parts(run)
    payload = newest_checkpoint(run)
    if payload is None:
        return 0
    objective.load_state_dict(payload["model"])
    optimizer.load_state_dict(payload["optimizer"])
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


def _save(run: Run, config: Config, step: int, objective: Objective, optimizer: torch.optim.Optimizer) -> None:
    payload = {
        "step": step,
        "architecture": objective.encoder.architecture,
        "model": objective.state_dict(),
        "optimizer": optimizer.state_dict(),
    }
    save_checkpoint(run, step, payload)
    prune_checkpoints(run, step, config.save.keep, config.save.at)


def _finite(module: nn.Module) -> bool:
    """So that no checkpoint ever holds a NaN, and every one can be gone on from."""
    return all(bool(value.isfinite().all()) for value in module.state_dict().values())


def _diverged(what: str, step: int, saved: int, run: Run, config: Config) -> FloatingPointError:
    lr = learning_rate(step, config.steps, config.optim.warmup, config.optim.lr)
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
