"""collapse-lab capture"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from collapse_lab.cli import output

if TYPE_CHECKING:
    from collapse_lab.capture.store import Capture
    from collapse_lab.runs import Run
    from collapse_lab.study.asked import Asked

Three = tuple[float, float, float]


def capture(
    model: Annotated[
        str,
        typer.Argument(
            help="A run's folder, weights, hf:REPO, timm:NAME, hub:OWNER/REPO:ENTRY, hub:FOLDER:ENTRY or "
            "py:package.module:function. hub: and py: execute the code they name."
        ),
    ],
    step: Annotated[int | None, typer.Option(help="Of a run: which checkpoint; the newest without it.")] = None,
    sites: Annotated[
        list[str] | None, typer.Option("--sites", help="A pattern, repeatable; see 'list sites'. Without: blocks.")
    ] = None,
    averaged: Annotated[
        bool, typer.Option("--averaged", help="Of a run: the running average of its weights, into --out.")
    ] = False,
    positions: Annotated[list[str] | None, typer.Option("--positions", help="sampled:8, all or pooled.")] = None,
    data: Annotated[str | None, typer.Option(help="Images; a run's own without it.")] = None,
    split: Annotated[str, typer.Option(help="test or train.")] = "test",
    keep_rows: Annotated[int, typer.Option(min=0, help="Rows to keep at each site, for notebooks.")] = 0,
    keep_maps: Annotated[int, typer.Option(min=0, help="Images whose whole maps are kept.")] = 0,
    keep_groups: Annotated[bool, typer.Option("--keep-groups", help="Keep what 'merge' needs.")] = False,
    rows_dtype: Annotated[
        Literal["float32", "float16"] | None, typer.Option(help="How kept rows are stored; as they came without it.")
    ] = None,
    memory_limit: Annotated[
        str | None, typer.Option(help="As 800MB: fewer groups of images, then channels alone, and it says so.")
    ] = None,
    accumulation: Annotated[
        Literal["float64", "float32"], typer.Option(help="Of products; float32 is faster and its floor higher.")
    ] = "float64",
    save_every: Annotated[int, typer.Option(min=0, help="Batches between savings to go on from; 0 saves none.")] = 0,
    out: Annotated[Path | None, typer.Option(help="The capture's folder; a run's lies in the run.")] = None,
    size: Annotated[int | None, typer.Option(min=1, help="Side of the images; the model's own, or 224.")] = None,
    mean: Annotated[
        Three | None, typer.Option(metavar="R G B", help="Of pixels in [0, 1]; the model's own, or ImageNet's.")
    ] = None,
    std: Annotated[Three | None, typer.Option(metavar="R G B", help="As --mean.")] = None,
    layout: Annotated[
        list[str] | None, typer.Option("--layout", metavar="PATTERN=AXES", help="Order of a site's axes, repeatable.")
    ] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Images at once; 64 without it.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Pass images through a model once and write what its sites hold: into its run, or into a folder of its own.

    Under torchrun (torchrun --nproc-per-node 2 -m collapse_lab capture ...) the processes share the batches and write
    one capture.
    """
    from dataclasses import replace

    from collapse_lab.capture.budget import read_size
    from collapse_lab.ranks import joined
    from collapse_lab.runs import Run
    from collapse_lab.study import captures, tables
    from collapse_lab.study.asked import Asked

    where = positions or tables.POSITIONS
    asked = Asked(
        keep_rows=keep_rows,
        keep_maps=keep_maps,
        keep_groups=keep_groups,
        rows_dtype=rows_dtype,
        memory_limit=None if memory_limit is None else read_size(memory_limit),
        accumulation=accumulation,
        save_every=save_every,
        on_budget=lambda budget: output.human().print(budget.told()),
    )
    with joined() as (rank, _):
        asked = replace(asked, on_budget=None) if rank else asked  # the first process speaks for all
        if _is_run(model):
            if averaged and out is None:
                raise ValueError(f"{model} keeps captures of its weights as trained: say --out for those of --averaged")
            own = {"--size": size, "--mean": mean, "--std": std, "--layout": layout, "--batch": batch}
            _refuse(own if averaged else {"--out": out, **own}, f"{model} is a run, which has its own")
            aside = out if averaged else None
            path, captured, step = _of_run(Run(Path(model)), step, sites, where, data, split, asked, rank, aside)
        else:
            _refuse({"--step": step, "--averaged": averaged}, f"{model} is no run and has no steps")
            if out is None or data is None:
                raise ValueError(f"{model} is no run: say --data (a source or a folder of images) and --out (a folder)")
            path = out
            captured = captures.capture_model(
                model,
                out,
                data=data,
                split=split,
                size=size,
                mean=mean,
                std=std,
                sites=sites or (),
                positions=where,
                layout=read_layouts(layout or []),
                batch=batch or 64,
                asked=asked,
            )
    if rank:
        return
    if json:
        output.print_json("capture", path=path, step=step, sites=captured.sites, images=captured.facts["images"])
    else:
        output.human().print(repr(captured))
        print(path)


