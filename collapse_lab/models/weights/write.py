"""A network written as weights: ours, or, of a ConvNeXt, as the official code, timm or transformers read them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from collapse_lab.models.encoder import Encoder
from collapse_lab.models.weights.infer import LAYER_SCALE
from collapse_lab.models.weights.layouts import LAYOUTS, OFFICIAL, OURS, TRANSFORMERS, Layout, named
from collapse_lab.runs import write_atomically, write_json

SAFETENSORS, TORCH = (".safetensors",), (".pt", ".pth")


def write_weights(model: Encoder, out: Path, to: str, *, force: bool = False) -> list[Path]:
    """Write the network in the layout `to` and return the files; the same network gives the same bytes.

    `out` ends in .safetensors, .pt or .pth; to hf without an ending it is a folder that `from_pretrained` reads.
    Raises LookupError for an unknown layout, FileExistsError unless `force`, ValueError for another ending or a network
    that the layout cannot hold. Ours keeps the architecture beside the tensors; the others keep tensors alone.
    """
    layout = LAYOUTS[to]
    _require_held(model, layout)
    folder = layout is TRANSFORMERS and not out.suffix
    if not folder and out.suffix not in (*SAFETENSORS, *TORCH):
        also = ", or no ending for a folder" if layout is TRANSFORMERS else ""
        raise ValueError(f"weights are written to a file that ends in .safetensors, .pt or .pth{also}, got {out}")
    if out.exists() and not force:
        raise FileExistsError(f"{out} is already there; choose another name, or write over it with --force")
    tensors = _tensors(model, layout)
    if not folder:
        _write(out, tensors, layout, model.architecture)
        return [out]
    _write(out / "model.safetensors", tensors, layout, model.architecture)
    write_json(out / "config.json", transformers_config(model))
    return [out / "config.json", out / "model.safetensors"]


def transformers_config(model: Encoder) -> dict[str, Any]:
    """config.json for the class of transformers that holds this network."""
    settings = model.architecture
    grn, classes = settings["response"] == "grn", settings["classes"]
    family = "ConvNextV2" if grn else "ConvNext"
    config = {
        "architectures": [f"{family}ForImageClassification" if classes else f"{family}Model"],
        "model_type": family.lower(),
        "num_channels": settings["in_channels"],
        "patch_size": settings["stem"],
        "num_stages": len(settings["depths"]),
        "depths": settings["depths"],
        "hidden_sizes": settings["dims"],
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-6,  # of the final norm: transformers' own default is 1e-12, unlike the official code
        "drop_path_rate": settings["drop_path"],
    }
    if not grn:
        # transformers builds LayerScale for values above 0 alone; what the value was means nothing to loaded weights.
        config["layer_scale_init_value"] = 0.0 if settings["layer_scale"] is None else LAYER_SCALE
    if classes:
        config["id2label"] = {str(label): f"LABEL_{label}" for label in range(classes)}
        config["label2id"] = {f"LABEL_{label}": label for label in range(classes)}
    return config


def _require_held(model: Encoder, layout: Layout) -> None:
    if layout is OURS:
        return
    if "response" not in model.architecture:
        raise ValueError(f"the layout {layout.name} is one of ConvNeXts and cannot hold a ViT; convert to ours")
    response, layer_scale = model.architecture["response"], model.architecture["layer_scale"]
    if response not in ("none", "grn"):
        raise ValueError(
            f"the layout {layout.name} cannot hold the response {response!r}: it knows GRN (grn) and none; "
            f"switch it with --response grn or --response none, or convert to ours"
        )
    if layout is TRANSFORMERS and response == "grn" and layer_scale is not None:
        raise ValueError(
            "transformers has no network with both GRN (its ConvNextV2) and LayerScale (its ConvNext); "
            "drop GRN with --response none, or convert to ours, official or timm"
        )


def _tensors(model: Encoder, layout: Layout) -> dict[str, Tensor]:
    """On the CPU, in the layout's names."""
    prefix = ""
    if layout is TRANSFORMERS and model.architecture["classes"]:
        prefix = "convnextv2." if model.architecture["response"] == "grn" else "convnext."
    state = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    return named(state, layout, prefix=prefix)


def _write(path: Path, tensors: dict[str, Tensor], layout: Layout, architecture: Mapping[str, Any]) -> None:
    # One entry of metadata: safetensors writes several in an order that changes from process to process.
    said = {"architecture": json.dumps(architecture)} if layout is OURS else {"format": "pt"}
    payload: dict[str, Any] = dict(tensors)
    if layout is OURS:
        payload = {"architecture": dict(architecture), "model": tensors}
    elif layout is OFFICIAL:
        payload = {"model": tensors}

    def write(part: Path) -> None:
        try:
            if path.suffix in SAFETENSORS:
                save_file(tensors, part, metadata=said)
            else:
                with part.open("wb") as file:  # an open file: torch writes the name of a path into it
                    torch.save(payload, file)
        except (SafetensorError, RuntimeError) as error:  # what they make of a full disk
            raise OSError(str(error).splitlines()[0]) from error

    write_atomically(path, write)
