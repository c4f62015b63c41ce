"""When a number is a finding: thresholds as data, with a reason each, and as the user changes them."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from numbers import Real
from pathlib import Path
from typing import Any, Literal

from collapse_lab.registry import Registry

Limits = Mapping[str, float]
"""The value of every threshold, by name."""


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """A finding holds where `metric` lies on the side `finding` of `value`, a share or a cosine in (0, 1)."""

    metric: str
    finding: Literal["below", "above"]
    value: float
    reason: str


@cache
def published() -> Registry[Threshold]:
    """The thresholds of thresholds.toml, by name."""
    text = files("collapse_lab.findings").joinpath("thresholds.toml").read_text("utf-8")
    return Registry("threshold", {name: Threshold(**facts) for name, facts in tomllib.loads(text).items()})


def limits(changed: Mapping[str, Any] | Path | str | None = None) -> Limits:
    """Every threshold's value, with those in `changed`, a mapping or a TOML file, in place of the published ones.

    A file holds `name = value`, or tables with `value` as the published one has. Raises LookupError for an unknown
    name, ValueError for a value outside (0, 1) or a file that is no TOML, FileNotFoundError for no file.
    """
    if changed is not None and not isinstance(changed, Mapping | Path | str):
        raise TypeError(f"thresholds are values by name or a TOML file, got {type(changed).__name__}")
    known = published()
    given = _read(Path(changed)) if isinstance(changed, Path | str) else dict(changed or {})
    return {name: known[name].value for name in known} | {
        name: _checked(name, value, known[name]) for name, value in given.items()
    }


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"there is no file of thresholds {path}")
    try:
        given = tomllib.loads(path.read_text("utf-8"))
    except ValueError as error:  # bad TOML, or no text at all
        raise ValueError(f"{path} is no TOML file of thresholds: {error}") from error
    return {name: _value_of(path, name, entry) for name, entry in given.items()}


def _value_of(path: Path, name: str, entry: Any) -> Any:
    if not isinstance(entry, dict):
        return entry
    own = published()[name]  # an unknown name raises with the nearest one
    for key, told in entry.items():
        if key not in ("value", "reason") and told != getattr(own, key, None):
            raise ValueError(f"{path}: only the value of {name} can be changed, not its {key} ({told!r})")
    if "value" not in entry:
        raise ValueError(f"{path}: the table {name} has no value; write {name} = {published()[name].value:g}")
    return entry["value"]


def _checked(name: str, value: Any, threshold: Threshold) -> float:
    number = math.nan if isinstance(value, bool) or not isinstance(value, Real) else float(value)
    if not 0 < number < 1:
        raise ValueError(
            f"the threshold {name} of {threshold.metric} must be a number between 0 and 1, got {value!r} "
            f"(published: {threshold.value:g})"
        )
    return number
