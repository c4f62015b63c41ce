"""What an accumulator holds, as plain data: merged, summed up, and without each group of images."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any, Protocol, Self, TypeVar

from torch import Tensor

from collapse_lab import draws
from collapse_lab.stats.images import ImageSums
from collapse_lab.stats.layer import LayerStats
from collapse_lab.stats.sample import KeptRows

Name = TypeVar("Name")
Value = TypeVar("Value")


def group_of(ids: Tensor, groups: int) -> Tensor:
    """(N,) the group of each image, a hash of its identity: the same in every run."""
    return draws.hashed(draws.key("groups"), ids, 1)[:, 0].remainder(groups)


@dataclass(frozen=True, kw_only=True)
class Held:
    """What an accumulator holds: plain data on the CPU, to be stored, sent to another process, and merged there.

    `settings` are those of `Accumulator`; `parts` the statistics by (policy, group), without rows, of a wide site by
    (policy, 0); `inside` what is summed inside the images by group, `counts` the images of each; `rows` the kept rows
    by policy.
    """

    settings: Mapping[str, Any]
    parts: Mapping[tuple[str, int], LayerStats]
    inside: Mapping[int, ImageSums]
    counts: Mapping[int, int]
    rows: Mapping[str, KeptRows]

    @staticmethod
    def nothing(settings: Mapping[str, Any]) -> Held:
        return Held(settings=settings, parts={}, inside={}, counts={}, rows={})

    def merge(self, other: Held) -> Held:
        """What both hold; raises ValueError for other settings."""
        for name, value in self.settings.items():
            if value != other.settings[name]:
                raise ValueError(f"accumulators differ in {name}: {value!r} and {other.settings[name]!r}")
        return Held(
            settings=self.settings,
            parts=_merged(self.parts, other.parts, LayerStats.merge),
            inside=_merged(self.inside, other.inside, ImageSums.merge),
            counts=_merged(self.counts, other.counts, operator.add),
            rows=_merged(self.rows, other.rows, KeptRows.merge),
        )


def _merged(
    a: Mapping[Name, Value], b: Mapping[Name, Value], join: Callable[[Value, Value], Value]
) -> dict[Name, Value]:
    both = dict(a)
    for name, value in b.items():
        both[name] = join(both[name], value) if name in both else value
    return both


def parts_of(held: Held, policy: str) -> list[LayerStats]:
    """The statistics of each group that has any image, in the order of the groups; of a wide site one for all."""
    return [held.parts[key] for key in sorted(held.parts) if key[0] == policy]


def whole_of(held: Held, policy: str) -> LayerStats:
    """The statistics of all images with the kept rows; raises ValueError for none."""
    return replace(merge_all(parts_of(held, policy)), rows=held.rows.get(policy))


def without_each_group(held: Held, policy: str) -> tuple[list[LayerStats], list[int]]:
    """The statistics without each group that has any image, by group, and the groups' sizes.

    The kept rows are those of all images without the group's. Of a wide site all other sums but what is summed inside
    the images are those of all images: shells. Raises ValueError for fewer than two groups.
    """
    numbers, rows = sorted(held.counts), held.rows.get(policy)
    if held.settings["wide"]:
        whole = whole_of(held, policy)
        inside = leave_one_out([held.inside[number] for number in numbers])
        others = [replace(whole, images=images) for images in inside]  # one scatter, shared
    else:
        others = leave_one_out(parts_of(held, policy))
    if rows is not None:
        group = group_of(rows.id, held.settings["groups"])
        others = [
            replace(each, rows=rows.chosen(group != number)) for each, number in zip(others, numbers, strict=True)
        ]
    return others, [held.counts[number] for number in numbers]


class Mergeable(Protocol):
    def merge(self, other: Self) -> Self: ...


Merged = TypeVar("Merged", bound=Mergeable)


def merge_all(parts: Sequence[LayerStats]) -> LayerStats:
    """All parts together; raises ValueError for none."""
    if not parts:
        raise ValueError("nothing was measured: no batch came, or no image in it")
    return reduce(LayerStats.merge, parts)


def leave_one_out(parts: Sequence[Merged]) -> list[Merged]:
    """For each part all others merged, in 3 merges a part; raises ValueError for fewer than two parts."""
    if len(parts) < 2:
        raise ValueError(f"leaving one part out needs two parts, got {len(parts)}")
    before, after = [parts[0]], [parts[-1]]
    for part in parts[1:-1]:
        before.append(before[-1].merge(part))
    for part in parts[-2:0:-1]:
        after.append(part.merge(after[-1]))
    after.reverse()
    inner = [left.merge(right) for left, right in zip(before[:-1], after[1:], strict=True)]
    return [after[0], *inner, before[-1]]
