"""What a configuration leaves open until the images are known: steps from epochs, the head's classes, the peak."""

from __future__ import annotations

import math
from typing import Any

from pydantic import ValidationError

from collapse_lab.data.source import Images
from collapse_lab.train.config import Config, OptimConfig
from collapse_lab.train.methods import ColorizationConfig
from collapse_lab.train.optim import learning_rate


class ResolvedOptim(OptimConfig):
    """With a peak and a warm-up in numbers."""

    lr: float
    warmup: int


class Resolved(Config):
    """A configuration in which every number is known: what is trained, and what config.toml holds."""

    steps: int
    optim: ResolvedOptim

    def rate(self, step: int) -> float:
        """The learning rate of the step with this number, from 0, at scale 1."""
        return learning_rate(step, self.steps, self.optim.warmup, self.optim.lr, self.optim.min_lr)


def resolve(config: Config, *, images: int, classes: int) -> Resolved:
    """The configuration for a data set of so many training images and classes.

    Epochs become the steps that show every image at least so often, a base rate the peak lr = base_lr x batch / 256
    (`data.batch` is that of all processes together), a head that does not say its classes gets those of the images,
    and colorization, which works on pixels in [0, 1], is told how they were normalised. Raises ValueError for a least
    rate above the peak, and for an objective that needs a head where the images have no classes, or has none.
    """
    per_epoch = images / config.data.batch
    optim, values = config.optim, config.model_dump()
    if config.epochs is not None:
        values |= {"steps": max(1, math.ceil(config.epochs * per_epoch)), "epochs": None}
    if optim.base_lr is not None:
        values["optim"] |= {"lr": optim.base_lr * config.data.batch / 256, "base_lr": None}
    if optim.warmup_epochs is not None:
        values["optim"] |= {"warmup": round(optim.warmup_epochs * per_epoch), "warmup_epochs": None}
    values["model"]["classes"] = _classes(config, classes)
    values["objective"] |= _normalisation(config)
    resolved = Resolved.model_validate(values)
    if resolved.optim.min_lr > resolved.optim.lr:
        least, peak = resolved.optim.min_lr, resolved.optim.lr
        raise ValueError(f"optim.min_lr = {least:g} lies above the peak {peak:g}; lower it")
    return resolved


def _normalisation(config: Config) -> dict[str, Any]:
    """What colorization needs of the data; raises ValueError where it was told another thing."""
    if not isinstance(config.objective, ColorizationConfig):
        return {}
    for name in ("mean", "std"):
        told, there = getattr(config.objective, name), getattr(config.data, name)
        if told not in (None, there):
            raise ValueError(f"objective.{name} = {told}, but the images have data.{name} = {there}; leave it out")
    return {"mean": config.data.mean, "std": config.data.std}


def require_labels(config: Resolved, *splits: Images | None) -> None:
    """Raise ValueError where the objective needs labels and an image has none, or one beyond the head's."""
    if config.objective.name != "supervised" or config.model.classes is None:
        return
    for images in splits:
        if images is None:
            continue
        none, above = int((images.label < 0).sum()), int((images.label >= config.model.classes).sum())
        if none or above:
            raise ValueError(
                f"the objective supervised needs a label from 0 to {config.model.classes - 1} for every image, but of "
                f"the {len(images)} of {images.name}, {images.split}, {none} have none and {above} a larger one"
            )


def as_recorded(config: Config, record: dict[str, Any]) -> Config:
    """The configuration resolved with what run.json says of the images; as it is where run.json does not."""
    try:
        data = record["data"]
        return resolve(config, images=data["images"], classes=data.get("classes", 0))
    except (KeyError, ValueError):
        return config


def completed(recorded: dict[str, Any]) -> dict[str, Any]:
    """A recorded identity with the keys that it is too old to know, at their defaults."""
    try:
        return Config.model_validate(recorded).identity()
    except (ValidationError, LookupError):  # a key or an objective that is no longer known
        return recorded


def _classes(config: Config, classes: int) -> int | None:
    own = config.model.classes
    if config.objective.name != "supervised":
        if own is not None:
            raise ValueError(
                f"model.classes = {own}: the objective {config.objective.name} trains no head; leave it out"
            )
        return None
    if own is None and not classes:
        raise ValueError(
            "the objective supervised needs labels, and these images have no classes; take "
            "images with labels, or an objective that needs none (fcmae, mae, rotation, colorization, simsiam, vicreg)"
        )
    if own is not None and own < classes:
        raise ValueError(f"model.classes = {own}, but the images have {classes} classes")
    return classes if own is None else own
