"""log.jsonl: one object a logged step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from collapse_lab.runs import write_text


def append(path: Path, record: dict[str, Any]) -> None:
    """Add one line."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")


def read(path: Path) -> list[dict[str, Any]]:
    """All whole lines; a line that an interruption tore is left out."""
    records = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return records


def cut(path: Path, step: int) -> None:
    """Drop what was logged after `step`, so that a resumed run says everything once."""
    kept = [record for record in read(path) if record["step"] <= step]
    write_text(path, "".join(json.dumps(record) + "\n" for record in kept))
