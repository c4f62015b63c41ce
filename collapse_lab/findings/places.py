"""Where arms are held against each other: a site that all of them have, or sites of like kind at like depth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment

from collapse_lab.capture.sites import kind_of

Align = Literal["site", "depth"]


@dataclass(frozen=True, kw_only=True)
class Place:
    """One row's place: the site that stands for it in each arm. `depth` runs from 0 (first site) to 1 (last)."""

    label: str
    kind: str
    depth: float
    sites: Mapping[str, str]


def places_of(rows: pd.DataFrame, align: Align = "site") -> list[Place]:
    """The places that all arms of a tidy table have, by ascending depth.

    "site": sites of one name. "depth": sites of one kind (`kind_of`), one to one, so that the squared distances of
    relative depth sum to the least; the arm with the fewest sites of the kind gives the places, called "block @ 0.667".
    Relative depth counts the sites that were captured, so capture the same kinds of each arm. Raises ValueError for
    another word, or where there is no such place.
    """
    if align not in ("site", "depth"):
        raise ValueError(f"sites are aligned by 'site' or by 'depth', got {align!r}")
    depths: dict[str, dict[str, float]] = {
        str(arm): {site: depth for site, depth in zip(own.site, own.depth, strict=True) if site}
        for arm, own in rows.drop_duplicates(["arm", "site"]).groupby("arm", sort=False)
    }
    if not any(depths.values()):  # bare statistics
        return [Place(label="", kind="", depth=0.0, sites=dict.fromkeys(depths, ""))]
    found = _same_names(depths) if align == "site" else _like_depths(depths)
    if not found:
        raise ValueError(_nothing_in_common(depths, align))
    return sorted(found, key=lambda place: place.depth)


def _same_names(depths: Mapping[str, Mapping[str, float]]) -> list[Place]:
    first = next(iter(depths.values()))
    common = [site for site in first if all(site in own for own in depths.values())]
    return [
        Place(label=site, kind=kind_of(site), depth=first[site], sites=dict.fromkeys(depths, site)) for site in common
    ]


def _like_depths(depths: Mapping[str, Mapping[str, float]]) -> list[Place]:
    found = []
    for kind in dict.fromkeys(kind_of(site) for site in next(iter(depths.values()))):
        own = {arm: [site for site in sites if kind_of(site) == kind] for arm, sites in depths.items()}
        ruler = min(own, key=lambda arm: len(own[arm]))
        lines = {arm: np.array([depths[arm][site] for site in sites]) for arm, sites in own.items()}
        matched = {arm: _nearest(lines[ruler], line) for arm, line in lines.items()}
        for number, depth in enumerate(lines[ruler]):
            sites = {arm: own[arm][matched[arm][number]] for arm in own}
            found.append(Place(label=f"{kind} @ {depth:.3f}", kind=kind, depth=float(depth), sites=sites))
    return found


def _nearest(few: np.ndarray, many: np.ndarray) -> list[int]:
    """Which of `many` depths stands for each of `few`: no one twice, in the same order."""
    return [int(place) for place in linear_sum_assignment((few[:, None] - many[None, :]) ** 2)[1]]


def _nothing_in_common(depths: Mapping[str, Mapping[str, float]], align: Align) -> str:
    listed = "; ".join(f"{arm} has {', '.join(list(own)[:3]) or 'none'} ..." for arm, own in depths.items())
    if align == "site" and _like_depths(depths):
        return (
            f"the arms have no site in common: {listed}. Networks of different depth are compared by "
            f"align='depth' (--align depth)"
        )
    return f"the arms have no {'site' if align == 'site' else 'kind of site'} in common: {listed}. Capture the same"
