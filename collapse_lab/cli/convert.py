"""collapse-lab convert"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from collapse_lab.cli import output

if TYPE_CHECKING:
    from collapse_lab.models.weights.read import Loaded


def convert(
    source: Annotated[
        str, typer.Argument(metavar="IN", help="A run, a file or folder of weights, hf:, timm:, https:.")
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A .safetensors, .pt or .pth; for hf a folder as well.")],
    to: Annotated[str, typer.Option("--to", help="ours, official, timm or hf.")],
    response: Annotated[str | None, typer.Option(help="Switch to this one; see 'list responses'.")] = None,
    classes: Annotated[int | None, typer.Option(help="A head of so many classes; 0 drops it.")] = None,
    averaged: Annotated[bool, typer.Option("--averaged", help="Of a run: the running average of its weights.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Write over what is there.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Weights in one layout from weights in another, or from a run."""
    from collapse_lab.models.weights.write import write_weights
    from collapse_lab.train.load import load

    loaded = load(source, response=response, classes=classes, averaged=averaged)
    files = write_weights(loaded.model, out, to, force=force)
    if json:
        output.print_json(
            "weights",
            source=loaded.source,
            layout=loaded.layout,
            left_out=loaded.left_out,
            architecture=loaded.model.architecture,
            to=to,
            files=files,
        )
        return
    _say_read(loaded)
    for file in files:
        print(file)


def _say_read(loaded: Loaded) -> None:
    """What was read, for people."""
    settings = loaded.model.architecture
    told = ("depths", "dims", "response", "patch", "width", "depth", "heads", "classes")
    shape = ", ".join(f"{name} {output.show(settings[name])}" for name in told if name in settings)
    console = output.human()
    console.print(f"read {loaded.source}, layout {loaded.layout}: {shape}", markup=False)
    if loaded.left_out:
        parts = ", ".join(dict.fromkeys(name.split(".")[0] for name in loaded.left_out))
        console.print(f"left out {len(loaded.left_out)} tensors that are no part of the encoder: {parts}", markup=False)
