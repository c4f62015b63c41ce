"""How a capture is made beside of what: what is kept, in how much memory, and how it goes on when it is stopped."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from collapse_lab.capture.budget import Budget

PARTS = ".parts"
"""Where in a capture's folder lies what an interrupted pass has done."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Settings of `capture` and of `Capture.save`; `save_every` so many batches what was done is saved (0: never)."""

    keep_rows: int = 0
    keep_maps: int = 0
    keep_groups: bool = False
    rows_dtype: str | None = None
    memory_limit: int | None = None
    accumulation: Literal["float64", "float32"] = "float64"
    save_every: int = 0
    on_budget: Callable[[Budget], object] | None = None

    def settings(self, folder: Path) -> dict[str, Any]:
        """For `capture`, of a capture that will lie in `folder`: what is saved on the way lies there as well."""
        parts = {"save_to": folder / PARTS, "save_every": self.save_every} if self.save_every else {}
        return {
            "keep_rows": self.keep_rows,
            "keep_maps": self.keep_maps,
            "keep_groups": self.keep_groups,
            "memory_limit": self.memory_limit,
            "accumulation": self.accumulation,
            "on_budget": self.on_budget,
            **parts,
        }


def forget_parts(folder: Path) -> None:
    """Delete what an interrupted pass left behind, once another has ended well."""
    shutil.rmtree(folder / PARTS, ignore_errors=True)


PLAIN = Asked()
"""Nothing but what is kept anyhow."""
