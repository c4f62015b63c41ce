"""collapse-lab list"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from collapse_lab.cli import output
from collapse_lab.cli.runs import runs

if TYPE_CHECKING:
    from torch import nn

    from collapse_lab.capture.scout import Place
    from collapse_lab.models.layers import Layer

app = typer.Typer(
    help="What there is: models, recipes, layers, responses, metrics, figures, data, sites and runs.",
    no_args_is_help=True,
)
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
    from collapse_lab.models.vit import PATCH, VITS

    rows = [(name, _joined(SIZES[name].depths), _joined(SIZES[name].dims), _published(SIZES[name])) for name in SIZES]
    for name in VITS:
        size = VITS[name]
        rows.append((name, str(size.depth), str(size.width), f"patch {PATCH}, {size.heads} heads"))
    _answer("models", ("name", "depths", "dims", "published as"), rows, json)


@app.command()
def recipes(json: Json = False) -> None:
    """Configurations that 'train -c NAME' takes; each file opens with its source, command and reported result."""
    from collapse_lab.train.config import load_config
    from collapse_lab.train.recipe import about, recipes

    rows = []
    for name in (found := recipes()):
        config = load_config(found[name])
        length = f"{config.epochs:g} epochs" if config.epochs else f"{config.steps} steps"
        rows.append((name, config.model.name, config.objective.name, length, config.data.batch, about(found[name])))
    columns = ("name", "model", "objective", "length", "batch")
    _answer("recipes", (*columns, "about") if json else columns, rows if json else [row[:-1] for row in rows], json)


@app.command()
def responses(json: Json = False) -> None:
    """What can stand between the activation and the projection of a block.

    ImageNet top-1 is that of Woo et al. 2023: ConvNeXt-B, FCMAE for 800 epochs, fine-tuned for 100.
    """
    from collapse_lab.models.responses.table import RESPONSES

    rows = []
    for name in RESPONSES:
        kind = RESPONSES[name]
        rows.append((name, _first_line(kind), kind.over, "identity" if kind.identity else None, kind.top1))
    _answer("responses", ("name", "formula", "statistics over", "at the start", "ImageNet top-1"), rows, json)


@app.command()
def metrics(json: Json = False) -> None:
    """Every metric with its facts."""
    import collapse_lab.findings.registered  # noqa: F401  every metric
    from collapse_lab.metrics._metric import HEADLINE, METRICS

    rows = []
    for name in METRICS:
        facts = METRICS[name]
        low, high = (output.show(bound) for bound in facts.bounds)
        headline = "headline" if name in HEADLINE else ""
        rows.append(
            (name, headline, facts.unit, f"{low} to {high}", facts.collapse_when or "–", facts.rows, facts.source)
        )
    _answer("metrics", ("name", "", "unit", "bounds", "collapse when", "rows", "source"), rows, json)


@app.command()
def figures(json: Json = False) -> None:
    """What 'collapse-lab figure' draws."""
    from collapse_lab.report.figures import FIGURES, options_of

    rows = [(name, _first_line(FIGURES[name]), ", ".join(options_of(name))) for name in FIGURES]
    _answer("figures", ("name", "what it shows", "options"), rows, json)


@app.command()
def data(json: Json = False) -> None:
    """Sources of images and how their addresses are written."""
    from collapse_lab.data.address import FORMS, SOURCES

    _answer("data", ("name", "address"), [(name, FORMS[name]) for name in SOURCES], json)


@app.command()
def sites(
    model: Annotated[
        str,
        typer.Argument(help="A model's name, or what 'capture' takes; hub: and py: execute the code they name."),
    ],
    pattern: Annotated[list[str] | None, typer.Option("--sites", help="Only those that match, repeatable.")] = None,
    size: Annotated[int | None, typer.Option(min=1, help="Side of the image; the model's own, or 224.")] = None,
    layout: Annotated[
        list[str] | None, typer.Option("--layout", metavar="PATTERN=AXES", help="Order of a site's axes, repeatable.")
    ] = None,
    json: Json = False,
) -> None:
    """The places of a model that can be captured, as one image shows them, in the order in which they fire.

    Shape, layout and bytes are of one image; "?" where the order of the axes must be told.
    """
    from collapse_lab.capture.batches import one_image
    from collapse_lab.capture.scout import survey
    from collapse_lab.capture.sites import find_sites, match_sites
    from collapse_lab.cli.capture import read_layouts

    network, own = _opened(model)
    names = match_sites(network, pattern) if pattern else list(find_sites(network))
    image = one_image(network, size or own or 224)
    places = survey(network, names, image, read_layouts(layout or []))
    _answer("sites", SITES, [_place(place) for place in places], json)
    faults = [str(place.fault) for place in places if place.fault is not None]
    if faults and not json:
        output.human().print(f"{len(faults)} cannot be captured as they are:", *faults[:8], sep="\n  ", markup=False)


@app.command()
def layers(
    model: Annotated[str, typer.Argument(help="A model's name, a run, weights or an address.")],
    size: Annotated[int, typer.Option(min=1, help="Side of the square image, in pixels.")] = 224,
    classes: Annotated[int | None, typer.Option(min=0, help="A head of so many classes; 0: the final norm.")] = None,
    mask_ratio: Annotated[float | None, typer.Option(help="Also the MACs of the visible cells alone.")] = None,
    json: Json = False,
) -> None:
    """Parameters and MACs (products of convolutions and linear layers) of one image, by layer and stage."""
    from functools import partial

    from collapse_lab.models.layers import by_part, count_layers, total
    from collapse_lab.objectives.masking import kept_cells

    network = _network(model, classes)
    visible = None if mask_ratio is None else partial(kept_cells, mask_ratio=mask_ratio)
    image = (getattr(network, "in_channels", 3), size, size)
    counted = count_layers(network, image, visible=visible)
    parts = {name: total(own, name) for name, own in by_part(counted).items()}
    whole = total(counted, "all layers")
    if json:
        sums = {"parts": [_facts(part) for part in parts.values()], "total": {**_facts(whole), "limit": whole.limit}}
        output.print_json("layers", image=image, rows=[_facts(layer) for layer in counted], **sums)
        return
    columns = ("layer", "class", "output", "parameters", "MACs") + (() if visible is None else ("visible MACs",))
    rows = [*_with_sums(by_part(counted), parts), _cells(whole)]
    output.print_table(f"{model}, one image of {size} x {size}", columns, [row[: len(columns)] for row in rows])
    if whole.limit is not None:
        output.human().print(f"visible cells alone: {whole.limit:.2f} times fewer MACs, all that masking can save")


app.command()(runs)


SITES = ("site", "kind", "class", "shape", "layout", "bytes a row")


def _place(place: Place) -> tuple[Any, ...]:
    shape = " x ".join(map(str, place.shape))
    bytes_a_row = place.bytes_a_row or None
    layout = "?" if place.fault else place.layout
    return place.name, f"kind:{place.kind}", f"class:{place.module}", shape, layout, bytes_a_row


def _opened(name: str) -> tuple[nn.Module, int | None]:
    """A network, and the side of the images that its own configuration names."""
    from collapse_lab.models.build import MODELS
    from collapse_lab.models.weights.fetch import is_address
    from collapse_lab.runs import Run
    from collapse_lab.train.config import load_config
    from collapse_lab.train.load import open_model

    if name in MODELS or not is_address(name):
        return _network(name), None
    opened, run = open_model(name), Run(Path(name))
    return opened.model, load_config(run.config).data.size if run.exists() else opened.size


def _network(name: str, classes: int | None = None) -> nn.Module:
    import torch

    from collapse_lab.models.build import MODELS, build_model
    from collapse_lab.models.convnext import SIZES
    from collapse_lab.models.weights.fetch import is_address
    from collapse_lab.train.load import load_model

    if name not in MODELS and is_address(name):
        return load_model(name, classes=classes)
    with torch.device("meta"):
        published = name not in SIZES or SIZES[name].published is not None
        settings: dict[str, Any] = {} if published else {"response": "grn", "layer_scale": None}
        return build_model(name, **settings, classes=classes)


def _facts(layer: Layer) -> dict[str, Any]:
    from dataclasses import asdict

    return {name: value for name, value in asdict(layer).items() if value is not None}


def _with_sums(layers: dict[str, list[Layer]], sums: dict[str, Layer]) -> Iterator[tuple[str, ...]]:
    for part, own in layers.items():
        yield from map(_cells, own)
        if len(own) > 1:
            yield _cells(sums[part])


def _cells(layer: Layer) -> tuple[str, ...]:
    """A layer as text; of its output without the image axis."""
    shape = "" if layer.shape is None else " x ".join(map(str, layer.shape[1:]))
    macs = "" if layer.visible_macs is None else f"{layer.visible_macs:,}"
    return layer.name, layer.kind, shape, f"{layer.parameters:,}", f"{layer.macs:,}", macs


def _first_line(thing: object) -> str:
    return (thing.__doc__ or "").strip().split("\n")[0]


def _joined(numbers: tuple[int, ...]) -> str:
    return "-".join(map(str, numbers))


def _published(size: Any) -> str:
    if size.published is None:
        return "not published"
    response, layer_scale = size.published
    return f"response {response}, layer_scale {layer_scale}"
