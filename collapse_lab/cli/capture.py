"""collapse-lab capture"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from collapse_lab.cli import output


def capture(
    run: Annotated[Path, typer.Argument(help="A run's folder.")],
    step: Annotated[int | None, typer.Option(help="Which checkpoint; the newest without it.")] = None,
    sites: Annotated[list[str] | None, typer.Option("--sites", help="A pattern, repeatable; see 'list sites'.")] = None,
    positions: Annotated[list[str] | None, typer.Option("--positions", help="sampled:8, all or pooled.")] = None,
    data: Annotated[str | None, typer.Option(help="Images; the run's own without it.")] = None,
    split: Annotated[str, typer.Option(help="test or train.")] = "test",
    keep_rows: Annotated[int, typer.Option(help="Rows to keep at each site.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Pass images through a run's encoder once and write what its sites hold into the run."""
    from collapse_lab.data.source import open_images
    from collapse_lab.runs import Run
    from collapse_lab.study import tables
    from collapse_lab.train.config import load_config

    folder = Run(run)
    folder.read()
    config = load_config(folder.config, [f"data.uri={data}"] if data else [])
    found = folder.checkpoints()
    if step is None and not found:
        raise FileNotFoundError(f"{run} has no checkpoint yet; train it first")
    chosen = max(found) if step is None else step
    images = open_images(config.data.uri, split, config.data.size)
    captured = tables.capture_step(
        folder,
        config,
        chosen,
        images,
        sites=sites or tables.SITES,
        positions=positions or tables.POSITIONS,
        keep_rows=keep_rows,
    )
    tables.write_step(folder, chosen, captured, whole=True)
    tables.gather(folder)
    path = folder.capture(chosen)
    if json:
        output.print_json("capture", path=path, step=chosen, sites=captured.sites, images=captured.facts["images"])
    else:
        output.human().print(repr(captured))
        print(path)
