"""From features to statistics: one batch, a stream of batches in groups of images, or a whole array."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any, Protocol, Self, TypeVar

import numpy as np
import torch
from torch import Tensor

from collapse_lab import draws
from collapse_lab.shapes import Features, as_features
from collapse_lab.stats.identity import read_ids, told_apart
from collapse_lab.stats.images import ImageSums, PerImage, per_image
from collapse_lab.stats.layer import KeptRows, LayerStats
from collapse_lab.stats.positions import choose_positions

MOST_ROWS = 4096
"""Rows kept of a pooled site, and of an array: those with the smallest hash of image and position."""

AT_ONCE = 1 << 20
"""Numbers that are looked at together in float64: 8 MB, which a processor's cache holds."""

LARGEST = 1e70
"""A value beyond counts as not finite: the fourth moments of so many rows would leave the range of float64."""


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
        read = _read(features, ids, self.policies, visible=visible, labels=labels, seed=self.seed, keep=self.keep)
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
        parts = [self._parts[key] for key in sorted(self._parts) if key[0] == policy]
        return merge_all(parts), parts

    def left_out(self, policy: str) -> tuple[list[LayerStats], list[int]]:
        """The statistics without each group that has any image, by group and on the CPU, and the groups' sizes.

        Of a wide site they are shells: what is summed inside the images and the kept rows are without the group, all
        other sums are those of all images. Raises ValueError for fewer than two groups.
        """
        if not self.wide:
            _, parts = self.compute(policy)
            return [others.cpu() for others in leave_one_out(parts)], [part.n_images for part in parts]
        numbers, whole = sorted(self._inside), self.compute(policy)[0].cpu()
        inside = leave_one_out([self._inside[number] for number in numbers])
        shells = []
        for number, images in zip(numbers, inside, strict=True):
            rows = None if whole.rows is None else whole.rows.chosen(group_of(whole.rows.id, self.groups) != number)
            shells.append(replace(whole, images=images.cpu(), rows=rows))  # one scatter, shared
        return shells, [self._counts[number] for number in numbers]

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
    read = _read(features, ids, policies, visible=visible, labels=labels, seed=seed, keep=keep)
    return read.summed(torch.arange(len(ids), device=ids.device))


@dataclass(frozen=True, kw_only=True)
class _Read:
    """One batch, image by image, before any sum: of which groups of images take their own."""

    eps: float
    owners: Tensor
    images_key: Tensor
    bad_values: Tensor
    bad_rows: Tensor
    inside: PerImage
    rows: Mapping[str, tuple[Tensor, Tensor, Tensor]]
    keep: int
    dtype: torch.dtype

    def summed(self, chosen: Tensor) -> dict[str, LayerStats]:
        """The statistics of the chosen images under each policy."""
        shared: dict[str, Any] = {
            "eps": self.eps,
            "images": self.inside.sums(chosen),
            "bad_values": int(self.bad_values[chosen].sum()),
            "bad_rows": int(self.bad_rows[chosen].sum()),
            "images_key": int(self.images_key[chosen].sum()) % (1 << 64),
        }
        result = {}
        for policy, parts in self.rows.items():
            rows, counted, key = (part[chosen] for part in parts)
            kept = max(self.keep, MOST_ROWS) if policy == "pooled" else self.keep
            sample = _keep(rows, counted, key, self.owners[:, chosen], kept, self.dtype) if kept else None
            result[policy] = replace(_of_rows(rows, counted), rows=sample, **shared)
        return result