def _is_run(model: str) -> bool:
    """Whether this is to be a run's folder; raises FileNotFoundError for what is neither that nor an address."""
    from collapse_lab.models.weights.fetch import is_address
    from collapse_lab.runs import Run

    if Run(Path(model)).exists():
        return True
    if not is_address(model) and not Path(model).is_dir():
        raise FileNotFoundError(
            f"{model} is no run, file or address; give a run's folder, weights, hf:REPO, timm:NAME, "
            f"hub:REPO:ENTRY or py:module:function (which may build an untrained network)"
        )
    return not is_address(model)


def read_layouts(texts: Sequence[str]) -> dict[str, str]:
    """Each PATTERN=AXES; raises ValueError for a text of another form."""
    layouts = {}
    for text in texts:
        pattern, sign, axes = text.rpartition("=")
        if not sign or not pattern or not axes:
            raise ValueError(
                f"--layout takes PATTERN=AXES, for example '*.act=image channel height width', got {text!r}"
            )
        layouts[pattern] = axes
    return layouts


def _of_run(
    folder: Run,
    step: int | None,
    sites: Sequence[str] | None,
    positions: Sequence[str],
    data: str | None,
    split: str,
    asked: Asked,
    rank: int,
    averaged: Path | None,
) -> tuple[Path, Capture, int]:
    """The capture of one checkpoint: in its run, whose tables are gathered anew, or, of averaged weights, beside it."""
    from collapse_lab.data.source import open_images
    from collapse_lab.study import captures, tables
    from collapse_lab.train.config import load_config

    folder.read()
    config = load_config(folder.config, [f"data.uri={data}"] if data else [])
    found = folder.checkpoints()
    if step is None and not found:
        raise FileNotFoundError(f"{folder.path} has no checkpoint yet; train it first")
    chosen = max(found) if step is None else step
    images = open_images(config.data.uri, split, config.data.size)
    chosen_sites = sites or tables.SITES
    if averaged is not None:
        captures.require_room(averaged, {"source": str(folder.path)})
    captured = tables.capture_step(
        folder, config, chosen, images, sites=chosen_sites, positions=positions, asked=asked, averaged=averaged
    )
    if averaged is not None:
        captured.facts["source"] = str(folder.path)
        if rank == 0:
            captures.write_capture(captured, averaged, asked.rows_dtype)
        return averaged, captured, chosen
    if rank == 0:
        tables.write_step(folder, chosen, captured, whole=True, rows_dtype=asked.rows_dtype)
        tables.gather(folder)
    return folder.capture(chosen), captured, chosen


def _refuse(options: Mapping[str, object], why: str) -> None:
    given = [name for name, value in options.items() if value]
    if given:
        raise ValueError(f"{why}; leave out {', '.join(given)}")
