"""The statistics behind a path, and what `analyze` prints of the nulls they are held against."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from collapse_lab.cli import output

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("site", "positions", "metric", "value", "null", "null_value", "share", "low", "high", "n_rows", "status")


def last_capture(path: Path) -> Path | None:
    """The folder of the capture behind a path: itself, or the last one of a run; None where there is none."""
    from collapse_lab.runs import Run

    if (path / "capture.json").is_file():
        return path
    found = Run(path).captures()
    return found[max(found)] if found else None


def nulls_of(path: Path, untrained: Path | None) -> pd.DataFrame:
    """Headline metrics against every null there is of a capture, or of the last one of a run.

    Raises FileNotFoundError where a path holds no statistics, ValueError where both captures cannot be compared.
    """
    from collapse_lab.capture.store import load_capture
    from collapse_lab.findings.against import against_nulls

    twin = None if untrained is None else load_capture(_needed(untrained))
    return against_nulls(load_capture(_needed(path)), untrained=twin)


def print_nulls(table: pd.DataFrame) -> None:
    """The shares on stdout, then each reason for a missing one, once."""
    output.print_table("against nulls", COLUMNS, table[list(COLUMNS)].itertuples(index=False))
    for reason, part in table[table.reason != ""].groupby("reason", sort=False):
        metrics = ", ".join(part.metric.unique())
        output.human().print(f"  {metrics}: {reason}", markup=False)


def _needed(path: Path) -> Path:
    found = last_capture(path)
    if found is None:
        raise FileNotFoundError(
            f"{path} holds no statistics to hold against a null: give a capture's folder, or a run that has one "
            f"(make one with 'collapse-lab capture RUN')"
        )
    return found
