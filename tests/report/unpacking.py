"""What the page's script makes of packed arrays, in numpy."""

from __future__ import annotations

import base64

import numpy as np

from collapse_lab.report.packing import STEPS, TYPES, Array, Packed


def unpacked(pack: Packed) -> Array:
    """The array again."""
    flat = np.frombuffer(base64.b64decode(pack["data"]), dtype=TYPES[pack["type"]])
    return flat.reshape(pack["shape"])


def log_values(codes: Array, ends: list[float]) -> Array:
    """The numbers of `log_codes` again, NaN where there was none."""
    low, high = ends
    return np.where(codes > 0, 10 ** (low + (codes.astype(float) - 1) / STEPS * (high - low)), np.nan)
