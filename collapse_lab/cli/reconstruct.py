"""collapse-lab reconstruct"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from collapse_lab.cli import output

if TYPE_CHECKING:
    from torch import Tensor

    from collapse_lab.data.source import Images
    from collapse_lab.objectives.reconstruction import Pictures
    from collapse_lab.train.config import DataConfig
    from collapse_lab.train.methods import FCMAEConfig, MAEConfig

SHOWN = 8
"""Images of a source, unless told otherwise."""
GREY = 0.7
"""Of removed cells, between black 0 and white 1."""


def reconstruct(
    run: Annotated[Path, typer.Argument(help="The folder of a run that learned with fcmae or mae.")],
    images: Annotated[
        list[str] | None,
        typer.Argument(help="A data source, a folder, or image files; the run's own images without it."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The picture, a .png; in the run's folder without it.")] = None,
    step: Annotated[int | None, typer.Option(help="Which checkpoint; the newest without it.")] = None,
    count: Annotated[int | None, typer.Option(min=1, help=f"How many images; all files given, or {SHOWN}.")] = None,
    mask_ratio: Annotated[float | None, typer.Option(help="Share of cells to remove; the run's without it.")] = None,
    seed: Annotated[int, typer.Option(help="Which images, and which of their cells.")] = 0,
    split: Annotated[str, typer.Option(help="test or train, of a data source.")] = "test",
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """A picture of what a run predicts for removed cells. Images are scaled and cropped to the run's size."""
    from collapse_lab.data.source import normalise
    from collapse_lab.draws import Draws
    from collapse_lab.objectives import reconstruction
    from collapse_lab.report.tiles import tiles, write_png
    from collapse_lab.runs import Run
    from collapse_lab.study.tables import device
    from collapse_lab.train.config import load_config
    from collapse_lab.train.restore import load_objective

    folder = Run(run)
    objective, at = load_objective(run, step)
    config = load_config(folder.config)
    source = _open(images or [config.data.uri], split, config.data.size)
    places = source.sample(_shown(source) if count is None else count, seed)
    batch = source.batch(places)
    pixels = normalise(batch.image, config.data.mean, config.data.std).to(device())
    drawn = Draws(seed=seed, step=0, index=batch.id)
    made = reconstruction.reconstruct(objective.to(device()), pixels, mask_ratio=mask_ratio, generator=drawn)

    names, errors = [_name(source, place) for place in places.tolist()], made.error.tolist()
    rows = [[*name, f"error {output.show(error)}"] for name, error in zip(names, errors, strict=True)]
    learned = cast("FCMAEConfig | MAEConfig", config.objective)  # reconstruct has refused any other
    ratio = learned.mask_ratio if mask_ratio is None else mask_ratio
    caption = [
        f"{folder.name}, step {at}: {len(places)} of {len(source)} images of {_source(source)}, seed {seed}.",
        *_explained(made, ratio, objective.encoder.stride, learned.norm_pix),
    ]
    picture = tiles(_columns(pixels, made, config.data), rows=rows, caption=caption)
    path = write_png(picture, out or folder.path / "reconstructions" / f"step-{at:08d}.png", "\n".join(caption))
    if json:
        shown = [{"image": " ".join(name), "error": error} for name, error in zip(names, errors, strict=True)]
        output.print_json("reconstruction", path=path, step=at, mask_ratio=ratio, seed=seed, images=shown)
    else:
        print(path)


def _open(names: list[str], split: str, size: int) -> Images:
    """Files by the endings of their names; else one source."""
    from collapse_lab.data.folder import SUFFIXES, image_files
    from collapse_lab.data.source import open_images

    paths = [Path(name).expanduser() for name in names]
    if all(path.suffix.lower() in SUFFIXES and not path.is_dir() for path in paths):
        return image_files(paths, size)
    if len(names) > 1:
        raise ValueError(f"give one source of images, or image files ({', '.join(sorted(SUFFIXES))}), not {names}")
    return open_images(names[0], split, size)


def _shown(images: Images) -> int:
    """All files that were given one by one, of a source a page."""
    return min(SHOWN, len(images)) if images.split else len(images)


def _name(images: Images, place: int) -> list[str]:
    """What stands beside an image: its file's name, or its place in the split, and its class."""
    label = int(images.label[place])
    classes = [f"class {images.classes[label]}"] if label >= 0 else []
    return [Path(images.files[place]).name if images.files else f"{images.split} {place}", *classes]


def _source(images: Images) -> str:
    return f"{images.name} ({images.split})" if images.split else images.name


def _columns(pixels: Tensor, made: Pictures, data: DataConfig) -> dict[str, Any]:
    """The pictures as black 0 to white 1, removed cells grey."""
    from collapse_lab.data.source import denormalise

    original, prediction, pasted = (
        denormalise(values, data.mean, data.std).cpu() for values in (pixels, made.prediction, made.pasted)
    )
    columns = {
        "original": original,
        "masked": original.masked_fill(made.hidden.cpu(), GREY),
        "prediction": prediction,
        "prediction, visible pasted": pasted,
    }
    return {name: values.numpy() for name, values in columns.items()}


def _explained(made: Pictures, ratio: float, side: int, norm_pix: bool) -> Iterator[str]:
    """What a reader must know of such a picture."""
    removed = int(made.removed[0].sum())
    yield f"Mask ratio {ratio:g}: {removed} of {made.removed.shape[1]} cells of {side} x {side} pixels removed, grey."
    if norm_pix:
        yield (
            "The prediction is un-normalised with each cell's true mean and deviation "
            "(the prediction alone does not know them)."
        )
    unit = "pixels normalised by their cell" if norm_pix else "normalised pixels"
    yield f"Error: squared error of {unit}, averaged over the removed cells of the image."
    yield "Visible cells carry no loss: what is predicted there has no meaning."
