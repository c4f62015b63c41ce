"""Fonts for the letters of names that the figures' own font has not, as far as this machine has any."""

from __future__ import annotations

import warnings

from matplotlib.font_manager import fontManager, get_font

OWN = "DejaVu Sans"
"""Comes with matplotlib: names in its letters look the same on every machine."""
BOXES = "last resort"
"""What fonts are called that have a box for every letter."""


def families(text: str) -> list[str]:
    """OWN, then a few families of this machine that have its missing letters of a text, the one that has most first.

    Letters that no font has are named in one UserWarning; a box stands for each.
    """
    found = [OWN]
    installed = _upright()
    missing = _missing({letter for letter in text if letter.isprintable()}, installed[OWN])
    while missing:
        left = {name: _missing(missing, file) for name, file in installed.items()}
        best = min(left, key=lambda name: (len(left[name]), "Sans" not in name, name))
        if left[best] == missing:
            letters = "".join(sorted(missing))
            warnings.warn(
                f"no font on this machine has {letters[:40]!r}: boxes stand for these letters in the figure. After "
                "installing a font that has them (Noto Sans of their script, say), delete matplotlib's cache of fonts",
                stacklevel=2,
            )
            break
        found.append(best)
        missing = left[best]
    return found


def _upright() -> dict[str, str]:
    """Family -> file of its upright font of common weight; families without one are left to those who want them."""
    return {
        each.name: each.fname
        for each in fontManager.ttflist
        if each.style == "normal" and each.weight in (400, "normal", "regular") and BOXES not in each.name.lower()
    }


def _missing(letters: set[str], file: str) -> set[str]:
    font = get_font(file)
    return {letter for letter in letters if not font.get_char_index(ord(letter))}
