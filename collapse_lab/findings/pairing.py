"""Kept rows of several layers, brought to the same images and positions in the same order."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor

from collapse_lab.stats.layer import LayerStats
from collapse_lab.stats.positions import LAST
from collapse_lab.stats.sample import MOST_ROWS, KeptRows

FEWEST_COMMON = 20
"""Images in common below which nothing is compared."""


def matched_rows(layers: Sequence[LayerStats], most: int = MOST_ROWS) -> tuple[list[Tensor], Tensor]:
    """Of each layer (n, C) in float64, and the images (n,) the rows come from; at most the `most` of smallest hash.

    Layers with one row an image (pooled ones) are matched by the image's identity. Layers with several are matched by
    image and position, and must hold the same positions of every common image: the same position policy, seed, size of
    the maps and removed cells. Images that one layer lacks are left out. Raises ValueError for a layer without kept
    rows, for fewer than 20 common images, for different positions, or `most` below 20.
    """
    if most < FEWEST_COMMON:
        raise ValueError(f"at least {FEWEST_COMMON} rows are compared, got most={most}")
    samples = [_kept(stats) for stats in layers]
    single = {stats.n_rows == stats.n_images for stats in layers}
    if len(single) > 1:
        raise ValueError(
            "one layer has one row an image and another several: these are different positions; "
            "compare one position policy, best 'pooled'"
        )
    images = _common([rows.id for rows in samples])
    if len(images) < FEWEST_COMMON:
        counts = ", ".join(str(len(rows.id.unique())) for rows in samples)
        raise ValueError(
            f"{len(images)} images in common, at least {FEWEST_COMMON} are needed (kept are {counts} images): "
            f"capture the same images, under the same ids"
        )
    if single == {False}:
        _check_positions(samples, images)
    names = [rows.id if single == {True} else rows.key for rows in samples]
    chosen = names[0][torch.isin(names[0], _common(names))][:most]  # kept rows stand by ascending hash
    places = [_places(name, chosen) for name in names]
    values = [rows.values[place].to(torch.float64) for rows, place in zip(samples, places, strict=True)]
    return values, samples[0].id[places[0]]


def _kept(stats: LayerStats) -> KeptRows:
    if stats.rows is None:
        raise ValueError("no rows were kept of this layer; use positions 'pooled', or capture with keep_rows")
    return stats.rows


def _common(names: Sequence[Tensor]) -> Tensor:
    """The numbers that stand in every one, each once, ascending."""
    shared: Tensor = reduce(lambda one, other: one[torch.isin(one, other)], names).unique()
    return shared


def _check_positions(samples: Sequence[KeptRows], images: Tensor) -> None:
    """Every layer must hold the same keys of the common images, as far as every sample reaches."""
    reach = min((int(rows.key[-1]) for rows in samples if len(rows.key) == rows.limit), default=LAST)
    held = [rows.key[(rows.key <= reach) & torch.isin(rows.id, images)] for rows in samples]
    shared = len(_common(held))
    if any(len(keys) != shared for keys in held):
        counts = ", ".join(str(len(keys)) for keys in held)
        raise ValueError(
            f"the rows lie at different positions: of the {len(images)} common images {counts} rows are kept, and "
            f"{shared} at the same position; compare layers of equal maps, policy and seed, or use positions 'pooled'"
        )


def _places(names: Tensor, wanted: Tensor) -> Tensor:
    """Where each wanted number stands."""
    order = names.argsort()
    return order[torch.searchsorted(names[order], wanted)]
