"""What factors and arms change at each site, with intervals, as arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from collapse_lab.capture.sites import kind_of
from collapse_lab.findings.compare import Comparison
from collapse_lab.findings.places import places_of
from collapse_lab.report.colours import stroke_places
from collapse_lab.report.layout import Layout
from collapse_lab.report.packing import packed
from collapse_lab.report.payload_metrics import STATUSES, places_among

KINDS = ("effect", "interaction", "difference")
"""In the order in which they are listed; where there are factors, differences wait until they are asked for."""


def effect_arrays(layout: Layout, comparison: Comparison | None) -> dict[str, Any] | None:
    """`value` (bias-corrected), low and high: float32 (headline metric, contrast, place), NaN = none; status: a place
    in STATUSES. `places` are the detailed sites in depth's order, or what arms of unequal depth were compared at, which
    is no site (`site` None). None where nothing was compared at a site."""
    if comparison is None or not layout.sites:
        return None
    places, metrics = _places(layout, comparison), list(layout.policy)
    rows = comparison.last
    rows = rows[rows.kind.isin(KINDS) & rows.metric.isin(metrics) & rows.site.isin([place["name"] for place in places])]
    if rows.empty:
        return None
    kinds = dict(zip(rows.contrast, rows.kind, strict=True))
    names = sorted(kinds, key=lambda name: KINDS.index(kinds[name]))  # of one kind, as they were compared
    shape = (len(metrics), len(names), len(places))
    numbers = {name: np.full(shape, np.nan, dtype=np.float32) for name in ("value", "low", "high")}
    status = np.zeros(shape, dtype=np.uint8)
    where = (
        places_among(rows.metric, metrics),
        places_among(rows.contrast, names),
        places_among(rows.site, [place["name"] for place in places]),
    )
    for name, array in numbers.items():
        array[where] = rows["corrected" if name == "value" else name].to_numpy(dtype=np.float32)
    status[where] = places_among(rows.status, STATUSES)
    return {
        "contrasts": _contrasts(layout, names, kinds, comparison.baseline),
        "places": places,
        **{name: packed(array, "f4") for name, array in numbers.items()},
        "status": packed(status, "u1"),
    }


def _contrasts(layout: Layout, names: list[str], kinds: dict[str, str], baseline: str) -> list[dict[str, Any]]:
    """A difference is drawn as the arm that it is of; effects in the strokes that no arm has, as far as there are."""
    first = kinds[names[0]]
    strokes = {name: stroke_places(len(layout.arms) + place) for place, name in enumerate(names)}
    strokes |= {f"{arm} - {baseline}": stroke_places(place) for place, arm in enumerate(layout.arms)}
    return [
        {
            "name": name,
            "kind": kinds[name],
            "colour": strokes[name][0],
            "dash": strokes[name][1],
            "shown": kinds[name] != "difference" or first == "difference",
        }
        for name in names
    ]


def _places(layout: Layout, comparison: Comparison) -> list[dict[str, Any]]:
    known = {
        name: {"name": name, "kind": kind_of(name), "depth": layout.depths[site], "site": site}
        for site, name in zip(layout.detailed, layout.chosen, strict=True)
    }
    compared = set(comparison.last.site)
    if compared & set(layout.sites):
        return [place for name, place in known.items() if name in compared]
    aligned = places_of(comparison.metrics, "depth")
    return [{"name": own.label, "kind": own.kind, "depth": own.depth, "site": None} for own in aligned]
