"""What is seen inside a site: correlations of channels, feature maps of a few images, and the images that dominate."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from collapse_lab.capture.glimpse import Glimpse, glimpse
from collapse_lab.capture.maps import Maps
from collapse_lab.report.layout import Layout
from collapse_lab.report.packing import Array, Packed, packed
from collapse_lab.report.sources import Source
from collapse_lab.stats.layer import LayerStats

SHOWN_SITES = 12
CHANNELS = 48
"""Channels of a correlation heatmap."""
MAPS, MAP_SIDE, MAP_IMAGES = 64, 14, 2
MOST_MAP_BYTES = 650_000
"""Of all feature maps of one page: 12 sites of 64 maps for two images and two arms."""
THUMBNAIL, DOMINATING = 48, 8

Pictures = Callable[[Sequence[Path], Sequence[int]], Mapping[int, Array]]
"""(run folders, identities of images) -> the images that are found, (channel, height, width) uint8."""


def picture_arrays(layout: Layout, pictures: Pictures | None) -> dict[str, Any]:
    """Of the sites that change most, in the first run of each arm that kept a capture of its last step.

    `runs` and `sites` are places in the layout. correlations: uint8 (run, site, 48, 48), -1 ... 1 as 1 ... 255, 0 =
    none, with `correlation_channels` (run, site, 48); maps: see `_maps`; dominating: see `_dominating`; `row_images`:
    of how many images rows were kept (run, site); `thumbnails`: identity -> PNG in base64.
    """
    runs = [run for run in _first_runs(layout) if _folder(layout.sources[run])]
    sites = widest(layout, SHOWN_SITES)
    names = [layout.sites[place] for place in sites]
    seen = [_glimpse(layout.sources[run], names) for run in runs]
    correlations = np.zeros((len(runs), len(sites), CHANNELS, CHANNELS), dtype=np.uint8)
    numbers = np.zeros((len(runs), len(sites), CHANNELS), dtype=np.uint32)
    for run, own in enumerate(seen):
        for place, site in enumerate(names):
            if site in own.stats and own.stats[site].has_scatter:
                chosen, codes = correlation(own.stats[site])
                correlations[run, place, : len(chosen), : len(chosen)] = codes
                numbers[run, place, : len(chosen)] = chosen
    dominating = [_dominating(own, names) for own in seen]
    maps = _maps(seen, names)
    wanted = [*maps["images"], *(image for own in dominating for each in own if each for image, _ in each)]
    return {
        "runs": runs,
        "sites": sites,
        "row_images": [[_row_images(own.stats.get(site)) for site in names] for own in seen],
        "correlations": packed(correlations, "u1"),
        "correlation_channels": packed(numbers, "u4"),
        **maps,
        "images": [str(image) for image in maps["images"]],
        "dominating": [[each and [[str(image), share] for image, share in each] for each in own] for own in dominating],
        "thumbnails": _thumbnails(pictures, layout, list(dict.fromkeys(wanted))),
    }


def widest(layout: Layout, most: int) -> list[int]:
    """Places of the detailed sites whose share of used directions differs most over runs and steps, ascending."""
    chosen = set(layout.chosen)
    spread: dict[str, list[float]] = {}
    for source in layout.sources:
        table = source.layers
        rows = table[(table.metric == "effective_rank") & table.site.isin(chosen)]
        for site, value, channels in zip(rows.site, rows.value, rows.channels, strict=True):
            if not math.isnan(value):
                spread.setdefault(site, []).append(value / channels)
    order = sorted(layout.detailed, key=lambda place: -np.ptp(spread.get(layout.sites[place], [0.0])))
    return sorted(order[:most])


def correlation(stats: LayerStats) -> tuple[Array, Array]:
    """(channels, their correlations as 1 ... 255) of at most 48 live channels, those of largest variance, ordered so
    that those alike stand together."""
    variance = stats.variance
    chosen = variance.argsort(descending=True, stable=True)[:CHANNELS]
    chosen = chosen[variance[chosen] > 0].sort().values
    size = variance[chosen].sqrt()
    matrix = stats.whole_scatter[chosen][:, chosen] / max(1, stats.n_rows) / size / size[:, None]
    order = _alike(matrix)
    codes = 128 + np.round(127 * np.clip(matrix.numpy()[np.ix_(order, order)], -1, 1))
    return chosen.numpy()[order], codes.astype(np.uint8)


def _alike(matrix: Tensor) -> Array:
    """An order of channels along the first direction of their correlations."""
    if len(matrix) < 2:
        return np.arange(len(matrix))
    order: Array = torch.linalg.eigh(matrix).eigenvectors[:, -1].argsort(stable=True).numpy()
    return order


def _first_runs(layout: Layout) -> list[int]:
    first: dict[str, int] = {}
    for place, source in enumerate(layout.sources):
        if _folder(source):
            first.setdefault(source.arm, place)
    return list(first.values())


def _folder(source: Source) -> Any:
    """The capture of the last step that the tables have, None where it was not kept."""
    return source.run.captures().get(int(source.last.step.max())) if len(source.last) else None


def _glimpse(source: Source, sites: Sequence[str]) -> Glimpse:
    try:
        return glimpse(_folder(source), sites)
    except ValueError:  # torn: the tables are whole, and say what was measured
        return Glimpse(stats={}, maps=Maps.none(0))


def _maps(seen: Sequence[Glimpse], sites: Sequence[str]) -> dict[str, Any]:
    """maps: for each run and site uint8 (image, channel, side, side), each image scaled by itself, or null where none
    were kept or there is no room; images: the identities, the same in every run."""
    kept = [set(own.maps.id[site].tolist()) for own in seen for site in own.maps.id]
    images = sorted(set.intersection(*kept))[:MAP_IMAGES] if kept else []
    maps: list[list[Packed | None]] = [[None] * len(sites) for _ in seen]
    room = MOST_MAP_BYTES
    for place in _spread_out(len(sites)) if images else []:
        found = [_mosaic(own.maps, sites[place], images) for own in seen]
        room -= sum(each.size for each in found if each is not None)
        if room < 0:
            break
        for run, each in enumerate(found):
            maps[run][place] = None if each is None else packed(each, "u1")
    return {"maps": maps, "images": images}


def _spread_out(count: int) -> list[int]:
    """The places from the last one on, every second one first, so that whatever ends early has seen all of depth."""
    backwards = list(range(count - 1, -1, -1))
    return backwards[::2] + backwards[1::2]


def _mosaic(maps: Maps, site: str, images: Sequence[int]) -> Array | None:
    """(image, channel, side, side) uint8 of the first 64 channels; None where positions are no square."""
    if site not in maps.values:
        return None
    values, ids = maps.values[site], maps.id[site].tolist()
    grid = math.isqrt(values.shape[1])
    if grid * grid != values.shape[1]:
        return None
    own = values[[ids.index(image) for image in images]][:, :, :MAPS].permute(0, 2, 1).unflatten(2, (grid, grid))
    small = torch.nn.functional.adaptive_avg_pool2d(own, min(grid, MAP_SIDE)).nan_to_num()
    low, high = small.amin(dim=(1, 2, 3), keepdim=True), small.amax(dim=(1, 2, 3), keepdim=True)
    scaled = (small - low) / (high - low).clamp(min=torch.finfo(small.dtype).tiny)
    whole: Array = (255 * scaled).round().to(torch.uint8).numpy()
    return whole


def _dominating(own: Glimpse, sites: Sequence[str]) -> list[list[tuple[int, float]]]:
    """Of each site the images whose kept rows hold most of the scatter, with their share; empty without kept rows."""
    return [_heaviest(own.stats[site]) if site in own.stats else [] for site in sites]


def _heaviest(stats: LayerStats) -> list[tuple[int, float]]:
    if stats.rows is None or not len(stats.rows.id):
        return []
    images, owner = stats.rows.id.unique(return_inverse=True)
    scatter = (stats.rows.values.double() - stats.rows.values.double().mean(dim=0)).square().sum(dim=1)
    by_image = scatter.new_zeros(len(images)).index_add_(0, owner, scatter)
    total = float(by_image.sum())
    if not total > 0:
        return []
    shares, places = (by_image / total).topk(min(DOMINATING, len(images)))
    return [(int(images[place]), float(share)) for share, place in zip(shares, places, strict=True)]


def _row_images(stats: LayerStats | None) -> int:
    return 0 if stats is None or stats.rows is None else len(stats.rows.id.unique())


def _thumbnails(pictures: Pictures | None, layout: Layout, wanted: Sequence[int]) -> dict[str, str]:
    if pictures is None or not wanted:
        return {}
    found = pictures([source.run.path for source in layout.sources], wanted)
    return {str(image): _png(pixels) for image, pixels in found.items()}


def _png(pixels: Array) -> str:
    """A picture of 48 pixels at most, as PNG in base64."""
    rows = np.moveaxis(np.asarray(pixels, dtype=np.uint8), 0, -1)
    image = Image.fromarray(rows[..., 0] if rows.shape[2] < 3 else np.ascontiguousarray(rows[..., :3]))
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
