"""collapse-lab runs"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from collapse_lab.cli import output

if TYPE_CHECKING:
    from collapse_lab.runs import Run

SPANS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
"""Units of an age and their seconds, the longest first."""


def runs(
    folder: Annotated[Path, typer.Argument(help="Where the runs lie.")] = Path("runs"),
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Runs below a folder: what became of them, how far they are, and their best numbers.

    A run that says it is running, but that no process works on any more, is shown as interrupted.
    """
    from collapse_lab.runs import Run

    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}; runs are made with 'collapse-lab train'")
    rows = [_facts(Run(path.parent)) for path in sorted(folder.rglob("run.json"))]
    if json:
        output.print_json("runs", rows=rows)
        return
    columns = ("run", "status", "step", "loss", "best", "age", "arm")
    output.print_table("runs", columns, [_cells(row) for row in rows])


def _facts(run: Run) -> dict[str, Any]:
    """One run; `loss` is None where nothing was logged, `age` the seconds since it was last written to.

    The step of one that stopped is that which it goes on from.
    """
    from collapse_lab.runs import read_lines
    from collapse_lab.train.log import best

    record, lines = run.read(), read_lines(run.log)
    status, logged = run.status(), lines[-1] if lines else {}
    reached = logged.get("step", 0) if status == "running" else max(run.checkpoints(), default=0)
    written = max(path.stat().st_mtime for path in (run.path / "run.json", run.log) if path.is_file())
    return {
        "run": str(run.path),
        "status": status,
        "step": max(record.get("step") or 0, reached),
        "steps": record.get("steps"),
        "loss": next((line["loss"] for line in reversed(lines) if "loss" in line), None),
        "best": {name: {"value": value, "step": at} for name, (value, at) in best(lines).items()},
        "age": round(datetime.now(UTC).timestamp() - written),
        "arm": record.get("arm"),
    }


def _cells(row: dict[str, Any]) -> tuple[Any, ...]:
    best = ", ".join(f"{name} {output.show(each['value'])} at {each['step']}" for name, each in row["best"].items())
    how_far = f"{output.show(row['step'])}/{output.show(row['steps'])}"
    return row["run"], row["status"], how_far, row["loss"], best or None, _span(row["age"]), row["arm"]


def _span(seconds: int) -> str:
    """A time in its longest unit."""
    unit, length = next(((unit, length) for unit, length in SPANS if seconds >= length), SPANS[-1])
    return f"{max(0, seconds) // length} {unit}"
