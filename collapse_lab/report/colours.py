"""The colours and dashes of arms, the same in the page and in figures."""

from __future__ import annotations

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#6B6B6B")
"""Okabe & Ito's colours, readable with any kind of colour blindness."""
DASHES = 4
"""Patterns of dashes that the page's script has, besides the colours."""


def colour(arm: int) -> str:
    """Of an arm, by its place among the arms."""
    return COLOURS[arm % len(COLOURS)]


def stroke_places(arm: int) -> tuple[int, int]:
    """The places of an arm's colour and of its dash among those of the page."""
    return arm % len(COLOURS), arm % DASHES
