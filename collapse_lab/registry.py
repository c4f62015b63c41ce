"""A named table: a duplicate raises, an unknown name raises with the nearest one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


def nearest(name: str, names: Iterable[str]) -> str:
    """The end of an error message: the nearest name if one is near, and what there is."""
    names = list(names)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"; did you mean {close[0]!r}? There is: " if close else "; there is: "
    shown = ", ".join(names[:8]) + (f" ... ({len(names)} in all)" if len(names) > 8 else "")
    return hint + (shown or "nothing")


class Registry(Generic[T]):
    """Names to values in the order they were added, for one kind of thing ("model", "metric", ...)."""

    def __init__(self, kind: str, entries: dict[str, T] | None = None) -> None:
        self.kind = kind
        self._entries: dict[str, T] = dict(entries or {})

    def add(self, name: str, value: T) -> T:
        """Add one entry; raises ValueError if the name is taken."""
        if name in self._entries:
            raise ValueError(f"the {self.kind} {name!r} is defined twice")
        self._entries[name] = value
        return value

    def __getitem__(self, name: str) -> T:
        if name not in self._entries:
            raise LookupError(f"no {self.kind} is called {name!r}{nearest(name, self._entries)}")
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)
