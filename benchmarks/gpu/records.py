"""What a part of the measurements writes down, and the options that every part has."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.gpu.device import device_of


class Writer:
    """Appends one JSON object a record; what stands there is left even when the process is killed."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self, record: Mapping[str, Any]) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")


def read(path: Path) -> list[dict[str, Any]]:
    """All whole records of a file; of one that was being written there is only a beginning, which is left out."""
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def part_of() -> argparse.ArgumentParser:
    """Where it is measured and written to."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--device", type=device_of, default="cuda", metavar="cpu|cuda")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE")
    return parser
