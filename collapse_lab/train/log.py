"""log.jsonl: one object a logged step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from collapse_lab.runs import read_lines as read
from collapse_lab.runs import write_text


def append(path: Path, record: dict[str, Any]) -> None:
    """Add one line."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")


def cut(path: Path, step: int) -> None:
    """Drop what was logged after `step`, so that a resumed run says everything once."""
    kept = [record for record in read(path) if record["step"] <= step]
    write_text(path, "".join(json.dumps(record) + "\n" for record in kept))
