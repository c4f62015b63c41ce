"""From features to statistics: one batch, a stream of batches in groups of images, or a whole array."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from typing import Any, Protocol, Self, TypeVar

import numpy as np
import torch
from torch import Tensor

from collapse_lab import draws
from collapse_lab.shapes import Features, as_features
from collapse_lab.stats.batch import MOST_ROWS, read_batch
from collapse_lab.stats.identity import read_ids, told_apart
from collapse_lab.stats.images import ImageSums
from collapse_lab.stats.layer import LayerStats


def group_of(ids: Tensor, groups: int) -> Tensor:
    """(N,) the group of each image, a hash of its identity: the same in every run."""
    return draws.hashed(draws.key("groups"), ids, 1)[:, 0].remainder(groups)


class Accumulator:
    """Statistics of one site under several position policies, kept apart for `groups` groups of images.

    `update` with each batch, `merge` with another worker's accumulator, `compute` when the pass is over. A `wide` site
    has matrices of all images alone; apart by group it keeps what is summed inside the images, O(C) a group.
    """

    def __init__(
        self, policies: Sequence[str], *, seed: int = 0, groups: int = 1, keep: int = 0, wide: bool = False
    ) -> None:
        self.policies, self.seed, self.groups, self.keep = tuple(policies), seed, groups, keep
        self.wide = wide
        self._parts: dict[tuple[str, int], LayerStats] = {}
        self._inside: dict[int, ImageSums] = {}
        self._counts: Counter[int] = Counter()

    def update(
        self, features: Features, ids: Tensor, *, visible: Tensor | None = None, labels: Tensor | None = None
    ) -> None:
        """Take in one batch; see `summarise`."""
        read = read_batch(features, ids, self.policies, visible=visible, labels=labels, seed=self.seed, keep=self.keep)
        group = group_of(ids, self.groups)
        for number in group.unique().tolist():
            chosen = (group == number).nonzero()[:, 0]
            if self.wide:
                self._take_inside(number, len(chosen), read.inside.sums(chosen))
                continue
            for policy, stats in read.summed(chosen).items():
                self._take(policy, number, stats)
        if self.wide:
            for policy, stats in read.summed(torch.arange(len(ids), device=ids.device)).items():
                self._take(policy, 0, stats)

    def merge(self, other: Accumulator) -> None:
        """Take in what another accumulator of the same settings has seen; raises ValueError for other settings."""
        for name in ("policies", "seed", "groups", "keep", "wide"):
            if getattr(self, name) != getattr(other, name):
                raise ValueError(f"accumulators differ in {name}: {getattr(self, name)!r} and {getattr(other, name)!r}")
        for (policy, number), stats in other._parts.items():
            self._take(policy, number, stats)
        for number, inside in other._inside.items():
            self._take_inside(number, other._counts[number], inside)

    def compute(self, policy: str) -> tuple[LayerStats, list[LayerStats]]:
        """The statistics of all images, and those of each group that has any, in the order of the groups."""
        parts = self._groups(policy)
        return merge_all(parts), parts

    def left_out(self, policy: str) -> tuple[list[LayerStats], list[int]]:
        """The statistics without each group that has any image, by group and on the CPU, and the groups' sizes.

        Of a wide site they are shells: what is summed inside the images and the kept rows are without the group, all
        other sums are those of all images. Raises ValueError for fewer than two groups.
        """
        if not self.wide:
            parts = self._groups(policy)
            return [others.cpu() for others in leave_one_out(parts)], [part.n_images for part in parts]
        numbers, whole = sorted(self._inside), self.compute(policy)[0].cpu()
        inside = leave_one_out([self._inside[number] for number in numbers])
        shells = []
        for number, images in zip(numbers, inside, strict=True):
            rows = None if whole.rows is None else whole.rows.chosen(group_of(whole.rows.id, self.groups) != number)
            shells.append(replace(whole, images=images.cpu(), rows=rows))  # one scatter, shared
        return shells, [self._counts[number] for number in numbers]

    def _groups(self, policy: str) -> list[LayerStats]:
        return [self._parts[key] for key in sorted(self._parts) if key[0] == policy]

    def _take_inside(self, number: int, count: int, inside: ImageSums) -> None:
        before = self._inside.get(number)
        self._inside[number] = inside if before is None else before.merge(inside)
        self._counts[number] += count

    def _take(self, policy: str, number: int, stats: LayerStats) -> None:
        before = self._parts.get((policy, number))
        self._parts[policy, number] = stats if before is None else before.merge(stats)


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


def summarise(
    features: Features,
    ids: Tensor,
    policies: Sequence[str],
    *,
    visible: Tensor | None = None,
    labels: Tensor | None = None,
    seed: int = 0,
    keep: int = 0,
) -> dict[str, LayerStats]:
    """The statistics of one batch under each position policy; see `positions.choose_positions`.

    `features` (N, P, C) of a floating type; `ids` (N,) int64, the images' identities; `visible` (N, P) bool marks
    positions that are data; `labels` (N,) int64 stay with kept rows. `keep` rows are kept, of a pooled site at least
    MOST_ROWS. Raises TypeError for integers, ValueError for features without a channel.
    """
    read = read_batch(features, ids, policies, visible=visible, labels=labels, seed=seed, keep=keep)
    return read.summed(torch.arange(len(ids), device=ids.device))


def stats_of(array: Any, *, layout: str = "image position channel", labels: Any = None, ids: Any = None) -> LayerStats:
    """The statistics of an array or tensor of features, all positions; keeps up to 4,096 rows.

    `layout` names the axes in order ("image channel" is one position an image). `ids` (N,) are the images'
    identities, whole numbers or texts, their places when not given (a repeated one gets a running suffix); `labels`
    (N,) their classes, whole numbers, below 0 = none. Raises ValueError for a layout, ids or labels that do not fit,
    TypeError for integers.
    """
    # An array is copied: torch would warn of one that must not be written to.
    features = as_features(array.detach() if isinstance(array, Tensor) else torch.tensor(np.array(array)), layout)
    count, device = len(features), features.device
    identity = told_apart(range(count) if ids is None else read_ids(ids, count), Counter())
    classes = None if labels is None else read_labels(labels, count).to(device)
    return summarise(features, identity.to(device), ("all",), labels=classes, keep=MOST_ROWS)["all"].cpu()


def read_labels(given: Any, count: int) -> Tensor:
    """(count,) int64 classes; raises ValueError for another number or for what is not whole numbers."""
    labels = given.detach() if isinstance(given, Tensor) else torch.tensor(given)
    if labels.numel() != count or labels.is_floating_point():
        raise ValueError(
            f"labels must be one whole number for each of {count} images, "
            f"got shape {tuple(labels.shape)} of {str(labels.dtype).removeprefix('torch.')}"
        )
    return labels.reshape(count).long()
