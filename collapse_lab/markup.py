"""How a result looks in a notebook cell: a small table, every text escaped, in the colours of the notebook."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

MOST = 40
"""Rows that are shown of a table."""
LINE = "border-bottom:1px solid rgba(128,128,128,.35);padding:.15em .6em;vertical-align:top"  # grey on white and black


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, title: str = "", note: str = "") -> str:
    """HTML of a table with a title above and a note below; beyond 40 rows it says how many are left out.

    Colours and background are the notebook's own. Numbers have four digits and stand to the right, NaN is a dash.
    """
    listed = [tuple(row) for row in rows]
    head = "".join(f'<th style="{LINE};text-align:left">{escape(column)}</th>' for column in columns)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in listed[:MOST])
    left = [f"{len(listed) - MOST} more rows"] if len(listed) > MOST else []
    below = "".join(f'<div style="opacity:.7">{escape(text)}</div>' for text in [*left, *([note] if note else [])])
    return (
        f'<div style="overflow-x:auto;font-size:90%"><div><b>{escape(title)}</b></div>'
        f'<table style="border-collapse:collapse"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
        f"{below}</div>"
    )


def _cell(value: Any) -> str:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    side = "right" if number else "left"
    return f'<td style="{LINE};text-align:{side}">{escape(_told(value))}</td>'


def _told(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
