"""collapse-lab data"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from collapse_lab.cli import output

if TYPE_CHECKING:
    from collapse_lab.data.check import Checked
    from collapse_lab.data.pack import Plan

EXIT_CORRUPT = 4
EVERY = 10.0
"""Seconds between two lines of progress."""

app = typer.Typer(help="Write packs of images, and check what a source holds.", no_args_is_help=True)
Uri = Annotated[str, typer.Argument(help="A folder of images, Parquet files, or hf:OWNER/NAME.")]
Workers = Annotated[int | None, typer.Option(min=0, help="Processes that decode; one a core. 0: none but this one.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


@app.command()
def pack(
    uri: Uri,
    out: Annotated[Path, typer.Argument(help="The pack's folder; train on it as packed:OUT.")],
    size: Annotated[int, typer.Option(min=1, help="Side: short side scaled to it, centre cropped.")] = 256,
    most_train: Annotated[int | None, typer.Option(min=1, help="At most so many training images, drawn.")] = None,
    most_test: Annotated[int | None, typer.Option(min=1, help="At most so many test images, drawn.")] = None,
    workers: Workers = None,
    json: Json = False,
) -> None:
    """Decode every image once, into a file that training reads through a memory map.

    The same command goes on after an interruption. Images that cannot be read are skipped and listed; more than 1 % of
    them stop.
    """
    from collapse_lab.data.pack import pack as write_pack

    asked = {"train": most_train, "test": most_test}
    most = {split: count for split, count in asked.items() if count is not None}
    splits = write_pack(
        uri, out, side=size, most=most, workers=workers, on_plan=_say_plan, on_block=_progress("packed")
    )
    skipped = {split: list(done.skipped) for split, done in splits.items()}
    for line in (line for lines in skipped.values() for line in lines):
        output.human().print(f"skipped {line}", markup=False)
    if json:
        counts = {split: len(done) for split, done in splits.items()}
        checksums = {split: done.checksum() for split, done in splits.items()}
        output.print_json("pack", path=out, size=size, images=counts, fingerprints=checksums, skipped=skipped)
    else:
        for split, done in splits.items():
            output.human().print(f"{split}: {len(done):,} images of {size} x {size}, {len(done.skipped)} skipped")
        print(f"packed:{out}")


@app.command()
def check(
    uri: Annotated[str, typer.Argument(help="Any address of images; see 'collapse-lab list data'.")],
    workers: Workers = None,
    json: Json = False,
) -> None:
    """Count classes and sizes, and decode every image; exit code 4 when any is corrupt."""
    from collapse_lab.data.check import check as check_source

    found = check_source(uri, workers=workers, on_images=_progress("checked"))
    if json:
        output.print_json("data check", uri=uri, splits={split: _facts(each) for split, each in found.items()})
    else:
        rows = [(split, *row) for split, each in found.items() for row in _rows(each)]
        output.print_table("data", ("split", "what", "", "images"), rows)
    corrupt = [(split, line) for split, each in found.items() for line in each.corrupt]
    for split, line in corrupt:
        output.human().print(f"corrupt: {split}: {line}", markup=False)
    if corrupt:
        raise typer.Exit(EXIT_CORRUPT)


def _rows(checked: Checked) -> list[tuple[str, str, int]]:
    """One line for all, one a class, one a size (the ten most frequent), one for what is corrupt."""
    classes = [("class", name or "(none)", count) for name, count in checked.classes.items()]
    sizes = sorted(checked.sizes.items(), key=lambda pair: -pair[1])
    listed = [("size", f"{width} x {height}", count) for (width, height), count in sizes[:10]]
    rest = [("size", f"{len(sizes) - 10} others", sum(count for _, count in sizes[10:]))] if len(sizes) > 10 else []
    return [("all", "", checked.images), *classes, *listed, *rest, ("corrupt", "", len(checked.corrupt))]


def _facts(checked: Checked) -> dict[str, object]:
    sizes = [{"width": width, "height": height, "images": count} for (width, height), count in checked.sizes.items()]
    return {"images": checked.images, "classes": checked.classes, "sizes": sizes, "corrupt": list(checked.corrupt)}


def _say_plan(plan: Plan) -> None:
    counts = " and ".join(f"{count:,} of {split}" for split, count in plan.images.items())
    output.human().print(
        f"{counts}: {plan.needed / 2**30:.2f} GiB to write, {plan.free / 2**30:.1f} GiB free", markup=False
    )


def _progress(what: str) -> Callable[[int], None]:
    """A plain line now and then."""
    console, said = output.human(), time.monotonic()

    def on_count(count: int) -> None:
        nonlocal said
        if time.monotonic() - said >= EVERY:
            said = time.monotonic()
            console.print(f"{what} {count:,}")

    return on_count
