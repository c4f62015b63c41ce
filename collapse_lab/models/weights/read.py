"""Weights of any known layout as a network of ours: read, translated, held against an architecture, assembled."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from collapse_lab.models.build import family_of
from collapse_lab.models.encoder import Encoder
from collapse_lab.models.weights.assemble import assemble, on_meta
from collapse_lab.models.weights.fit import require_fit, shown
from collapse_lab.models.weights.infer import architecture_of
from collapse_lab.models.weights.layouts import OURS
from collapse_lab.models.weights.stored import read_tensors
from collapse_lab.models.weights.translate import translate


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A network, where it came from, in which layout, and the names of what was no part of an encoder."""

    model: Encoder
    source: str
    layout: str
    left_out: tuple[str, ...]


def read_weights(path: Path, *, response: str | None = None, classes: int | None = None) -> Loaded:
    """The network in one file of weights; see `weights_of`, and `read_tensors` for what a file may be."""
    stored = read_tensors(path)
    return weights_of(stored.tensors, stored.architecture, str(path), response=response, classes=classes)


def weights_of(
    stored: Mapping[str, Tensor],
    architecture: Mapping[str, Any] | None,
    source: str,
    *,
    response: str | None = None,
    classes: int | None = None,
) -> Loaded:
    """The network of named tensors in any known layout, V1 or V2; its architecture is inferred where none is given.

    A ViT is read in our own layout, with its architecture: no tensor tells how many heads there are.
    `response` and `classes` as in `assemble`. Half precision is widened to float32, exactly, with a warning; of
    tensors of several types all become the widest of them. Raises ValueError for tensors that are no ConvNeXt, that
    are missing, unexpected or mis-shaped (all listed), or that hold NaN or infinity (named).
    """
    found = translate(stored, source)
    # What others write under this word says nothing of a network of ours.
    ours = architecture if architecture is not None and found.layout is OURS else None
    settings = _settings(_inferred(found.tensors, source) if ours is None else ours, len(stored), source)
    require_fit(found, settings, source)
    tensors = _of_one_type(found.tensors, source)
    _require_finite(tensors, found.known_as, source)
    return Loaded(
        model=assemble(tensors, settings, source, response=response, classes=classes),
        source=source,
        layout="minkowski" if found.sparse else found.layout.name,
        left_out=found.left_out,
    )


def _inferred(tensors: Mapping[str, Tensor], source: str) -> dict[str, Any]:
    if "cls_token" in tensors:
        raise ValueError(
            f"{source} holds a ViT without its architecture, and no tensor tells how many heads it has; give the run "
            f"that trained it, or what 'collapse-lab convert RUN FILE --to ours' writes"
        )
    try:
        return architecture_of(tensors)
    except ValueError as error:
        raise ValueError(f"{source} holds no whole ConvNeXt: {str(error).splitlines()[0]}") from None


def _settings(architecture: Mapping[str, Any], tensors: int, source: str) -> dict[str, Any]:
    """The settings of a network that these build; JSON made lists of tuples. Raises ValueError for what builds none."""
    try:
        settings: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in architecture.items()
        }
        of_vit = "patch" in settings
        depths = (settings["depth"],) if of_vit else settings["depths"]
        if max(depths) > tensors:  # a number in a file must not keep us building for hours
            raise ValueError(f"a stage of {max(depths)} blocks cannot be made of {tensors} tensors")
        if not of_vit and min((settings["stem"], settings["in_channels"], *settings["dims"])) < 1:
            raise ValueError("stem, in_channels and dims are 1 or more")
        return on_meta(settings).architecture
    except KeyError as error:
        raise ValueError(f"the architecture of {source} lacks {error}") from None
    except (TypeError, AttributeError, ValueError, LookupError, RuntimeError) as error:
        raise ValueError(
            f"the architecture of {source} builds no {family_of(architecture).__name__}: {str(error).splitlines()[0]}"
        ) from None


def _require_finite(tensors: Mapping[str, Tensor], known_as: Mapping[str, str], source: str) -> None:
    broken = [known_as[name] for name, value in tensors.items() if not value.isfinite().all()]
    if broken:
        raise ValueError(
            f"{source} holds NaN or infinity in {len(broken)} of {len(tensors)} tensors: {shown(broken)}; "
            f"take weights from before it diverged"
        )


def _of_one_type(tensors: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """All floating tensors in float32, or in float64 where one of them is: no value changes."""
    types = {value.dtype for value in tensors.values() if value.is_floating_point()}
    wide = torch.float64 if torch.float64 in types else torch.float32
    narrow = sorted(str(dtype).removeprefix("torch.") for dtype in types - {wide})
    if narrow:
        what = str(wide).removeprefix("torch.")
        warnings.warn(f"{source} holds {', '.join(narrow)} weights: widened to {what}, exactly", stacklevel=4)
    return {name: value.to(wide) if value.is_floating_point() else value for name, value in tensors.items()}
