"""Models that are not ours, for looking at: of transformers, of timm, of torch.hub, or of a function of yours.

Unlike the reading of weights, some of this executes code: `py:` imports your module, `hub:` runs a repository's
hubconf.py. transformers and timm run their own code alone; code that lies in a repository is never trusted.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from collapse_lab.models.weights.fetch import config_of, is_ours, line_of, scheme_of
from collapse_lab.registry import nearest

Numbers = tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A network in eval mode, where it came from, and what its own configuration says of the images it takes."""

    model: nn.Module
    source: str
    size: int | None = None
    mean: Numbers | None = None
    std: Numbers | None = None


def is_foreign(uri: str) -> bool:
    """Whether `open_foreign` opens this: of timm: all that is not called convnext, of hf: all whose configuration says
    something else. Raises as `fetch` does where that cannot be reached."""
    if scheme_of(uri) is None:
        return False
    scheme, rest = _split(uri)
    if scheme == "timm":
        return not rest.startswith("convnext")
    return scheme in ("py", "hub") or (scheme == "hf" and not is_ours(config_of(rest)))


def open_foreign(uri: str) -> Opened:
    """The network at hf:REPO, timm:NAME, hub:OWNER/REPO:ENTRY, hub:FOLDER:ENTRY or py:package.module:function.

    `hub:` and `py:` execute the code they name; the function is called without an argument. Of a network that takes
    images and texts the part for images is taken. Raises ImportError naming the extra that is missing, LookupError for
    a name that is not there, TypeError for what is no network, ConnectionError for what cannot be fetched.
    """
    scheme, rest = _split(uri)
    found = {"hf": _of_transformers, "timm": _of_timm, "hub": _of_hub, "py": _of_function}[scheme](rest)
    model = getattr(found, "vision_model", found) if scheme == "hf" else found
    if not isinstance(model, nn.Module):
        raise TypeError(f"{uri} gives a {type(model).__name__}; expected an nn.Module")
    return Opened(model=model.eval(), source=uri, **_images_of(scheme, rest, model))


def _split(uri: str) -> tuple[str, str]:
    """Scheme and rest; what timm keeps on the hub is of timm, transformers cannot build it."""
    owner = "hf:timm/"
    scheme, _, rest = (f"timm:{uri.removeprefix(owner)}" if uri.startswith(owner) else uri).partition(":")
    return scheme, rest


def _of_transformers(repo: str) -> Any:
    try:
        from transformers import AutoModel
    except ImportError:
        raise ImportError(f"hf:{repo} needs transformers; install it with: pip install 'collapse-lab[hf]'") from None
    try:
        return AutoModel.from_pretrained(repo, trust_remote_code=False)
    except OSError as error:
        raise ConnectionError(f"cannot load {repo} with transformers: {line_of(error)}") from None


def _of_timm(name: str) -> Any:
    try:
        timm = importlib.import_module("timm")
    except ImportError:
        raise ImportError(f"timm:{name} needs timm; install it with: pip install 'collapse-lab[timm]'") from None
    if not timm.is_model(name):
        raise LookupError(f"timm has no model {name!r}{nearest(name.partition('.')[0], timm.list_models())}")
    return timm.create_model(name, pretrained=True)


def _of_hub(rest: str) -> Any:
    """An entry of a hubconf.py, in a folder or on GitHub."""
    repo, _, entry = rest.rpartition(":")
    if not repo or not entry:
        raise ValueError(f"hub:{rest} names no entry; expected hub:OWNER/REPO:ENTRY or hub:FOLDER:ENTRY")
    local = Path(repo).expanduser().is_dir()
    where, source = (str(Path(repo).expanduser()), "local") if local else (repo, "github")
    if local and not (Path(where) / "hubconf.py").is_file():
        raise FileNotFoundError(f"{repo} has no hubconf.py; torch.hub reads the entries of a folder from there")
    if not local and repo.count("/") != 1:
        raise FileNotFoundError(f"there is no folder {repo}; expected hub:FOLDER:ENTRY or hub:OWNER/REPO:ENTRY")
    try:
        return torch.hub.load(where, entry, source=source, trust_repo=True, verbose=False)
    except RuntimeError as error:
        if "Cannot find callable" not in str(error):
            raise
        raise LookupError(f"the hubconf.py of {repo} has no entry {entry!r}") from None
    except OSError as error:
        raise ConnectionError(f"cannot fetch {repo}: {line_of(error)}") from None


def _of_function(rest: str) -> Any:
    """What package.module:function returns; the module is looked for in the working directory, then in sys.path."""
    name, _, function = rest.partition(":")
    if not name or not function:
        raise ValueError(f"py:{rest} names no function; expected py:package.module:function")
    with _from_here():
        found = getattr(_module(name), function, None)
        if found is None:
            known = [each for each in vars(sys.modules[name]) if not each.startswith("_")]
            raise LookupError(f"the module {name} has no {function!r}{nearest(function, known)}")
        if not callable(found):
            raise TypeError(
                f"{name}:{function} is of type {type(found).__name__}; expected a function that returns a model"
            )
        needed = _needed(found)
        if needed:
            raise TypeError(
                f"{name}:{function} needs arguments ({', '.join(needed)}); expected a function that is called without "
                f"any: write one that returns the model"
            )
        return found()


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):  # it is there, and lacks another
            raise ImportError(f"importing {name} failed: {error}") from None
        raise LookupError(f"there is no module {name}; looked in {Path.cwd()} and in sys.path") from None


def _needed(function: Callable[..., Any]) -> list[str]:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # of something built in: it is for the call to say
        return []
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [each.name for each in parameters if each.default is each.empty and each.kind not in optional]


@contextmanager
def _from_here() -> Iterator[None]:
    """With the working directory first among the places that modules are looked for in."""
    here = str(Path.cwd())
    sys.path.insert(0, here)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(here)


def _images_of(scheme: str, rest: str, model: nn.Module) -> dict[str, Any]:
    """Size and normalisation, as far as the model's own configuration says them."""
    if scheme == "timm":
        settings: Mapping[str, Any] = getattr(model, "pretrained_cfg", None) or {}
        size = (settings.get("input_size") or (None,))[-1]
        return {"size": size, "mean": settings.get("mean"), "std": settings.get("std")}
    if scheme != "hf":
        return {}
    size = getattr(getattr(model, "config", None), "image_size", None)
    settings = config_of(rest, "preprocessor_config.json") or {}
    numbers = {name: settings.get(f"image_{name}") for name in ("mean", "std")}
    given = {name: None if each is None else tuple(each) for name, each in numbers.items()}
    return {"size": size[0] if isinstance(size, list | tuple) else size, **given}
