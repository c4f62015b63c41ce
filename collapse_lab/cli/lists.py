"""collapse-lab list"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from collapse_lab.cli import output

if TYPE_CHECKING:
    from torch import nn

app = typer.Typer(help="What there is: models, responses, metrics, data sources, sites and runs.", no_args_is_help=True)
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def _answer(kind: str, columns: tuple[str, ...], rows: list[tuple[Any, ...]], json: bool) -> None:
    if json:
        output.print_json(kind, rows=[dict(zip(columns, row, strict=True)) for row in rows])
    else:
        output.print_table(kind, columns, rows)


@app.command()
def models(json: Json = False) -> None:
    """Networks by name."""
    from collapse_lab.models.convnext import SIZES

    rows = [(name, _joined(SIZES[name].depths), _joined(SIZES[name].dims), _published(SIZES[name])) for name in SIZES]
    _answer("models", ("name", "depths", "dims", "published as"), rows, json)


@app.command()
def responses(json: Json = False) -> None:
    """What can stand between the activation and the projection of a block."""
    from collapse_lab.models.response import RESPONSES

    _answer("responses", ("name", "what"), [(name, _first_line(RESPONSES[name])) for name in RESPONSES], json)


@app.command()
def metrics(json: Json = False) -> None:
    """Every metric with its facts."""
    from collapse_lab.findings import nulls  # noqa: F401  registers the metrics that are held against a null
    from collapse_lab.metrics._metric import HEADLINE, METRICS

    rows = []
    for name in METRICS:
        facts = METRICS[name]
        low, high = ("–" if bound is None else str(bound) for bound in facts.bounds)
        headline = "headline" if name in HEADLINE else ""
        rows.append(
            (name, headline, facts.unit, f"{low} to {high}", facts.collapse_when or "–", facts.rows, facts.source)
        )
    _answer("metrics", ("name", "", "unit", "bounds", "collapse when", "rows", "source"), rows, json)


@app.command()
def data(json: Json = False) -> None:
    """Sources of images by name; a folder's path is one too."""
    from collapse_lab.data.source import SOURCES

    _answer("data", ("name",), [(name,) for name in SOURCES], json)


@app.command()
def sites(
    model: Annotated[str, typer.Argument(help="A model's name, a run's folder, or weights: a path or an address.")],
    pattern: Annotated[list[str] | None, typer.Option("--sites", help="Only those that match, repeatable.")] = None,
    json: Json = False,
) -> None:
    """The places of a model that can be captured."""
    from collapse_lab.capture.sites import find_sites, kind_of, match_sites

    network = _network(model)
    names = match_sites(network, pattern) if pattern else list(find_sites(network))
    rows = [(name, f"kind:{kind_of(name)}", f"class:{type(network.get_submodule(name)).__name__}") for name in names]
    _answer("sites", ("site", "kind", "class"), rows, json)


@app.command()
def runs(
    folder: Annotated[Path, typer.Argument(help="Where the runs lie.")] = Path("runs"),
    json: Json = False,
) -> None:
    """Runs below a folder, with what became of them."""
    from collapse_lab.runs import Run

    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}; runs are made with 'collapse-lab train'")
    rows = []
    for path in sorted(folder.rglob("run.json")):
        record = Run(path.parent).read()
        rows.append(
            (str(path.parent), record.get("status"), record.get("step"), record.get("steps"), record.get("arm", ""))
        )
    _answer("runs", ("run", "status", "step", "of", "arm"), rows, json)


def _network(name: str) -> nn.Module:
    import torch

    from collapse_lab.models.convnext import SIZES, build_model
    from collapse_lab.models.fetch import is_address
    from collapse_lab.train.load import load_model

    if name not in SIZES and is_address(name):
        return load_model(name)
    with torch.device("meta"):
        published = SIZES[name].published is not None
        return build_model(name) if published else build_model(name, response="grn", layer_scale=None)


def _first_line(thing: object) -> str:
    return (thing.__doc__ or "").strip().split("\n")[0]


def _joined(numbers: tuple[int, ...]) -> str:
    return "-".join(map(str, numbers))


def _published(size: Any) -> str:
    if size.published is None:
        return "not published"
    response, layer_scale = size.published
    return f"response {response}, layer_scale {layer_scale}"
