"""Everything that the page's charts draw, as one JSON document with typed arrays in it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from collapse_lab.findings.compare import LAST_THIRD, Comparison
from collapse_lab.findings.diagnose import Finding
from collapse_lab.report.colours import stroke_places
from collapse_lab.report.layout import Layout
from collapse_lab.report.packing import Packed, packed
from collapse_lab.report.payload_effects import effect_arrays
from collapse_lab.report.payload_metrics import STATUSES, Last, facts_of, headline_arrays, last_arrays
from collapse_lab.report.payload_pictures import Pictures, picture_arrays
from collapse_lab.report.payload_series import series_arrays
from collapse_lab.report.sources import Source
from collapse_lab.report.verdict import records

LOSS_POINTS = 400


def payload(
    layout: Layout,
    last: Last,
    found: Sequence[list[Finding]],
    *,
    comparison: Comparison | None = None,
    pictures: Pictures | None = None,
) -> dict[str, Any]:
    """The document: axes as lists, arrays as `packing.Packed`; a number that says a place counts in those lists."""
    places = {site: place for place, site in enumerate(layout.sites)}
    return {
        "arms": [
            dict(zip(("name", "colour", "dash"), (arm, *stroke_places(place)), strict=True))
            for place, arm in enumerate(layout.arms)
        ],
        "runs": [_run(layout, source) for source in layout.sources],
        "steps": list(layout.steps),
        "sites": list(layout.sites),
        "kinds": layout.kinds,
        "depths": list(layout.depths),
        "own_depths": _own_depths(layout),
        "late": LAST_THIRD,
        "channels": list(layout.channels),
        "detailed": list(layout.detailed),
        "policies": list(layout.policies),
        "statuses": list(STATUSES),
        "metrics": facts_of(layout),
        "headline": headline_arrays(layout),
        "last": last_arrays(last),
        "series": series_arrays(layout),
        "effects": effect_arrays(layout, comparison),
        "pictures": picture_arrays(layout, pictures),
        "findings": records(layout.sources, found, places),
    }


def _own_depths(layout: Layout) -> list[list[float]] | None:
    """(arm, site) the relative depth of each site in the network of an arm, NaN where that has no such site; None where
    all arms that were measured have the same sites."""
    found: list[list[float]] = []
    for arm in layout.arms:
        tables = [source.layers for source in layout.sources if source.arm == arm and len(source.layers)]
        rows = pd.concat([table.drop_duplicates("site")[["site", "depth"]] for table in tables]) if tables else None
        own = {} if rows is None else rows.groupby("site").depth.mean().to_dict()
        found.append([float(own.get(site, math.nan)) for site in layout.sites])
    measured = [own for own in found if not all(map(math.isnan, own))]
    return found if any(math.isnan(depth) for own in measured for depth in own) else None


def _run(layout: Layout, source: Source) -> dict[str, Any]:
    table = source.last
    step, loss = _loss(source)
    return {
        "name": source.run.name,
        "arm": list(layout.arms).index(source.arm),
        "seed": source.seed,
        "step": int(table.step.max()) if len(table) else None,
        "images": int(table.n_images.max()) if len(table) else 0,
        "loss_step": step,
        "loss": loss,
    }


def _loss(source: Source) -> tuple[Packed, Packed]:
    """(steps, losses) of at most 400 records, evenly spread."""
    records = [record for record in source.log if isinstance(record.get("loss"), int | float)]
    last, points = len(records) - 1, range(LOSS_POINTS if records else 0)
    kept = [records[place] for place in sorted({place * last // (LOSS_POINTS - 1) for place in points})]
    numbers = (np.asarray([record[name] for record in kept], dtype=float) for name in ("step", "loss"))
    step, loss = (packed(each, "f4") for each in numbers)
    return step, loss
