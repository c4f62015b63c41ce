"""A file of weights as named tensors. Nothing that stands in a file is ever executed."""

from __future__ import annotations

import contextlib
import json
import pickletools
import re
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

CONTAINERS = ("model", "state_dict", "model_ema", "state_dict_ema")
"""Where training code puts the weights in what it saves; the first that is there is taken."""


class Inert:
    """Stands in for a class that training code saves beside the weights: takes anything, does nothing."""

    def __init__(self, *_: object, **__: object) -> None: ...


# Official checkpoints hold their arguments, among them paths. Python 3.13 has moved the class of a path.
_INERT = [(Inert, name) for name in ("argparse.Namespace", "pathlib.PosixPath", "pathlib._local.PosixPath")]


@dataclass(frozen=True, kw_only=True)
class Stored:
    """Tensors under the file's own names; `architecture` where the file says it, unchecked."""

    tensors: dict[str, Tensor]
    architecture: dict[str, Any] | None


def read_tensors(path: Path) -> Stored:
    """Read a safetensors or torch file onto the CPU, told apart by content; memory-mapped where the format allows.

    Raises FileNotFoundError, and ValueError for a file that is torn, that is neither, or that holds other things than
    tensors where weights should be. Warns when a file holds more than one set of weights.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    with path.open("rb") as file:
        start = file.read(64)
    if not start:
        raise ValueError(f"{path} is empty; delete it and fetch or write it again")
    if start.startswith(b"version https://git-lfs"):
        raise ValueError(f"{path} is a pointer of Git LFS, not the weights; fetch them with 'git lfs pull'")
    return _safetensors(path) if start[8:9] == b"{" else _contents(_payload(path), path)


def _safetensors(path: Path) -> Stored:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            said = (file.metadata() or {}).get("architecture")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  no mapping
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"{path} is torn or no safetensors file ({error}); delete it and fetch or write it again"
        ) from None
    architecture = None
    with contextlib.suppress(ValueError, RecursionError):  # others write what they like under this word
        architecture = None if said is None else json.loads(said)
    return Stored(tensors=tensors, architecture=architecture if isinstance(architecture, dict) else None)


def _payload(path: Path) -> Any:
    """What torch.save wrote, of tensors and plain values alone."""
    mapped = zipfile.is_zipfile(path)  # torch.load cannot map the format before torch 1.6
    try:
        with torch.serialization.safe_globals([*_INERT]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of protocols and archives that are refused anyhow
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # bytes that are no pickle make its reader raise anything
        # torch's own message tells the reader to switch the protection off: it is never passed on.
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        calls = [named[1]] if named else [] if mapped else _calls_of(path)
        if calls:
            raise ValueError(
                f"{path} holds more than tensors: reading it would run {', '.join(calls[:3])}, so it is refused and "
                f"none of it was run; where you trust its maker, load it there and save model.state_dict() instead"
            ) from None
        if "TorchScript" in str(error):
            raise ValueError(f"{path} is a TorchScript program, not weights; save model.state_dict() instead") from None
        raise ValueError(
            f"{path} is torn, or neither safetensors nor of torch.save; delete it and fetch or write it again"
        ) from None


def _calls_of(path: Path) -> list[str]:
    """What a bare pickle names to be called, read without running it; nothing for bytes that are none."""
    names: list[str] = []
    texts: list[str] = []
    with path.open("rb") as file, contextlib.suppress(Exception):
        for code, argument, _ in pickletools.genops(file):
            if isinstance(argument, str):
                texts.append(argument)
            if code.name in ("GLOBAL", "INST"):
                names.append(str(argument).replace(" ", "."))
            elif code.name == "STACK_GLOBAL":
                names.append(".".join(texts[-2:]))
    return names


def _contents(payload: Any, path: Path) -> Stored:
    """The weights inside what training code saved."""
    if not isinstance(payload, dict):
        raise ValueError(f"{path} holds a {type(payload).__name__}; expected the tensors of a model by name")
    held = [name for name in CONTAINERS if isinstance(payload.get(name), dict)]
    if held[1:]:
        warnings.warn(f"{path} holds {', '.join(held)}: {held[0]} is taken, the others are left", stacklevel=2)
    weights = payload[held[0]] if held else payload
    strange = [f"{name} ({type(value).__name__})" for name, value in weights.items() if not _is_plain(value)]
    if strange:
        shown = ", ".join(strange[:5]) + (f" ... ({len(strange)} in all)" if len(strange) > 5 else "")
        raise ValueError(
            f"{path} holds what is no plain tensor where weights should be: {shown}; "
            f"expected tensors by name, alone or under one of {', '.join(CONTAINERS)}"
        )
    said = payload.get("architecture") if held else None
    tensors = {str(name): value.detach() for name, value in weights.items()}
    return Stored(tensors=tensors, architecture=said if isinstance(said, dict) else None)


def _is_plain(value: object) -> bool:
    if not isinstance(value, Tensor) or value.layout is not torch.strided or value.is_meta:
        return False
    # A stride of 0 spreads a few bytes over any size: copied out, it would take memory that the file does not hold.
    return value.numel() * value.element_size() <= max(1 << 20, 4 * value.untyped_storage().nbytes())
