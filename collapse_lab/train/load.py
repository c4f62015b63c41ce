"""One way to a network, whatever holds it: a run, a checkpoint of one, or weights from anywhere."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from collapse_lab.models.encoder import Encoder
from collapse_lab.models.foreign import Opened, is_foreign, open_foreign
from collapse_lab.models.weights.fetch import fetch
from collapse_lab.models.weights.read import Loaded, read_weights, weights_of
from collapse_lab.objectives.outcome import Objective
from collapse_lab.runs import Run
from collapse_lab.train.build import build
from collapse_lab.train.checkpoint import checkpoint_of, is_checkpoint, load_checkpoint
from collapse_lab.train.config import Config, load_config
from collapse_lab.train.start import start_from


def load_model(
    uri: str | Path, *, response: str | None = None, classes: int | None = None, averaged: bool = False
) -> nn.Module:
    """The network at an address, in eval mode: one of ours, float64 where the file is, else float32, or another.

    Ours: `uri` is a run's folder (its newest whole checkpoint) or one of its checkpoints, of which the encoder is
    taken; a file of weights (safetensors or torch; ours, official dense or sparse, timm, transformers; V1 or V2); a
    folder that transformers wrote; `hf:REPO`, `timm:NAME` or `https://...`, which are fetched into a cache.
    Architectures are inferred from the tensors, so any depths and widths load; of a ViT the file must say it, as a run
    and what `convert --to ours` writes do. Nothing in a file is executed.

    Others, for looking at, see `open_foreign`: `hf:REPO` and `timm:NAME` of any other kind through transformers and
    timm, where these are installed; `hub:OWNER/REPO:ENTRY`, `hub:FOLDER:ENTRY` and `py:package.module:function`, which
    execute the code that they name. `response` and `classes` are refused for them.

    `response`: None as it is there; a name of RESPONSES switches: parameters it lacks are dropped, new ones start as
    in `build_model`. `classes`: None as it is there; 0 drops the head and keeps the final norm; another number than
    the file's starts a fresh head (seed 0), with a warning. `averaged`: of a run, its weights as they were trained, or,
    where True, their running average (see optim.ema).

    Raises FileNotFoundError for nothing there or a run without a whole checkpoint; ValueError for a torn, unsafe or
    foreign file, tensors that do not fit (all listed) or are not finite; LookupError for an unknown scheme or response;
    ImportError and ConnectionError for what cannot be fetched.
    """
    if is_foreign(str(uri)):
        if response is not None or classes is not None or averaged:
            raise ValueError(
                f"response, classes and averaged switch parts of a network of ours, {uri} is another; leave them out"
            )
        return open_foreign(str(uri)).model
    return load(uri, response=response, classes=classes, averaged=averaged).model


def open_model(uri: str) -> Opened:
    """`load_model`, with what the model's own configuration says of the images it takes."""
    return open_foreign(uri) if is_foreign(uri) else Opened(model=load(uri).model, source=uri)


def load(uri: str | Path, *, response: str | None = None, classes: int | None = None, averaged: bool = False) -> Loaded:
    """`load_model` of a network of ours, with what is to be said of where it came from."""
    if classes is not None and classes < 0:
        raise ValueError(f"classes is a number of classes, 0 = no head, or None = as in the file, got {classes}")
    path = Path(uri)
    if Run(path).exists():
        return _encoder(checkpoint_of(Run(path)), path, response, classes, averaged)
    if is_checkpoint(path):
        return _encoder(load_checkpoint(path), path, response, classes, averaged)
    if averaged:
        raise ValueError(f"{uri} is no run and no checkpoint of one: it holds no running average; leave averaged out")
    return read_weights(fetch(str(uri)), response=response, classes=classes)


def load_step(run: Run, step: int, *, averaged: bool = False) -> Encoder:
    """The encoder as it was after `step` steps, in eval mode; raises FileNotFoundError with the steps there are.

    Step 0 needs no checkpoint: the initial values are a function of the seed, or those of what the run starts from.
    """
    if step == 0 and step not in run.checkpoints():
        return initial(load_config(run.config)).encoder.eval()
    return _encoder(checkpoint_of(run, step), run.checkpoint(step), averaged=averaged).model


def initial(config: Config) -> Objective:
    """The objective as a run of this configuration begins: drawn from its seed, the encoder from `init_from`."""
    objective = build(config.model, config.objective, config.seed)
    if config.init_from is not None:
        start_from(objective.encoder, load(config.init_from))
    return objective


def _encoder(
    payload: dict[str, Any],
    path: Path,
    response: str | None = None,
    classes: int | None = None,
    averaged: bool = False,
) -> Loaded:
    """The encoder of what was trained, in the recorded architecture."""
    if not {"architecture", "model"} <= set(payload):
        raise ValueError(
            f"{path} is not a checkpoint of a run: it has {sorted(payload)}, expected architecture and model"
        )
    if averaged and "average" not in payload:
        raise ValueError(f"{path} keeps no running average of its weights; train with optim.ema, or leave averaged out")
    weights = payload["average"] if averaged else payload["model"]
    inside = {name: value for name, value in weights.items() if name.startswith("encoder.")}
    loaded = weights_of(inside, payload["architecture"], str(path), response=response, classes=classes)
    return replace(loaded, left_out=tuple(name for name in weights if name not in inside))
