"""Numbers as text that a page can carry: typed arrays in base64, logarithms in 16 bits, JSON that no name can break."""

from __future__ import annotations

import base64
import json
import math
from typing import Any, TypedDict

import numpy as np

Array = np.ndarray[Any, Any]
TYPES = {"f4": "<f4", "u1": "|u1", "u2": "<u2", "u4": "<u4"}
"""What a page's typed arrays are called here, and what they are in numpy: little-endian, as every browser is."""
STEPS = 65_534
"""Steps of a logarithm between the least and the largest of its numbers; 0 of the 65,536 codes stands for no number."""


class Packed(TypedDict):
    """A typed array in base64, in C order."""

    type: str
    shape: list[int]
    data: str


def packed(values: Array, kind: str) -> Packed:
    """An array as `kind` ("f4", "u1", "u2", "u4"); raises KeyError for another."""
    plain = np.ascontiguousarray(values, dtype=TYPES[kind])
    return {"type": kind, "shape": list(plain.shape), "data": base64.b64encode(plain.tobytes()).decode("ascii")}


def log_codes(values: Array) -> tuple[Array, list[float]]:
    """(codes as uint16, [low, high] as logarithms to base 10) of numbers of any shape; 0 = not a positive number.

    A number comes back as 10 ** (low + (code - 1) / STEPS * (high - low)), to (high - low) / STEPS of a decade: under
    0.02 % over ten decades.
    """
    numbers = np.asarray(values, dtype=float)
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.where((numbers > 0) & np.isfinite(numbers), np.log10(numbers), np.nan)
    known = np.isfinite(logs)
    if not known.any():
        return np.zeros(numbers.shape, dtype=np.uint16), [0.0, 0.0]
    low, high = float(logs[known].min()), float(logs[known].max())
    share = (logs - low) / (high - low) if high > low else np.zeros_like(logs)
    return np.where(known, 1 + np.round(np.where(known, share, 0.0) * STEPS), 0).astype(np.uint16), [low, high]


def script_text(value: Any) -> str:
    """JSON that may stand inside a script element: neither its end nor a comment nor a line of JavaScript begins in it.

    Numbers that are not finite become null.
    """
    text = json.dumps(_finite(value), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(name): _finite(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return value.item() if isinstance(value, np.generic) else value
