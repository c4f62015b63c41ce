"""What a pass is asked for, as one record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from collapse_lab.capture.budget import Budget
from collapse_lab.capture.layouts import Layout
from collapse_lab.stats.moments import EPS, Accumulation
from collapse_lab.stats.positions import sampled_count


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Position policies, groups of images (under 2: no intervals), what is kept, and how; see `findings.table.capture`.

    `facts` are plain values that say how the images were made: two passes of different facts are never one. Raises
    ValueError for no or an unknown policy, an unknown accumulation, negative numbers, or a folder to save to without a
    rhythm, TypeError for a limit that is no number of bytes.
    """

    positions: tuple[str, ...] = ("sampled:8", "pooled")
    seed: int = 0
    groups: int = 16
    keep_rows: int = 0
    keep_maps: int = 0
    layout: Layout = None
    memory_limit: int | None = None
    accumulation: Accumulation = "float64"
    on_budget: Callable[[Budget], object] | None = None
    save_to: Path | str | None = None
    save_every: int = 0
    across_ranks: bool = True
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.positions:
            raise ValueError("no position policy was asked for; give one or more, such as ('sampled:8', 'pooled')")
        for policy in self.positions:
            sampled_count(policy)
        if self.accumulation not in EPS:
            raise ValueError(f"accumulation is {' or '.join(map(repr, EPS))}, got {self.accumulation!r}")
        if self.memory_limit is not None and not isinstance(self.memory_limit, int):
            raise TypeError(f"memory_limit is a number of bytes, such as 800_000_000, got {self.memory_limit!r}")
        if min(self.groups, self.keep_rows, self.keep_maps) < 0:
            raise ValueError(
                f"groups (under 2: no intervals), keep_rows and keep_maps are 0 or more, "
                f"got {self.groups}, {self.keep_rows} and {self.keep_maps}"
            )
        if (self.save_to is None) != (self.save_every < 1):
            raise ValueError(
                f"save_to and save_every (1 or more) belong together, got {self.save_to} and {self.save_every}"
            )
