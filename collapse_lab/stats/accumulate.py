"""From features to statistics: one batch, a stream of batches in groups of images, or a whole array."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from collapse_lab.shapes import Features, as_features
from collapse_lab.stats.batch import read_batch
from collapse_lab.stats.held import Held, group_of, parts_of, whole_of, without_each_group
from collapse_lab.stats.identity import read_ids, told_apart
from collapse_lab.stats.layer import LayerStats
from collapse_lab.stats.moments import Accumulation
from collapse_lab.stats.sample import MOST_ROWS
from collapse_lab.stats.scratch import Scratch
from collapse_lab.stats.site import SiteSums, to_device


class Accumulator:
    """Statistics of one site under several position policies, kept apart for `groups` groups of images.

    `update` with each batch, `merge` with another worker's accumulator, `compute` when the pass is over. `keep` rows
    are kept, of pooled ones at least MOST_ROWS. A `wide` site has matrices of all images alone; apart by group it keeps
    what is summed inside the images, O(C) a group. Without `matrix` only the diagonal of every scatter is kept.
    `accumulation` says how a block's products are summed: "float32" is faster and its floor higher. All sums lie on the
    features' device; on a GPU no update waits for it. Accumulators that take turns may share their `scratch`.
    """

    def __init__(
        self,
        policies: Sequence[str],
        *,
        seed: int = 0,
        groups: int = 1,
        keep: int = 0,
        wide: bool = False,
        matrix: bool = True,
        accumulation: Accumulation = "float64",
        scratch: Scratch | None = None,
    ) -> None:
        self.scratch = scratch or Scratch()
        self.policies, self.seed, self.groups, self.keep = tuple(policies), seed, groups, keep
        self.wide, self.matrix, self.accumulation = wide, matrix, accumulation
        names = ("policies", "seed", "groups", "keep", "wide", "matrix", "accumulation")
        self.settings = {name: getattr(self, name) for name in names}
        self._sums: SiteSums | None = None
        self._before: Held | None = None

    def update(
        self, features: Features, ids: Tensor, *, visible: Tensor | None = None, labels: Tensor | None = None
    ) -> None:
        """Take in one batch; see `summarise`. `ids` and `labels` are best on the CPU, where groups are chosen."""
        device, ids = features.device, ids.cpu()
        here = to_device(ids, device)
        label = torch.full_like(here, -1) if labels is None else to_device(labels, device)
        read = read_batch(features, here, self.policies, visible=visible, seed=self.seed, scratch=self.scratch)
        if self._sums is None:
            keep = {policy: max(self.keep, MOST_ROWS) if policy == "pooled" else self.keep for policy in self.policies}
            self._sums = SiteSums(
                features.shape[2],
                device,
                groups=self.groups,
                apart=not self.wide,
                keep=keep,
                matrix=self.matrix,
                accumulation=self.accumulation,
                scratch=self.scratch,
            )
        self._sums.add(read, group_of(ids, self.groups), ids, here, label, features.dtype)

    def held(self) -> Held:
        """Everything so far, plain and on the CPU; more may be taken in afterwards."""
        before = self._before or Held.nothing(self.settings)
        return before if self._sums is None else before.merge(self._sums.read(self.settings))

    def take_in(self, held: Held) -> None:
        """Merge with what another accumulator of the same settings held; raises ValueError for other settings."""
        self._before = (self._before or Held.nothing(self.settings)).merge(held)

    def merge(self, other: Accumulator) -> None:
        """Take in what another accumulator of the same settings has seen; raises ValueError for other settings."""
        self.take_in(other.held())

    def compute(self, policy: str) -> tuple[LayerStats, list[LayerStats]]:
        """The statistics of all images, and, without rows, those of each group that has any, in their order."""
        held = self.held()
        return whole_of(held, policy), parts_of(held, policy)

    def left_out(self, policy: str) -> tuple[list[LayerStats], list[int]]:
        """See `without_each_group`."""
        return without_each_group(self.held(), policy)


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
    accumulator = Accumulator(policies, seed=seed, keep=keep)
    accumulator.update(features, ids, visible=visible, labels=labels)
    held = accumulator.held()
    return {policy: whole_of(held, policy) for policy in accumulator.policies}


def stats_of(array: Any, *, layout: str = "image position channel", labels: Any = None, ids: Any = None) -> LayerStats:
    """The statistics of an array or tensor of features, all positions; keeps up to 4,096 rows.

    `layout` names the axes in order ("image channel" is one position an image). `ids` (N,) are the images'
    identities, whole numbers or texts, their places when not given (a repeated one gets a running suffix); `labels`
    (N,) their classes, whole numbers, below 0 = none. Raises ValueError for a layout, ids or labels that do not fit,
    TypeError for integers.
    """
    # An array is copied: torch would warn of one that must not be written to.
    features = as_features(array.detach() if isinstance(array, Tensor) else torch.tensor(np.array(array)), layout)
    count = len(features)
    identity = told_apart(range(count) if ids is None else read_ids(ids, count), Counter())
    classes = None if labels is None else read_labels(labels, count)
    return summarise(features, identity, ("all",), labels=classes, keep=MOST_ROWS)["all"]


def read_labels(given: Any, count: int) -> Tensor:
    """(count,) int64 classes; raises ValueError for another number or for what is not whole numbers."""
    try:
        labels = given.detach() if isinstance(given, Tensor) else torch.tensor(given)
    except (TypeError, ValueError):
        raise TypeError(f"labels must be one whole number for each of {count} images, got {given!r:.60}") from None
    if labels.numel() != count or labels.is_floating_point():
        raise ValueError(
            f"labels must be one whole number for each of {count} images, "
            f"got shape {tuple(labels.shape)} of {str(labels.dtype).removeprefix('torch.')}"
        )
    return labels.reshape(count).long()
