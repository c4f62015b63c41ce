"""One batch image by image, and the sums over any of its images: what an accumulator merges."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from collapse_lab import draws
from collapse_lab.shapes import Features
from collapse_lab.stats.images import ImageSums, PerImage, per_image
from collapse_lab.stats.layer import KeptRows, LayerStats
from collapse_lab.stats.positions import choose_positions

MOST_ROWS = 4096
"""Rows kept of a pooled site, and of an array: those with the smallest hash of image and position."""

AT_ONCE = 1 << 20
"""Numbers that are looked at together in float64: 8 MB, which a processor's cache holds."""

LARGEST = 1e70
"""A value beyond counts as not finite: the fourth moments of so many rows would leave the range of float64."""


@dataclass(frozen=True, kw_only=True)
class ReadBatch:
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


def read_batch(
    features: Features,
    ids: Tensor,
    policies: Sequence[str],
    *,
    visible: Tensor | None,
    labels: Tensor | None,
    seed: int,
    keep: int,
) -> ReadBatch:
    """Look at a batch a few images at a time: float64 copies of all of it are never held at once. See `summarise`."""
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
    return ReadBatch(
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
