"""collapse-lab capture"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from collapse_lab.cli import output

if TYPE_CHECKING:
    from collapse_lab.capture.budget import Budget
    from collapse_lab.capture.store import Capture
    from collapse_lab.study.asked import Asked

Three = tuple[float, float, float]
Model = Annotated[
    str,
    typer.Argument(
        help="A run's folder, weights, hf:REPO, timm:NAME, hub:OWNER/REPO:ENTRY, hub:FOLDER:ENTRY or "
        "py:package.module:function. hub: and py: execute the code they name."
    ),
]
Step = Annotated[int | None, typer.Option(help="Of a run: which checkpoint; the newest without it.")]
Sites = Annotated[
    list[str] | None, typer.Option("--sites", help="A pattern, repeatable; see 'list sites'. Without: blocks.")
]
Averaged = Annotated[bool, typer.Option("--averaged", help="Of a run: the running average of its weights, into --out.")]
Positions = Annotated[list[str] | None, typer.Option("--positions", help="sampled:8, all or pooled.")]
Data = Annotated[str | None, typer.Option(help="Images; a run's own without it.")]
Split = Annotated[str, typer.Option(help="test or train.")]
Rows = Annotated[int, typer.Option(min=0, help="Rows to keep at each site, for notebooks.")]
Maps = Annotated[int, typer.Option(min=0, help="Images whose whole maps are kept.")]
Groups = Annotated[bool, typer.Option("--keep-groups", help="Keep what 'merge' needs.")]
RowsType = Annotated[
    Literal["float32", "float16"] | None, typer.Option(help="How kept rows are stored; as they came without it.")
]
Memory = Annotated[
    str | None, typer.Option(help="As 800MB: fewer groups of images, then channels alone, and it says so.")
]
Accumulation = Annotated[
    Literal["float64", "float32"], typer.Option(help="Of products; float32 is faster and its floor higher.")
]
SaveEvery = Annotated[int, typer.Option(min=0, help="Batches between savings to go on from; 0 saves none.")]
Out = Annotated[Path | None, typer.Option(help="The capture's folder; a run's lies in the run.")]
Size = Annotated[int | None, typer.Option(min=1, help="Side of the images; the model's own, or 224.")]
Mean = Annotated[
    Three | None, typer.Option(metavar="R G B", help="Of pixels in [0, 1]; the model's own, or ImageNet's.")
]
Std = Annotated[Three | None, typer.Option(metavar="R G B", help="As --mean.")]
Layout = Annotated[
    list[str] | None, typer.Option("--layout", metavar="PATTERN=AXES", help="Order of a site's axes, repeatable.")
]
BatchSize = Annotated[int | None, typer.Option(min=1, help="Images at once; 64 without it.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def capture(
    model: Model,
    step: Step = None,
    sites: Sites = None,
    averaged: Averaged = False,
    positions: Positions = None,
    data: Data = None,
    split: Split = "test",
    keep_rows: Rows = 0,
    keep_maps: Maps = 0,
    keep_groups: Groups = False,
    rows_dtype: RowsType = None,
    memory_limit: Memory = None,
    accumulation: Accumulation = "float64",
    save_every: SaveEvery = 0,
    out: Out = None,
    size: Size = None,
    mean: Mean = None,
    std: Std = None,
    layout: Layout = None,
    batch: BatchSize = None,
    json: Json = False,
) -> None:
    """Pass images through a model once and write what its sites hold: into its run, or into a folder of its own.

    Under torchrun (torchrun --nproc-per-node 2 -m collapse_lab capture ...) the processes share the batches and write
    one capture.
    """
    from collapse_lab.capture.budget import read_size
    from collapse_lab.ranks import joined
    from collapse_lab.study.asked import Asked

    made: dict[str, Any] = {"size": size, "mean": mean, "std": std, "layout": layout, "batch": batch}
    with joined() as (rank, _):
        asked = Asked(
            keep_rows=keep_rows,
            keep_maps=keep_maps,
            keep_groups=keep_groups,
            rows_dtype=rows_dtype,
            memory_limit=None if memory_limit is None else read_size(memory_limit),
            accumulation=accumulation,
            save_every=save_every,
            on_budget=None if rank else _say_budget,  # the first process speaks for all
        )
        look = Look(sites=sites or (), positions=positions or (), data=data, split=split, asked=asked)
        if _is_run(model):
            _refuse_for_run(model, averaged, out, made)
            path, captured, step = _of_run(model, step, look, rank, out)
        else:
            _refuse({"--step": step, "--averaged": averaged}, f"{model} is no run and has no steps")
            path, captured = _of_model(model, look, out, made)
    if rank == 0:
        _say(path, step, captured, json)


@dataclass(frozen=True, kw_only=True)
class Look:
    """Where to look, on which images, and what is kept; empty and None: as it is without a word."""

    sites: Sequence[str]
    positions: Sequence[str]
    data: str | None
    split: str
    asked: Asked


def _say_budget(budget: Budget) -> None:
    output.human().print(budget.told())


def _say(path: Path, step: int | None, captured: Capture, json: bool) -> None:
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


def _of_model(model: str, look: Look, out: Path | None, made: dict[str, Any]) -> tuple[Path, Capture]:
    """The capture of any model, in a folder of its own; `made`: how its images are made, and come."""
    from collapse_lab.study import captures, tables

    if out is None or look.data is None:
        raise ValueError(f"{model} is no run: say --data (a source or a folder of images) and --out (a folder)")
    return out, captures.capture_model(
        model,
        out,
        data=look.data,
        split=look.split,
        size=made["size"],
        mean=made["mean"],
        std=made["std"],
        sites=look.sites,
        positions=look.positions or tables.POSITIONS,
        layout=read_layouts(made["layout"] or []),
        batch=made["batch"] or 64,
        asked=look.asked,
    )


def _of_run(model: str, step: int | None, look: Look, rank: int, aside: Path | None) -> tuple[Path, Capture, int]:
    """The capture of one checkpoint: in its run, whose tables are gathered anew, or of averaged weights in `aside`."""
    from collapse_lab.data.source import open_images
    from collapse_lab.runs import Run
    from collapse_lab.study import captures, tables
    from collapse_lab.train.config import load_config

    run = Run(Path(model))
    run.read()
    config = load_config(run.config, given={"data.uri": look.data} if look.data else {})
    found = run.checkpoints()
    if step is None and not found:
        raise FileNotFoundError(f"{run.path} has no checkpoint yet; train it first")
    chosen = max(found) if step is None else step
    images = open_images(config.data.uri, look.split, config.data.size)
    if aside is not None:
        captures.require_room(aside, {"source": str(run.path)})
    where: dict[str, Any] = {
        "sites": look.sites or tables.SITES,
        "positions": look.positions or tables.POSITIONS,
    }
    captured = tables.capture_step(run, config, chosen, images, **where, asked=look.asked, averaged=aside)
    if aside is not None:
        captured.facts["source"] = str(run.path)
        if rank == 0:
            captures.write_capture(captured, aside, look.asked.rows_dtype)
        return aside, captured, chosen
    if rank == 0:
        tables.write_step(run, chosen, captured, whole=True, rows_dtype=look.asked.rows_dtype)
        tables.gather(run)
    return run.capture(chosen), captured, chosen


def _refuse_for_run(model: str, averaged: bool, out: Path | None, made: dict[str, Any]) -> None:
    """What a run has of its own, and where its captures lie, is not to be said."""
    if averaged and out is None:
        raise ValueError(f"{model} keeps captures of its weights as trained: say --out for those of --averaged")
    own = {f"--{name}": value for name, value in made.items()}
    _refuse(own if averaged else {"--out": out, **own}, f"{model} is a run, which has its own")


def _refuse(options: Mapping[str, object], why: str) -> None:
    given = [name for name, value in options.items() if value]
    if given:
        raise ValueError(f"{why}; leave out {', '.join(given)}")
