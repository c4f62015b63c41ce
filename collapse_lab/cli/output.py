"""What a person reads, and the one JSON document that a program reads."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

SCHEMA = 1
UNBROKEN = ("depth", "steps", "last")
"""Columns that stay on one line where others are folded."""
NARROWEST = {"metric": 14}
"""Letters to which a column is folded, at most; 10 where nothing else is said."""


def print_json(kind: str, **content: Any) -> None:
    """One document on stdout; NaN, which JSON has not, becomes null."""
    print(json.dumps({"schema_version": SCHEMA, "kind": kind, **_plain(content)}, indent=2))


def human() -> Console:
    """The console for people: stderr, so that stdout holds results alone."""
    return _console(stderr=True, soft_wrap=True)


def _console(**options: Any) -> Console:
    """Where NO_COLOR is set, whatever its value, no escape code at all: no bold, no line that is redrawn."""
    from rich.console import Console

    if os.environ.get("NO_COLOR"):
        return Console(highlight=False, color_system=None, force_terminal=False, **options)
    return Console(highlight=False, **options)


def on_terminal() -> bool:
    """Whether results are read by a person, not by a program."""
    return sys.stdout.isatty()


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """A table on stdout: drawn on a terminal, tab-separated anywhere else."""
    if on_terminal():
        draw_table(title, columns, rows)
        return
    print("\t".join(columns))
    for row in rows:
        print("\t".join(map(show, row)))


def draw_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """A table on stdout for a person: numbers to the right, nothing cut off; columns without any value are left out."""
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    listed = [tuple(row) for row in rows]
    table = Table(
        title=escape(title),
        title_justify="left",
        title_style="bold",
        header_style="bold",
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    kept = [place for place in range(len(columns)) if not listed or any(row[place] not in ("", None) for row in listed)]
    for place in kept:
        numbers = bool(listed) and all(isinstance(row[place], int | float) for row in listed)
        longest = max((len(show(row[place])) for row in listed), default=0)
        table.add_column(
            columns[place],
            overflow="fold",
            no_wrap=columns[place] in UNBROKEN,
            min_width=min(longest, NARROWEST.get(columns[place], 10)),
            justify="right" if numbers else "left",
        )
    for row in listed:
        table.add_row(*(escape(show(row[place])) for place in kept))
    _console().print(table)


@contextmanager
def progress(total: int, what: str) -> Iterator[Callable[..., None]]:
    """A bar on stderr, where that is a terminal, that goes on by one with each call of what it gives."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = human()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=total)
        yield lambda *_: bar.advance(task)


def show(value: Any) -> str:
    """A value as text: four significant digits, a dash for none."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a table as plain values."""
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _plain(inside) for name, inside in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inside) for inside in value]
    if hasattr(value, "tolist"):  # numpy numbers and arrays
        return _plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value) if isinstance(value, Path) else value
