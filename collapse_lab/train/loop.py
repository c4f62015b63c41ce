"""The training loop. A run is a function of its configuration and its data; resuming needs the step alone."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from collapse_lab import draws
from collapse_lab.data.source import Images, normalise, open_images
from collapse_lab.models.convnext import build_model
from collapse_lab.objectives.outcome import Outcome
from collapse_lab.objectives.table import OBJECTIVES
from collapse_lab.runs import Run, environment, now, write_text
from collapse_lab.train import log
from collapse_lab.train.checkpoint import newest_checkpoint, prune_checkpoints, save_checkpoint
from collapse_lab.train.config import Config, ModelConfig, ObjectiveConfig, to_toml
from collapse_lab.train.optim import adamw, learning_rate
from collapse_lab.train.order import step_indices


@dataclass(frozen=True, kw_only=True)
class State:
    """What a caller sees after each step. `model` is the encoder; `loss` is a tensor, reading it waits for the device."""

    step: int
    model: nn.Module
    loss: Tensor
    run: Run


OnStep = Callable[[State], object]


def build(model: ModelConfig, objective: ObjectiveConfig, seed: int) -> nn.Module:
    """The encoder inside its objective, with the initial values of `seed`."""
    settings = model.model_dump()
    settings["layer_scale"] = None if model.layer_scale == "none" else model.layer_scale
    encoder = build_model(**settings, seed=seed)
    options = objective.model_dump(exclude={"name"})
    return OBJECTIVES[objective.name](encoder, **options, seed=seed)


def train(config: Config, on_step: OnStep | None = None) -> Path:
    """Train, or go on with, the run in `config.out`; returns its folder.

    `on_step` is called after every step; when it returns True the run is saved and stopped. A finished run returns at
    once. Raises ValueError for a folder that holds another configuration, RuntimeError when another process has it,
    FloatingPointError for a non-finite loss.
    """
    run = Run(Path(config.out))
    images = open_images(config.data.uri, "train", config.data.size)
    objective = build(config.model, config.objective, config.seed)
    with run.locked():
        if _admit(run, config, images):
            return run.path
        threads = torch.get_num_threads()
        torch.set_num_threads(config.threads or threads)
        try:
            _descend(run, config, images, objective, on_step)
        finally:
            torch.set_num_threads(threads)
    return run.path


def _descend(run: Run, config: Config, images: Images, objective: nn.Module, on_step: OnStep | None) -> None:
    device = _device(config.device)
    objective.to(device).train()
    optimizer = adamw(objective, config.optim.lr, config.optim.betas, config.optim.weight_decay)
    first = _restore(run, objective, optimizer)
    run.update(status="running", device=str(device), threads=torch.get_num_threads(), step=first, **environment())
    if first == 0:
        _save(run, config, 0, objective, optimizer)

    began, unread, saved = time.perf_counter(), -1 * torch.ones((), dtype=torch.long, device=device), first
    for step in range(first, config.steps):
        # The batch, and the random numbers of its samples, are functions of (seed, step).
        lr = learning_rate(step, config.steps, config.optim.warmup, config.optim.lr)
        batch = images.batch(step_indices(config.seed, step, config.data.batch, len(images)))
        pixels = normalise(batch.image.to(device, non_blocking=True), config.data.mean, config.data.std)
        index = torch.arange(config.data.batch, device=device)
        outcome: Outcome = objective(
            pixels, batch.label.to(device), generator=draws.Draws(seed=config.seed, step=step, index=index)
        )

        # A non-finite loss is remembered on the device and read where the step is read anyway.
        unread = torch.where((unread < 0) & ~outcome.loss.isfinite(), step, unread)
        done = step + 1
        stop = done == config.steps
        due = stop or done % config.log_every == 0
        save = stop or done % config.save.every == 0 or done in config.save.at
        if due or save or device.type == "cpu":
            _stop_if_non_finite(int(unread), lr, saved, run)

        for group in optimizer.param_groups:
            group["lr"] = lr
        optimizer.zero_grad(set_to_none=True)
        outcome.loss.backward()
        optimizer.step()

        if due:
            values = {name: value.item() for name, value in outcome.metrics.items()}
            seconds = time.perf_counter() - began
            speed = config.data.batch * (done - first) / seconds
            log.append(run.log, {"step": done, "loss": outcome.loss.item(), **values, "lr": lr, "images_per_second": round(speed, 1)})
        if on_step is not None:
            stop = on_step(State(step=done, model=objective.encoder, loss=outcome.loss.detach(), run=run)) is True or stop
        if save or stop:
            _save(run, config, done, objective, optimizer)
            saved = done
        if stop:
            status = "finished" if done == config.steps else "interrupted"
            run.update(status=status, step=done, stopped=now(), seconds=round(time.perf_counter() - began, 1))
            return


def _admit(run: Run, config: Config, images: Images) -> bool:
    """Open the folder for this run, or refuse it; True when the run in it is already finished."""
    record = run.read() if run.exists() else None
    if record is None:
        write_text(run.config, to_toml(config.model_dump(mode="json", exclude={"out"})))
        data = {"name": images.name, "images": len(images), "fingerprint": images.fingerprint(), "skipped": list(images.skipped)}
        run.update(status="created", config=config.identity(), seed=config.seed, steps=config.steps, data=data, created=now())
        return False
    differences = list(_differences(record["config"], config.identity()))
    if record["data"]["fingerprint"] != images.fingerprint():
        differences.append(f"data: fingerprint {record['data']['fingerprint']} there, {images.fingerprint()} now")
    if differences:
        raise ValueError(f"{run.path} holds a run of another configuration ({'; '.join(differences)}); use another --out or delete it")
    if config.threads and record.get("threads", config.threads) != config.threads:
        warnings.warn(f"{run.path} began with {record['threads']} threads; with {config.threads} it will not be bit-equal", stacklevel=3)
    return bool(record["status"] == "finished")


def _differences(there: dict[str, Any], here: dict[str, Any], path: str = "") -> list[str]:
    found = []
    for name in sorted(set(there) | set(here)):
        old, new = there.get(name), here.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            found += _differences(old, new, f"{path}{name}.")
        elif old != new:
            found.append(f"{path}{name} = {old!r} there, {new!r} here")
    return found


def _restore(run: Run, objective: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Load the newest whole checkpoint, if there is one; the step it stands at."""
    payload = newest_checkpoint(run)
    if payload is None:
        return 0
    objective.load_state_dict(payload["model"])
    optimizer.load_state_dict(payload["optimizer"])
    log.cut(run.log, payload["step"])
    return int(payload["step"])


def _save(run: Run, config: Config, step: int, objective: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    encoder = objective.encoder
    payload = {
        "step": step,
        "architecture": encoder.architecture,
        "model": objective.state_dict(),
        "optimizer": optimizer.state_dict(),
    }
    save_checkpoint(run, step, payload)
    prune_checkpoints(run, config.save.keep, config.save.at)


def _stop_if_non_finite(step: int, lr: float, saved: int, run: Run) -> None:
    if step >= 0:
        run.update(status="failed", error=f"non-finite loss at step {step}")
        raise FloatingPointError(
            f"the loss of step {step} is not finite (learning rate {lr:.3g}); the last good checkpoint is {run.checkpoint(saved)}; "
            f"lower optim.lr or lengthen optim.warmup"
        )


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)
