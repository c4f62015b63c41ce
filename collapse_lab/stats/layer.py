"""What is remembered of a layer: exact, mergeable float64 sums from which every metric is computed.

A batch, a worker and a rank are merged by the same formulas (Chan, Golub & LeVeque 1983, extended here to the moments
of third and fourth order), so the order of the images and the split into batches change nothing but rounding.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from collapse_lab.stats.images import DEAD, ImageSums
from collapse_lab.stats.latest import latest
from collapse_lab.stats.moments import EPS, merge_moments
from collapse_lab.stats.sample import KeptRows

CLEAR = 4.0
"""Layers round more than once: the null direction of a LayerNorm's float32 output comes to the floor, or above it."""


class NoScatterError(ValueError):
    """What was asked for needs the whole scatter, and only its diagonal was kept, to save memory."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerStats:
    """The statistics of one site under one position policy; C channels, rows are chosen (image, position) pairs.

    With y = x - mean: `scatter` (C, C), `third` (C,) and `fourth` are the sums over rows of y y', |y|^2 y and |y|^4.
    Where memory was short `scatter` (C,) is its diagonal, and the other two are NaN. `within` is the summed square
    distance of rows from the mean row of their image. `eps` is the relative rounding of the data, `accumulation_eps`
    that of the products in the scatter. `bad_values` counts non-finite numbers of the site and `bad_rows` the positions
    that hold one, which are left out of all else.
    """

    n_rows: int
    n_images: int
    rows_squared: float
    """Sum over images of the squared number of rows."""
    mean: Tensor
    scatter: Tensor
    third: Tensor
    fourth: float
    within: float
    minimum: Tensor
    maximum: Tensor
    absolute: Tensor
    """(C,) sum of |x|."""
    fired: Tensor
    """(C,) number of rows above zero."""
    n_units: int
    """Rows with a direction, that is, not all zero; the next two sum over x / |x| of these."""
    unit_sum: Tensor
    unit_squares: Tensor
    bad_values: int
    bad_rows: int
    images_key: int
    """Sum of the images' hashed identities: equal for equal sets of images, in any order."""
    eps: float
    accumulation_eps: float = EPS["float64"]
    images: ImageSums
    rows: KeptRows | None

    def merge(self, other: LayerStats) -> LayerStats:
        """The statistics of both sets of rows together; raises ValueError for different numbers of channels, or where
        one has the whole scatter and the other its diagonal."""
        if self.channels != other.channels:
            raise ValueError(f"statistics of {self.channels} and of {other.channels} channels cannot be merged")
        if self.has_scatter != other.has_scatter:
            raise ValueError("statistics with the whole scatter and with its diagonal alone cannot be merged")
        merged = merge_moments(self, other)
        for name in (each.name for each in fields(self) if each.name not in merged):
            merged[name] = _MERGES.get(name, operator.add)(getattr(self, name), getattr(other, name))
        return LayerStats(**merged)

    @property
    def channels(self) -> int:
        return self.mean.numel()

    @property
    def images_hash(self) -> str:
        return f"{self.images_key:016x}"

    @property
    def has_scatter(self) -> bool:
        """Whether all of the scatter is there, not its diagonal alone."""
        return self.scatter.ndim == 2

    @property
    def whole_scatter(self) -> Tensor:
        """(C, C); raises NoScatterError where only its diagonal was kept."""
        if not self.has_scatter:
            raise NoScatterError("only the diagonal of the scatter was kept, to save memory: capture with more of it")
        return self.scatter

    @property
    def energy(self) -> Tensor:
        """(C,) sum over rows of each channel's square deviation: the diagonal of the scatter."""
        return self.scatter.diagonal() if self.has_scatter else self.scatter

    @cached_property
    def mean_square(self) -> Tensor:
        """(C,) mean of x^2 of each channel, not centred."""
        mean_square: Tensor = self.variance + self.mean.square()
        return mean_square

    @cached_property
    def variance(self) -> Tensor:
        """(C,) population variance of each channel (divided by n)."""
        return self.energy / max(1, self.n_rows)

    @cached_property
    def _eigenvalues(self) -> Tensor:
        ascending: Tensor = torch.linalg.eigvalsh(self.whole_scatter)
        return ascending.flip(0).clamp(min=0)

    @property
    def noise(self) -> float:
        """Deviation that the data's own rounding gives the largest channel: 0.3 (about 1 / sqrt 12) of a step."""
        return 0.3 * self.eps * self.mean_square.max().sqrt().item()

    @cached_property
    def rounding(self) -> float:
        """Size of the singular values that the data's own rounding makes (0 for exact data)."""
        return self.noise * (math.sqrt(self.n_rows) + math.sqrt(self.channels))

    def floor_of(self, largest: float) -> float:
        """Singular values up to here are rounding, of the accumulation (given the largest one) or of the data."""
        return max(math.sqrt(self.channels * self.accumulation_eps) * largest, self.rounding)

    @cached_property
    def floor(self) -> float:
        return self.floor_of(self._eigenvalues[0].sqrt().item())

    @cached_property
    def clear_directions(self) -> int:
        """Singular values so far above the floor that no rounding inside the layer can have made them."""
        return int((self.singular_values > CLEAR * self.floor).sum())

    @cached_property
    def degenerate(self) -> bool:
        """Constant or all-zero rows: not even the largest singular value stands above rounding.

        Of a diagonal alone the largest singular value is not known; the root of all energy, its upper bound, is taken.
        """
        largest = self._eigenvalues[0] if self.has_scatter else self.energy.sum()
        return bool(largest.sqrt().item() <= self.rounding)

    @cached_property
    def singular_values(self) -> Tensor:
        """(C,) of the centred rows, descending, zero at and below the floor."""
        values = self._eigenvalues.sqrt()
        return values.where(values > self.floor, 0.0) if not self.degenerate else torch.zeros_like(values)

    @cached_property
    def uncentred_singular_values(self) -> Tensor:
        """(C,) of the rows as they are, descending, zero at and below their floor."""
        second = torch.addr(self.whole_scatter, self.mean, self.mean, alpha=self.n_rows)
        values = torch.linalg.eigvalsh(second).flip(0).clamp(min=0).sqrt()
        kept: Tensor = values.where(values > self.floor_of(values[0].item()), 0.0)
        return kept

    @property
    def moving(self) -> Tensor:
        """(C,) bool: the channel's deviation is above its own rounding and 1e-6 of the largest one. Offset-free."""
        deviation = self.variance.sqrt()
        return deviation > torch.maximum(DEAD * deviation.max(), self.eps * self.mean_square.sqrt())

    @property
    def correlation(self) -> Tensor:
        """(M, M) Pearson correlations of the M channels that are `moving`; not to be written into. Held for the last
        layer asked only: it is as large as the scatter."""
        return _correlation(self)

    @cached_property
    def correlation_singular_values(self) -> Tensor:
        """(M,) of the rows whose moving channels are centred and of unit length, descending; their squares are the
        eigenvalues of `correlation`. Zero at and below the floor of these rows."""
        chosen = self.moving
        if not chosen.any():
            return self.variance[chosen]
        values = torch.linalg.eigvalsh(self.correlation).flip(0).clamp(min=0).sqrt()
        rounding = 0.3 * self.eps * (self.mean_square / self.variance)[chosen].max().sqrt().item()
        rounding *= 1 + math.sqrt(len(values) / self.n_rows)  # as `rounding`, of channels of length 1, not sqrt(n)
        # The first always stays: a moving channel's ratio is below 1 / eps, so rounding is at most
        # 0.3 (1 + sqrt(M / n)), and the first value is at least 1 and sqrt(M / n).
        floor = max(math.sqrt(len(values) * self.accumulation_eps) * values[0].item(), rounding)
        kept: Tensor = values.where(values > floor, 0.0)
        return kept

    @cached_property
    def between_image_share(self) -> float:
        """Intra-class correlation of rows of one image, from 0 to 1; 1 where every image has one row."""
        if self.n_rows == self.n_images:
            return 1.0
        between = max(0.0, self.energy.sum().item() - self.within) / max(1, self.n_images - 1)
        within = self.within / (self.n_rows - self.n_images)
        size = (self.n_rows - self.rows_squared / self.n_rows) / max(1, self.n_images - 1)
        total = between + (size - 1) * within
        return min(1.0, max(0.0, (between - within) / total)) if total > 0 else 0.0

    @property
    def n_effective(self) -> float:
        """Rows less what the likeness of an image's rows takes away: n_rows / (1 + (k - 1) rho), k rows an image."""
        rows_per_image = self.n_rows / max(1, self.n_images)
        return self.n_rows / (1 + (rows_per_image - 1) * self.between_image_share)


@latest
def _correlation(stats: LayerStats) -> Tensor:
    chosen = stats.moving
    scatter = stats.whole_scatter if chosen.all() else stats.whole_scatter[chosen][:, chosen]
    deviation = scatter.diagonal().sqrt()
    return (scatter / deviation[:, None]).div_(deviation)


def _merge_rows(a: KeptRows | None, b: KeptRows | None) -> KeptRows | None:
    return a.merge(b) if a is not None and b is not None else None  # a sample of one side is none of the union


_MERGES: Mapping[str, Callable[[Any, Any], Any]] = {
    "minimum": torch.minimum,
    "maximum": torch.maximum,
    "eps": max,
    "accumulation_eps": max,
    "images_key": lambda a, b: (a + b) % (1 << 64),
    "images": ImageSums.merge,
    "rows": _merge_rows,
}
"""How a field of two LayerStats becomes one; the moments apart, every other field is added."""
