"""The running sums of one site on its device: rows wait until there are enough for a matrix product to be worth it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from collapse_lab.stats.batch import ReadBatch, at_once
from collapse_lab.stats.held import Held
from collapse_lab.stats.identity import images_keys
from collapse_lab.stats.images import ImageSums
from collapse_lab.stats.inside import InsideSums
from collapse_lab.stats.layer import LayerStats
from collapse_lab.stats.moments import EPS, Accumulation, Moments
from collapse_lab.stats.positions import Chosen
from collapse_lab.stats.running import RunningMoments
from collapse_lab.stats.sample import Sampler
from collapse_lab.stats.scratch import Scratch

FEWEST_ROWS = 512
"""Rows wait for so many, or for as many as there are channels: a merge then costs less than their product."""


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """There without waiting for it: from pinned memory, when the device is a GPU and the tensor is not on it."""
    if device.type != "cuda" or tensor.is_cuda:
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def rows_that_wait(channels: int, matrix: bool) -> int:
    """How many rows of a group are collected before they are summed."""
    return max(FEWEST_ROWS, channels) if matrix else FEWEST_ROWS


class RowSums:
    """The moments of one policy's rows, apart for each of `groups` groups of images."""

    def __init__(
        self,
        groups: int,
        channels: int,
        device: torch.device,
        *,
        matrix: bool,
        accumulation: Accumulation,
        scratch: Scratch,
    ) -> None:
        self.facts = torch.zeros(groups, 3, dtype=torch.float64, device=device)
        """Of each group: images that have a row, sum of their squared numbers of rows, `within`."""
        self.scratch, self.channels = scratch, channels
        self._empty = partial(
            RunningMoments, channels, device, matrix=matrix, accumulation=accumulation, scratch=scratch
        )
        self._moments: dict[int, RunningMoments] = {}
        self._waiting: dict[int, _Waiting] = {}
        self._enough = rows_that_wait(channels, matrix)

    def add(self, rows: Chosen, within: Tensor, member: Tensor, places: Mapping[int, Tensor | slice]) -> None:
        """Take in a batch; `member` (G, N) is 1 where an image belongs to a group, `places` where each group's are."""
        count, several = rows.key.shape
        held = within.new_full((count,), several) if rows.counted is None else rows.counted.sum(dim=1).to(within.dtype)
        self.facts += member @ torch.stack([(held > 0).to(within.dtype), held.square(), within], dim=1)
        for group, own in places.items():
            counted = None if rows.counted is None else rows.counted[own].flatten()
            self._wait(group, rows.values[own].flatten(0, 1), counted)

    def moments(self, group: int) -> Moments:
        """Of all rows of a group so far."""
        self._settle(group)
        return self._moments.get(group, self._empty()).read()

    def _wait(self, group: int, values: Tensor, counted: Tensor | None) -> None:
        if counted is not None and not values.is_cuda:
            values, counted = values[counted], None
        waiting = self._waiting.get(group)
        if waiting is not None and waiting.take(values, counted):
            return
        self._settle(group)
        if len(values) >= self._enough:
            self._sum(group, values, counted)
        else:
            self._waiting[group] = _Waiting(values, self._enough)
            self._waiting[group].take(values, counted)

    def _settle(self, group: int) -> None:
        waiting = self._waiting.pop(group, None)
        if waiting is not None:
            self._sum(group, *waiting.rows())

    def _sum(self, group: int, values: Tensor, counted: Tensor | None) -> None:
        if group not in self._moments:
            self._moments[group] = self._empty()
        most = max(FEWEST_ROWS, at_once(values) // self.channels)
        for start in range(0, len(values), most):
            block = slice(start, start + most)
            x = self.scratch.doubled("x", values[block])
            self._moments[group].add(x, None if counted is None else counted[block])


def _places(group: Tensor, device: torch.device) -> dict[int, Tensor | slice]:
    """Where in a batch the images of each group are; one alone, or all, need not be copied together."""
    found = {number: torch.nonzero(group == number)[:, 0] for number in group.unique().tolist()}
    return {
        number: slice(int(own[0]), int(own[-1]) + 1) if len(own) in (1, len(group)) else to_device(own, device)
        for number, own in found.items()
    }


class _Waiting:
    """Rows that wait, copied into one block of memory: many small ones that live long would break it into pieces."""

    def __init__(self, like: Tensor, room: int) -> None:
        self.values = like.new_empty(room, like.shape[1])
        self.counted = like.new_ones(room, dtype=torch.bool) if like.is_cuda else None
        self.held = 0

    def take(self, values: Tensor, counted: Tensor | None) -> bool:
        """Whether there was room; rows of another precision have none."""
        own = slice(self.held, self.held + len(values))
        if own.stop > len(self.values) or values.dtype != self.values.dtype:
            return False
        self.values[own] = values
        if self.counted is not None and counted is not None:
            self.counted[own] = counted
        self.held = own.stop
        return True

    def rows(self) -> tuple[Tensor, Tensor | None]:
        return self.values[: self.held], None if self.counted is None else self.counted[: self.held]


class SiteSums:
    """Everything that is summed of one site; `apart`: the rows of each group of images for themselves."""

    def __init__(
        self,
        channels: int,
        device: torch.device,
        *,
        groups: int,
        apart: bool,
        keep: Mapping[str, int],
        matrix: bool,
        accumulation: Accumulation,
        scratch: Scratch,
    ) -> None:
        self.groups, self.apart, self.accumulation = groups, apart, accumulation
        self.inside = InsideSums(groups, channels, device)
        self.bad = torch.zeros(groups, 2, dtype=torch.float64, device=device)
        self.counts, self.keys = torch.zeros(2, groups, dtype=torch.int64)
        self.eps = 0.0
        several = groups if apart else 1
        self.rows = {
            policy: RowSums(several, channels, device, matrix=matrix, accumulation=accumulation, scratch=scratch)
            for policy in keep
        }
        self.samplers = {policy: Sampler(limit) for policy, limit in keep.items() if limit}

    def add(
        self, read: ReadBatch, group: Tensor, ids: Tensor, ids_here: Tensor, label: Tensor, dtype: torch.dtype
    ) -> None:
        """Take in a batch; `group` and `ids` (N,) on the CPU, `ids_here` and `label` where the features are."""
        device = ids_here.device
        self.keys.index_add_(0, group, images_keys(ids))  # wraps around at 64 bits
        self.counts.index_add_(0, group, torch.ones_like(group))
        self.eps = max(self.eps, torch.finfo(dtype).eps)
        member = to_device((group == torch.arange(self.groups)[:, None]).to(torch.float64), device)
        self.inside.add(read.inside, member)
        self.bad += member @ torch.stack([read.bad_values, read.bad_rows], dim=1).to(torch.float64)
        if self.apart:
            places = _places(group, device)
        else:
            places, member = {0: slice(None)}, torch.ones_like(member[:1])
        kept = torch.float64 if dtype == torch.float64 else torch.float32
        for policy, rows in read.rows.items():
            self.rows[policy].add(rows, read.within[policy], member, places)
            if policy in self.samplers:
                values = rows.values.to(kept)
                self.samplers[policy].take(values, rows.counted, rows.key, rows.position, ids_here, label)

    def read(self, settings: Mapping[str, Any]) -> Held:
        """Everything so far, on the CPU."""
        counts = {number: count for number, count in enumerate(self.counts.tolist()) if count} or {0: 0}
        inside = {number: self.inside.of_group(number) for number in counts}
        parts: dict[tuple[str, int], LayerStats] = {}
        for policy in self.rows:
            if self.apart:
                parts |= {(policy, number): self._part(policy, [number], inside) for number in counts}
            else:
                parts[policy, 0] = self._part(policy, list(counts), inside)
        samples = {policy: sampler.sample() for policy, sampler in self.samplers.items()}
        rows = {policy: sample.cpu() for policy, sample in samples.items() if sample is not None}
        return Held(settings=settings, parts=parts, inside=inside, counts=counts, rows=rows)

    def _part(self, policy: str, groups: list[int], inside: Mapping[int, ImageSums]) -> LayerStats:
        row_group = groups[0] if self.apart else 0
        moments, images = self.rows[policy].moments(row_group), inside[groups[0]]
        for number in groups[1:]:
            images = images.merge(inside[number])
        n_images, rows_squared, within = self.rows[policy].facts[row_group].tolist()
        bad_values, bad_rows = self.bad[groups].sum(dim=0).tolist()
        sums: dict[str, Any] = {name: value.cpu() for name, value in vars(moments).items()}
        return LayerStats(
            **sums | {name: int(sums[name]) for name in ("n_rows", "n_units")} | {"fourth": sums["fourth"].item()},
            n_images=int(n_images),
            rows_squared=rows_squared,
            within=within,
            bad_values=int(bad_values),
            bad_rows=int(bad_rows),
            images_key=int(self.keys[groups].sum()) % (1 << 64),
            eps=self.eps,
            accumulation_eps=EPS[self.accumulation],
            images=images,
            rows=None,
        )
