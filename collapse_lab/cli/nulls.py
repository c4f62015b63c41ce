"""The statistics behind a path, and what `analyze` prints of the nulls they are held against."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from collapse_lab.cli import output

if TYPE_CHECKING:
    import pandas as pd

    from collapse_lab.capture.store import Capture

COLUMNS = ("site", "positions", "metric", "value", "null", "null_value", "share", "low", "high", "n_rows", "status")


def last_capture(path: Path) -> Path | None:
    """The folder of the capture behind a path: itself, or the last one of a run; None where there is none."""
    from collapse_lab.runs import Run

    if (path / "capture.json").is_file():
        return path
    found = Run(path).captures()
    return found[max(found)] if found else None


def nulls_of(path: Path, twin: Capture | None) -> tuple[Path, pd.DataFrame]:
    """The folder of a capture, or of the last one of a run, and its headline metrics against every null there is.

    Raises FileNotFoundError where a path holds no statistics, ValueError where both captures cannot be compared.
    """
    from collapse_lab.capture.store import load_capture
    from collapse_lab.findings.against import against_nulls

    folder = last_capture(path)
    if folder is None:
        raise FileNotFoundError(
            f"{path} holds no statistics to hold against a null: give a capture's folder, or a run that has one "
            f"(make one with 'collapse-lab capture RUN')"
        )
    measured = load_capture(folder, groups=False)
    with output.progress(len(measured), "sites against nulls") as on_site:
        return folder, against_nulls(measured, untrained=twin, on_site=on_site)


def found_of(twin: Capture | None, thresholds: Path | None) -> set[tuple[str, str]] | None:
    """(kind, site) of what is found of the untrained network as well; None where none is given."""
    from collapse_lab.findings.diagnose import diagnose

    if twin is None:
        return None
    return {(finding.kind, finding.site) for finding in diagnose(twin, thresholds=thresholds)}


def print_nulls(folder: Path, table: pd.DataFrame) -> None:
    """The shares on stdout, then each reason for a missing one, once."""
    rows = table[list(COLUMNS)].itertuples(index=False)
    output.print_table(f"{folder} against nulls", COLUMNS, rows)
    for reason, part in table[table.reason != ""].groupby("reason", sort=False):
        output.human().print(f"  {', '.join(part.metric.unique())}: {reason}", markup=False)
