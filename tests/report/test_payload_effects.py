"""What the page carries of effects: the rows of the comparison, where they belong."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from collapse_lab.findings.compare import Comparison, compare
from collapse_lab.report.layout import Layout, layout_of
from collapse_lab.report.payload_effects import effect_arrays
from collapse_lab.report.payload_metrics import STATUSES
from collapse_lab.report.sources import Source, read_sources
from collapse_lab.report.verdict import findings_of
from tests.report.unpacking import unpacked

CELLS = {"plain": (False, False), "GRN": (True, False), "scaled": (False, True), "both": (True, True)}
FACTORS = {arm: {"grn": grn, "scale": scale} for arm, (grn, scale) in CELLS.items()}


@pytest.fixture(scope="module")
def sources(study_runs: Path) -> list[Source]:
    """Four arms of three seeds: those of the study, and the same once more under other names."""
    found = read_sources([study_runs])
    return [*found, *(replace(each, arm={"plain": "scaled", "GRN": "both"}[each.arm]) for each in found)]


def compared(sources: list[Source], **options: object) -> Comparison:
    arms: dict[str, list] = {}
    for each in sources:
        arms.setdefault(each.arm, []).append(each.metrics.assign(arm=each.arm))
    return compare(arms, baseline="plain", **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def layout(sources: list[Source]) -> Layout:
    return layout_of(sources, findings_of(sources))


def test_every_effect_and_interaction_is_carried_at_every_site_with_its_interval(sources, layout):
    comparison = compared(sources, factors=FACTORS)
    carried = json.loads(json.dumps(effect_arrays(layout, comparison)))
    names = [each["name"] for each in carried["contrasts"]]
    assert names[:3] == ["grn", "scale", "grn x scale"]
    assert [each["shown"] for each in carried["contrasts"]] == [True] * 3 + [False] * 3
    rows = comparison.last.set_index(["contrast", "metric", "site"])
    arrays = {name: unpacked(carried[name]) for name in ("value", "low", "high", "status")}
    for contrast, name in enumerate(names):
        for place, site in enumerate(carried["places"]):
            assert layout.sites[site["site"]] == site["name"]
            for metric, judged in enumerate(layout.policy):
                row = rows.loc[name, judged, site["name"]]
                where = (metric, contrast, place)
                assert arrays["value"][where] == pytest.approx(row.corrected, rel=1e-6, nan_ok=True)
                assert arrays["low"][where] == pytest.approx(row.low, rel=1e-6, nan_ok=True)
                assert arrays["high"][where] == pytest.approx(row.high, rel=1e-6, nan_ok=True)
                assert STATUSES[arrays["status"][where]] == row.status


def test_a_factor_without_any_effect_lies_at_zero_and_a_difference_wears_its_arm(sources, layout):
    carried = effect_arrays(layout, compared(sources, factors=FACTORS))
    none = unpacked(carried["value"])[list(layout.policy).index("effective_rank"), 1:3]
    assert abs(none).max() < 1e-9, "the scaled arms are copies"
    strokes = {each["name"]: (each["colour"], each["dash"]) for each in carried["contrasts"]}
    assert strokes["GRN - plain"] == (layout.arms.index("GRN"), layout.arms.index("GRN"))
    assert len(set(strokes.values())) == 6


def test_without_factors_differences_are_shown(sources, layout):
    carried = effect_arrays(layout, compared(sources))
    assert {each["kind"] for each in carried["contrasts"]} == {"difference"}
    assert all(each["shown"] for each in carried["contrasts"])


def test_networks_of_unequal_depth_are_drawn_where_they_were_compared(study_runs):
    sources = read_sources([study_runs])
    for place, each in enumerate(sources):
        if each.arm == "GRN":  # two of the three blocks, under other names
            kept = each.metrics[~each.metrics.site.str.contains("blocks.2")]
            moved = kept.assign(site=kept.site.str.replace("stages.2", "stages.0"))
            sources[place] = replace(each, metrics=moved)
    carried = effect_arrays(layout_of(sources, findings_of(sources)), compared(sources, align="depth"))
    names = [place["name"].split(" @ ")[0] for place in carried["places"]]
    assert sorted(names) == ["act", "act", "block", "block"]
    assert {place["site"] for place in carried["places"]} == {None}


def test_nothing_is_carried_of_what_was_not_compared_at_sites(sources, layout):
    assert effect_arrays(layout, None) is None
    assert effect_arrays(layout_of([], []), compared(sources)) is None
