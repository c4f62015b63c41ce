"""log.jsonl: one object a logged step."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from collapse_lab.runs import read_lines as read
from collapse_lab.runs import write_text

LOW = ("loss",)
HIGH = ("top1", "top5", "accuracy")
"""Endings of the names whose lowest, and whose highest, value is the best."""
AVERAGED = "_averaged"
"""What may stand behind them: of the averaged weights."""


def append(path: Path, record: dict[str, Any]) -> None:
    """Add one line; what is not finite, which JSON has not, becomes null. Raises OSError naming the file."""
    plain = {name: None if _lost(value) else value for name, value in record.items()}
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(plain) + "\n")
    except OSError as error:
        what = f"cannot write {path}: {error.strerror or error}; check free space and permissions, nothing old is lost"
        raise OSError(error.errno, what) from error


def cut(path: Path, step: int) -> None:
    """Drop what was logged after `step`, so that a resumed run says everything once."""
    if path.is_file():
        kept = [record for record in read(path) if record["step"] <= step]
        write_text(path, "".join(json.dumps(record) + "\n" for record in kept))


def best(records: Iterable[dict[str, Any]]) -> dict[str, tuple[float, int]]:
    """The best value of every quantity that has one, by name, and the step of its first."""
    found: dict[str, tuple[float, int]] = {}
    for record in records:
        for name, value in record.items():
            plain = name.removesuffix(AVERAGED)
            sign = -1 if plain.endswith(LOW) else 1 if plain.endswith(HIGH) else 0
            known = found.get(name)
            if sign and isinstance(value, int | float) and (known is None or sign * value > sign * known[0]):
                found[name] = (value, record["step"])
    return found


def _lost(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)
