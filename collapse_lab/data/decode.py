"""Encoded images to pixels, without torch: processes that only decode start in a moment."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from PIL import Image, ImageOps

from collapse_lab.parent import when_parent_ends

Content: TypeAlias = bytes | Path | None
"""An encoded image: its bytes, the file that holds them, or nothing where a row has none."""
Pixels: TypeAlias = np.ndarray[Any, np.dtype[np.uint8]]


def decode(content: Content, size: int) -> Pixels | str:
    """(size, size, 3) uint8: upright, short side scaled to `size`, centre cropped; or why it could not be read."""
    try:
        with Image.open(_source(content)) as image:
            return np.asarray(ImageOps.fit(_upright(image), (size, size), Image.Resampling.BICUBIC))
    except Exception as error:  # decoders raise whatever a broken file leads them to, also SyntaxError
        return _why(error, content)


def measure(content: Content) -> tuple[int, int] | str:
    """Width and height, upright, of an image that decodes to its last pixel; or why it does not."""
    try:
        with Image.open(_source(content)) as image:
            return _upright(image).size
    except Exception as error:  # as above
        return _why(error, content)


def decode_block(contents: Sequence[Content], size: int) -> tuple[bytes, list[tuple[int, str]]]:
    """The pixels of those that could be read, one after the other, and place and reason of those that could not."""
    decoded = [decode(content, size) for content in contents]
    failed = [(place, result) for place, result in enumerate(decoded) if isinstance(result, str)]
    return b"".join(result.tobytes() for result in decoded if not isinstance(result, str)), failed


def measure_block(contents: Sequence[Content]) -> list[tuple[int, int] | str]:
    """`measure` of each."""
    return [measure(content) for content in contents]


def serve() -> None:
    """What a decoding process does first: see to it that it ends with its parent."""
    when_parent_ends(lambda: os._exit(1))


def _source(content: Content) -> io.BytesIO | Path:
    if content is None:
        raise ValueError("the row has no image")
    return io.BytesIO(content) if isinstance(content, bytes) else content


def _why(error: Exception, content: Content) -> str:
    text = f"{type(error).__name__}: {error}"
    if isinstance(content, bytes):
        return text.partition(" <_io.BytesIO")[0]  # the address of a buffer tells nobody anything
    return text.replace(f"{content.parent}/", "") if content is not None else text


def _upright(image: Image.Image) -> Image.Image:
    """Turned as its EXIF says, in RGB of 8 bits; what makes a new image of it would lose the EXIF."""
    return _eight_bits(ImageOps.exif_transpose(image)).convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 bits scaled to 8, which a conversion would clip to white; anything else as it is, but floats.

    Mode I has 32 bits, whatever was stored in them: up to 255 they are read as the 8 bits that they fill.
    """
    if image.mode == "F":
        raise ValueError("pixels in floating point, whose white nobody knows; store 8 or 16 bits")
    if not image.mode.startswith("I"):
        return image
    values = np.asarray(image)
    if values.min() < 0 or values.max() > 65535:
        raise ValueError(f"grey values from {values.min()} to {values.max()}, expected 16 bits")
    if image.mode == "I" and values.max() <= 255:
        return image
    return Image.fromarray((values // 257).astype(np.uint8))
