"""Where weights lie: a file, a folder in the layout of transformers, or an address that is fetched into a cache."""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import torch

from collapse_lab.runs import read_json

SCHEMES = ("hf:REPO", "timm:NAME", "https://...")
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_OTHER_NORMS = ("convnext_xxlarge", "test_convnext")
"""Architectures of timm whose own settings have another eps, whatever their configuration says."""


def is_address(uri: str) -> bool:
    """Whether this names weights anywhere: a path that exists, or something with a scheme."""
    return scheme_of(uri) is not None or Path(uri).exists()


def fetch(uri: str) -> Path:
    """The file of weights behind an address, fetched if need be.

    Raises FileNotFoundError for a path that is not there, LookupError for an unknown scheme or a repository without
    weights, ConnectionError when the network fails, ImportError naming the extra that is missing, and ValueError for a
    folder whose config.json says something else than a ConvNeXt of ours.
    """
    scheme = scheme_of(uri)
    if scheme is None:
        return _in_path(Path(uri))
    rest = uri.removeprefix(f"{scheme}:")
    if scheme == "https":
        return _from_web(uri)
    if scheme == "hf" and Path(rest).is_dir():
        return _in_path(Path(rest))
    if scheme in ("hf", "timm"):
        return _from_hub(f"timm/{rest}" if scheme == "timm" else rest)
    raise LookupError(f"{uri}: weights are not read from {scheme}: addresses; there is: a path, {', '.join(SCHEMES)}")


def scheme_of(uri: str) -> str | None:
    """What stands before the colon; None for a path, which may have one as well."""
    match = re.match(r"([A-Za-z][A-Za-z0-9+]*):", uri)
    return match[1] if match and not Path(uri).exists() else None


def config_of(repo: str, name: str = "config.json") -> dict[str, Any] | None:
    """A configuration of a repository on the hub, or of a folder as transformers writes one; None where it has none."""
    path = Path(repo) / name if Path(repo).is_dir() else _hub_file(repo, name)
    return None if path is None or not path.is_file() else _read_config(path)


def is_ours(config: Mapping[str, Any] | None) -> bool:
    """Whether a configuration says a ConvNeXt, V1 or V2, or nothing; of timm's ones all are for `fetch` to judge."""
    said = config or {}
    return "architecture" in said or said.get("model_type") in (None, "convnext", "convnextv2")


def _in_path(folder: Path) -> Path:
    """A file, or the weights in a folder as transformers writes it."""
    if folder.is_file():
        return folder
    if not folder.exists():
        raise FileNotFoundError(
            f"there is no file or folder {folder}; expected a run, a checkpoint of one, a file or folder of weights, "
            f"or an address: {', '.join(SCHEMES)}"
        )
    if (folder / "config.json").is_file():
        _require_convnext(folder / "config.json")
    for name in WEIGHTS:
        if (folder / name).is_file():
            return folder / name
    split = " (weights that are split over several files are not read)" if list(folder.glob("*.index.json")) else ""
    raise FileNotFoundError(f"the folder {folder} has neither run.json nor {' nor '.join(WEIGHTS)}{split}")


def _require_convnext(path: Path) -> None:
    """What tensors cannot say: another activation, or norms of another eps, would go unseen.

    Of transformers an eps below ours passes: its default for the final norm, 1e-12, moves the output by about 1e-6.
    """
    config = _read_config(path)
    kind, timm, settings = config.get("model_type"), config.get("architecture"), config.get("model_args") or {}
    if kind not in (None, "convnext", "convnextv2"):
        raise ValueError(f"{path} says model_type {kind!r}; expected convnext or convnextv2")
    if timm is not None and (not str(timm).startswith("convnext") or str(timm).startswith(_OTHER_NORMS)):
        raise ValueError(f"{path} says architecture {timm!r}; expected a convnext or convnextv2 with norms of eps 1e-6")
    act = config.get("hidden_act") or settings.get("act_layer") or "gelu"
    if act != "gelu":
        raise ValueError(f"{path} says activation {act!r}; a ConvNeXt of ours has gelu (exact) alone")
    eps = max(config.get("layer_norm_eps") or 0, settings.get("norm_eps") or 0)
    if eps > 1e-6:
        raise ValueError(f"{path} says norms of eps {eps}; those of a ConvNeXt of ours have 1e-6 alone")


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config: Any = read_json(path)
    except ValueError as error:
        raise ValueError(f"{path} is not a configuration in JSON: {error}") from None
    if not isinstance(config, dict):
        raise ValueError(f"{path} is not a configuration: expected an object of JSON, got a {type(config).__name__}")
    return config


def _from_hub(repo: str) -> Path:
    """The weights of a repository, in the hub's own cache."""
    for name in ("config.json", *WEIGHTS):
        path = _hub_file(repo, name)
        if path is not None and name in WEIGHTS:
            return path
        if path is not None:
            _require_convnext(path)
    raise LookupError(f"the repository {repo} has neither {' nor '.join(WEIGHTS)}")


def _hub_file(repo: str, name: str) -> Path | None:
    """One file of a repository; None when it has none of that name."""
    try:
        import huggingface_hub as hub
        from huggingface_hub import errors
    except ImportError:
        raise ImportError(
            "hf: and timm: addresses need huggingface_hub; install it with: pip install 'collapse-lab[hf]'"
        ) from None
    try:
        return Path(hub.hf_hub_download(repo, name))
    except (errors.RepositoryNotFoundError, errors.HFValidationError) as error:
        raise LookupError(f"no repository {repo!r} on the Hugging Face hub: {line_of(error)}") from None
    except Exception as error:  # of the hub, of the HTTP client it happens to use, of the system
        # Not found while offline is an entry-not-found error as well: it says nothing about the repository.
        offline = isinstance(error, errors.LocalEntryNotFoundError)
        if isinstance(error, errors.EntryNotFoundError) and not offline:
            return None
        raise ConnectionError(f"cannot fetch {repo} from the Hugging Face hub: {line_of(error)}") from None


def _from_web(address: str) -> Path:
    """The file of an address in torch's own cache, fetched once; named by the whole address, since names recur."""
    name = f"{hashlib.sha256(address.encode()).hexdigest()[:16]}-{Path(urlsplit(address).path).name}"
    path = Path(torch.hub.get_dir()) / "checkpoints" / name
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(address, str(path), progress=sys.stderr.isatty())
        except (OSError, HTTPException, ValueError) as error:
            raise ConnectionError(f"cannot fetch {address}: {line_of(error)}") from None
    return path


def line_of(error: Exception) -> str:
    """The first line of an error's message, or its type."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__
