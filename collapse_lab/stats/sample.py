"""Rows that are kept: a reproducible sample, the same in any order of the images and any split into batches."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from collapse_lab.stats.positions import LAST

MOST_ROWS = 4096
"""Rows kept of a pooled site, and of an array: those with the smallest hash of image and position."""

_FIELDS = ("values", "key", "id", "position", "label")


@dataclass(frozen=True, kw_only=True)
class KeptRows:
    """A reproducible sample of rows, by ascending `key` (m,), the hash of image and position.

    `values` (m, C) in float32 (float64 for such data), `id` (m,) the images they come from, `position` (m,) the places
    in these, in the order of the site's map (-1: the average of all), `label` (m,) their classes, -1 = none. At most
    `limit` are kept.
    """

    values: Tensor
    key: Tensor
    id: Tensor
    position: Tensor
    label: Tensor
    limit: int

    def chosen(self, which: Tensor) -> KeptRows:
        """The rows that `which` (m,) says: a mask, or places in order."""
        return replace(self, **{name: getattr(self, name)[which] for name in _FIELDS})

    def merge(self, other: KeptRows) -> KeptRows:
        """The rows of smallest key of both: the sample of the union, whatever the order of merging.

        Of different limits the smaller holds: beyond it one side has already let rows go.
        """
        joined = {name: torch.cat([getattr(self, name), getattr(other, name)]) for name in _FIELDS}
        return replace(self, **joined, limit=min(self.limit, other.limit)).smallest()

    def smallest(self) -> KeptRows:
        """The `limit` rows of smallest key, by ascending key; those that do not count (key LAST) behind all others."""
        if len(self.key) > 4 * self.limit:  # a partial order first: sorting many to keep few is waste
            first = self.key.topk(self.limit, largest=False, sorted=False).indices
            return self.chosen(first).smallest()
        return self.chosen(self.key.argsort(stable=True)[: self.limit])

    def counted(self) -> KeptRows:
        """Without the rows that do not count."""
        return self.chosen(self.key != LAST)

    def cpu(self) -> KeptRows:
        moved: dict[str, Any] = {name: getattr(self, name).cpu() for name in _FIELDS}
        return replace(self, **moved)


class Sampler:
    """The sample of a stream of rows: `take` each batch, `sample` at the end; nothing waits for a device."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._held: list[KeptRows] = []
        self._waiting = 0
        self._largest: int | None = None

    def take(
        self, values: Tensor, counted: Tensor | None, key: Tensor, position: Tensor, ids: Tensor, label: Tensor
    ) -> None:
        """`values` (N, k, C); `counted`, `key` and `position` (N, k); `ids` and `label` (N,). None: all count."""
        count, several = key.shape
        key = key.flatten() if counted is None else key.masked_fill(~counted, LAST).flatten()
        rows = KeptRows(
            values=values.flatten(0, 1),
            key=key,
            id=ids[:, None].expand(count, several).flatten(),
            position=position.flatten(),
            label=label[:, None].expand(count, several).flatten(),
            limit=self.limit,
        )
        if not values.is_cuda and self._largest is not None:
            rows = rows.chosen(key < self._largest)  # once the sample is full, few come into question
        self._held.append(replace(rows, values=rows.values.clone()))  # a view would keep the whole batch alive
        self._waiting += len(rows.key)
        if self._waiting > 2 * self.limit:
            self._settle()

    def sample(self) -> KeptRows | None:
        """The rows so far; None before the first."""
        self._settle()
        return self._held[0].counted() if self._held else None

    def _settle(self) -> None:
        if not self._held:
            return
        joined: dict[str, Any] = {name: torch.cat([getattr(each, name) for each in self._held]) for name in _FIELDS}
        sample = replace(self._held[0], **joined).smallest()
        self._held, self._waiting = [sample], 0
        if not sample.key.is_cuda and len(sample.key) == self.limit:
            self._largest = int(sample.key[-1])