def _read(
    features: Features,
    ids: Tensor,
    policies: Sequence[str],
    *,
    visible: Tensor | None,
    labels: Tensor | None,
    seed: int,
    keep: int,
) -> _Read:
    """Look at a batch a few images at a time: float64 copies of all of it are never held at once."""
    if not features.is_floating_point():
        raise TypeError(
            f"statistics are taken of floating-point features, got {features.dtype}; convert them, as by .float()"
        )
    if not features.shape[2]:
        raise ValueError(f"features of shape {tuple(features.shape)} have no channel")
    eps = torch.finfo(features.dtype).eps
    few = max(1, AT_ONCE // max(1, features[0].numel())) if len(features) else 1
    bad_values, bad_rows, inside = [], [], []
    rows: dict[str, list[tuple[Tensor, Tensor, Tensor]]] = {policy: [] for policy in policies}
    for images in torch.arange(len(features), device=features.device).split(few):
        data = None if visible is None else visible[images]
        x, present, bad = _finite(features[images].to(torch.float64).contiguous(), data)
        bad_values.append(bad.sum(dim=(1, 2)))
        bad_rows.append(bad.any(dim=2).sum(dim=1))
        inside.append(per_image(x, present, eps))
        for policy in policies:
            rows[policy].append(choose_positions(x, present, ids[images], policy, seed))
    return _Read(
        eps=eps,
        owners=torch.stack([ids, torch.full_like(ids, -1) if labels is None else labels]),
        images_key=draws.hashed(draws.key("images"), ids, 1)[:, 0],
        bad_values=torch.cat(bad_values),
        bad_rows=torch.cat(bad_rows),
        inside=PerImage.joined(inside),
        rows={policy: _joined(parts) for policy, parts in rows.items()},
        keep=keep,
        dtype=torch.float64 if features.dtype == torch.float64 else torch.float32,
    )


def _finite(x: Tensor, visible: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """x (N, P, C), zero where it is no data; where it is, (N, P); its values that are not finite, (N, P, C or 1)."""
    clean = x.abs().amax(dim=2) <= LARGEST  # (N, P), False for NaN
    present = clean if visible is None else clean & visible
    if present.all():  # the usual case: nothing to clear, nothing to count
        return x, present, ~clean[:, :, None]
    bad = ~(x.abs() <= LARGEST)
    return x.masked_fill(~present[:, :, None], 0.0), present, bad if visible is None else bad & visible[:, :, None]


def _joined(parts: Sequence[tuple[Tensor, Tensor, Tensor]]) -> tuple[Tensor, Tensor, Tensor]:
    rows, counted, key = (torch.cat(each) for each in zip(*parts, strict=True))
    return rows, counted, key


def _of_rows(rows: Tensor, chosen: Tensor) -> LayerStats:
    """`rows` (N, k, C), zero where they do not count; `chosen` (N, k) says which do."""
    per_image = chosen.sum(dim=1)  # (N,)
    image_mean = rows.sum(dim=1) / per_image.clamp(min=1)[:, None]
    within = ((rows - image_mean[:, None]) * chosen[:, :, None]).square().sum().item()
    x = rows[chosen]  # (n, C)
    n, channels = x.shape
    mean = x.sum(dim=0) / max(1, n)
    y = x - mean
    scatter = (y.T @ y).triu()  # a matrix product need not be symmetric to the bit; the stored triangle is all there is
    square = y.square().sum(dim=1)
    length = x.norm(dim=1, keepdim=True)
    unit = torch.where(length > 0, x / length, 0.0)
    return LayerStats(
        n_rows=n,
        n_images=int((per_image > 0).sum()),
        rows_squared=float(per_image.square().sum()),
        mean=mean,
        scatter=scatter + scatter.triu(1).T,
        third=square @ y,
        fourth=square.square().sum().item(),
        within=within,
        minimum=x.amin(dim=0) if n else x.new_full((channels,), math.inf),
        maximum=x.amax(dim=0) if n else x.new_full((channels,), -math.inf),
        absolute=x.abs().sum(dim=0),
        fired=(x > 0).sum(dim=0).to(torch.float64),
        n_units=int((length > 0).sum()),
        unit_sum=unit.sum(dim=0),
        unit_squares=unit.square().sum(dim=0),
        bad_values=0,
        bad_rows=0,
        images_key=0,
        eps=0.0,
        images=ImageSums.none(channels, x.device),
        rows=None,
    )


def _keep(rows: Tensor, chosen: Tensor, key: Tensor, owners: Tensor, limit: int, dtype: torch.dtype) -> KeptRows:
    """The rows of smallest key; `owners` (2, N) are the identity and the label of each image."""
    order = key[chosen].argsort(stable=True)[:limit]
    identity, label = owners[:, :, None].expand(-1, *chosen.shape)[:, chosen][:, order]
    return KeptRows(values=rows[chosen][order].to(dtype), key=key[chosen][order], id=identity, label=label, limit=limit)


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
