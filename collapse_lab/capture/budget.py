"""What a pass will hold in memory and write to disk, known before it begins, and how it is made to fit a limit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from collapse_lab.capture.scout import Place
from collapse_lab.stats.sample import MOST_ROWS
from collapse_lab.stats.site import rows_that_wait

WIDEST = 1024
"""Sites with more channels are wide: 16 matrices of 8 MB a policy fit in memory, of 75 MB they do not."""

FEWER = (16, 8, 4, 1)
"""Numbers of groups that are tried, of those below what was asked; one group means no intervals."""

DOUBLE, SINGLE = 8, 4


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How a pass is set up: groups of images, the `wide` sites, whose matrices are of all images alone, and those of
    which only the diagonal of the scatter is kept.

    `memory` and `disk` are the bytes that the statistics take, at most, beside the model, the images of one batch and
    float64 copies of a few of these; they do not depend on the number of images. `notes` say what was given up.
    """

    groups: int
    wide: tuple[str, ...]
    diagonal: tuple[str, ...]
    memory: int
    disk: int
    notes: tuple[str, ...] = ()

    def told(self) -> str:
        """In a sentence, and what was given up."""
        return "; ".join([f"statistics take {size(self.memory)} of memory and {size(self.disk)} on disk", *self.notes])


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What is to be held: groups of images, `keep` rows a site, the groups' own sums after the pass (`keep_groups`),
    and what was done so far, `saved` on the way."""

    policies: Sequence[str]
    groups: int
    keep: int = 0
    keep_groups: bool = False
    saved: bool = False


def plan(places: Sequence[Place], wish: Wish, limit: int | None = None) -> Budget:
    """The set-up that was asked for, or the nearest that fits into `limit` bytes: first fewer groups of images, then
    the diagonals alone of the widest sites. Raises ValueError where even that does not fit, with what would."""
    groups = wish.groups
    tried = [groups, *(fewer for fewer in FEWER if fewer < groups)]
    for count in tried:
        found = _budget(places, replace(wish, groups=count), ())
        if limit is None or found.memory <= limit:
            return found if count == groups else _noted(found, groups, places)
    widest = sorted(places, key=lambda place: -place.channels)
    for number in range(1, len(widest) + 1):
        found = _budget(places, replace(wish, groups=1), tuple(place.name for place in widest[:number]))
        if found.memory <= (limit or 0):
            return _noted(found, groups, places)
    raise ValueError(
        f"the statistics of these {len(places)} sites take {size(found.memory)} at least, more than the limit of "
        f"{size(limit or 0)}; choose fewer sites or position policies, keep fewer rows, or raise the limit"
    )


def _noted(found: Budget, groups: int, places: Sequence[Place]) -> Budget:
    notes = []
    if found.groups != groups:
        fewer = f"{found.groups} groups" if found.groups > 1 else "1 group"
        without = ", no intervals over images" if found.groups < 2 else ""
        notes.append(f"to fit the memory limit: {fewer} of images instead of {groups}{without}")
    if found.diagonal:
        named = ", ".join(found.diagonal[:3]) + (" ..." if len(found.diagonal) > 3 else "")
        notes.append(
            f"of {len(found.diagonal)} of {len(places)} sites ({named}) channels alone, no spectrum and no correlation"
        )
    return replace(found, notes=tuple(notes))


def _budget(places: Sequence[Place], wish: Wish, diagonal: tuple[str, ...]) -> Budget:
    wide = tuple(place.name for place in places if place.channels > WIDEST)
    memory = disk = closing = 0
    for place in places:
        channels = place.channels
        matrix = place.name not in diagonal
        square, stored = (channels**2, (channels**2 + channels) // 2) if matrix else (channels, channels)
        apart = 1 if place.name in wide else wish.groups
        waiting = rows_that_wait(channels, matrix) * channels * SINGLE
        copies = (square if wish.keep_groups else 0) + (stored if wish.saved else 0)
        for policy in wish.policies:
            kept = max(wish.keep, MOST_ROWS) if policy == "pooled" else wish.keep
            memory += apart * ((square + copies) * DOUBLE + waiting) + 3 * kept * channels * SINGLE
            disk += (stored + apart * stored * wish.keep_groups) * DOUBLE + kept * channels * SINGLE
            # When the pass ends: the group's matrices on the CPU, and those of all others, one site at a time.
            closing = max(closing, 4 * apart * square * DOUBLE)
        memory += wish.groups * 4 * channels * DOUBLE
    return Budget(groups=wish.groups, wide=wide, diagonal=diagonal, memory=memory + closing, disk=disk)


def size(count: int) -> str:
    """Bytes as a person says them."""
    for unit, step in (("GB", 1e9), ("MB", 1e6)):
        if count >= step:
            return f"{count / step:.3g} {unit}"
    return f"{count / 1e3:.3g} kB"


def read_size(text: str) -> int:
    """Bytes of "800MB", "2 GB" or a bare number of bytes; raises ValueError for anything else."""
    number = text.strip().upper().replace(" ", "")
    factor = 1.0
    for unit, step in (("GB", 1e9), ("MB", 1e6), ("KB", 1e3), ("B", 1.0)):
        if number.endswith(unit):
            number, factor = number.removesuffix(unit), step
            break
    try:
        count = int(float(number) * factor)
    except ValueError:
        raise ValueError(f"a size of memory is a number with MB or GB, such as 800MB, got {text!r}") from None
    if count < 1:
        raise ValueError(f"a size of memory is above 0, such as 800MB, got {text!r}")
    return count
