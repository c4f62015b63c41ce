"""Pictures in rows and columns, with headings, as one image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from collapse_lab.runs import write_atomically

Array: TypeAlias = np.ndarray[Any, Any]

TILE = 224
"""Tiles are scaled by the whole number that brings them nearest to this side, larger ones not at all."""
GAP, MARGIN, LABEL = 12, 28, 180
INK, FADED, PAPER = "#1c1c1c", "#5a5a5a", "white"
TEXT, SMALL, LINE = 15, 13, 19
"""Sizes of headings and of other text, and from one line to the next, in pixels."""


def tiles(columns: Mapping[str, Array], *, rows: Sequence[Sequence[str]], caption: Sequence[str]) -> Image.Image:
    """One row an image, one column a heading; `rows` are the lines beside each row, `caption` paragraphs below.

    `columns` hold (N, C, H, W) values, black 0 and white 1, all of one shape; what lies outside is clipped, NaN is
    black. Three channels or more: the first three are red, green and blue; fewer: the first is shown as grey. Pixels
    are repeated, never smoothed. Raises ValueError where shapes or rows differ.
    """
    shapes = {values.shape for values in columns.values()}
    if len(shapes) != 1 or next(iter(shapes))[0] != len(rows):
        raise ValueError(f"tiles need columns of one shape and a line a row, got {shapes} for {len(rows)} rows")
    scale = max(1, round(TILE / max(next(iter(shapes))[2:])))
    height, width = (side * scale for side in next(iter(shapes))[2:])
    heading, small = _font(TEXT, "-Bold"), _font(SMALL)
    beside = [[_shortened(line, small, LABEL) for line in lines] for lines in rows]

    left = MARGIN + max((round(small.getlength(line)) + 2 * GAP for lines in beside for line in lines), default=0)
    top = MARGIN + 2 * TEXT
    across = max(width, *(round(heading.getlength(name)) for name in columns)) + GAP
    down = max(height, *(len(lines) * LINE for lines in beside), 0) + GAP
    right, below = left + across * len(columns) - GAP, top + down * len(rows) + GAP
    text = [line for paragraph in caption for line in _wrapped(paragraph, small, right - MARGIN)]

    page = Image.new("RGB", (right + MARGIN, below + len(text) * LINE + MARGIN), PAPER)
    pen = ImageDraw.Draw(page)
    for column, (name, values) in enumerate(columns.items()):
        pen.text((left + column * across, MARGIN), name, fill=INK, font=heading)
        for row, tile in enumerate(values):
            drawn = _picture(tile).resize((width, height), Image.Resampling.NEAREST)
            page.paste(drawn, (left + column * across, top + row * down))
    for row, lines in enumerate(beside):
        for number, line in enumerate(lines):
            pen.text((MARGIN, top + row * down + number * LINE), line, fill=FADED if number else INK, font=small)
    for number, line in enumerate(text):
        pen.text((MARGIN, below + number * LINE), line, fill=FADED, font=small)
    return page


def write_png(picture: Image.Image, path: Path, description: str) -> Path:
    """Write it whole or not at all, with `description` in the file too (PNG's keyword Description).

    Raises ValueError for a name that is no PNG's, OSError where it cannot be written.
    """
    if path.suffix.lower() != ".png":
        raise ValueError(f"a picture is written as PNG: give a name that ends in .png, not {path}")
    text = PngInfo()
    text.add_itxt("Description", description)
    write_atomically(path, lambda part: picture.save(part, format="PNG", pnginfo=text))
    return path


def _picture(values: Array) -> Image.Image:
    """(C, H, W) as red, green and blue bytes."""
    coloured = values[:3] if len(values) >= 3 else np.repeat(values[:1], 3, axis=0)
    clipped = np.clip(np.nan_to_num(coloured, nan=0.0), 0, 1)
    return Image.fromarray(np.round(clipped * 255).astype(np.uint8).transpose(1, 2, 0))


def _font(size: int, weight: str = "") -> Any:
    """DejaVu Sans, which comes with matplotlib: the same text on every machine."""
    import matplotlib

    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"DejaVuSans{weight}.ttf", size)


def _wrapped(paragraph: str, font: Any, width: float) -> Iterator[str]:
    """Lines of whole words, no wider than `width`, a single word apart."""
    line = ""
    for word in paragraph.split():
        longer = f"{line} {word}".strip()
        if line and font.getlength(longer) > width:
            yield line
            longer = word
        line = longer
    yield line


def _shortened(line: str, font: Any, width: float) -> str:
    """The line, or an ellipsis and its end, which tells files apart."""
    if font.getlength(line) <= width:
        return line
    while line and font.getlength(f"…{line}") > width:
        line = line[1:]
    return f"…{line}"
