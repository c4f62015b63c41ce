"""What fits on a terminal: bars follow the values, and an overview hides no broken layer."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
import pytest

from collapse_lab.findings.compare import compare
from collapse_lab.findings.diagnose import diagnose
from collapse_lab.report.sources import arms_of, read_sources
from collapse_lab.report.terminal import bars, courses, differences
from collapse_lab.report.verdict import lines_of


@pytest.fixture(scope="module")
def table(study_runs: Path) -> pd.DataFrame:
    return read_sources([study_runs / "grn-seed0"])[0].metrics


@pytest.mark.parametrize(
    ("values", "drawn"),
    [
        ([0, 1, 2, 3, 4, 5, 6, 7], "▁▂▃▄▅▆▇█"),
        ([-1e-9, 0, 1e-9], "▁▅█"),
        ([3.0, math.nan, 1.0], "█·▁"),
        ([2.0, 2.0], "▅▅"),
        ([0.3, math.nan, 0.1 + 0.2], "▅·▅"),
        ([math.nan, math.inf], "··"),
        ([5.0], "▅"),
        ([], ""),
    ],
)
def test_bars_run_from_the_lowest_value_to_the_highest(values, drawn):
    assert bars(values) == drawn


def test_more_values_than_fit_are_averaged_with_their_neighbours():
    assert bars([0, 2, 1, 3, 9, 11, 8, 8], width=4) == bars([1, 2, 10, 8])


def test_every_kind_of_site_has_its_way_through_depth(table):
    found = list(courses(table, ["effective_rank", "dead_channels"]))
    assert [(course.about, course.metric) for course in found] == [
        (f"{kind}: 3 sites, {width} channels", metric)
        for kind, width in (("act", 256), ("block", 64))
        for metric in ("effective_rank", "dead_channels")
    ]
    last = table[(table.step == 2) & (table.metric == "effective_rank") & (table.positions == "sampled:8")]
    blocks = last[last.site.str.fullmatch(r"stages\.2\.blocks\.\d")].sort_values("depth")
    course = next(course for course in found if course.about.startswith("block"))
    assert course.depth == bars(list(blocks.value))
    assert course.last == blocks.value.iloc[-1]
    assert course.worst == (
        blocks.value.min(),
        blocks.site.iloc[blocks.value.argmin()].removeprefix("stages.").replace(".blocks", ""),
    )
    assert len(course.steps) == 2


def test_a_value_that_is_not_ok_is_counted_and_a_missing_one_no_number(table):
    broken = table.assign(status="ok")
    chosen = (broken.site == "stages.2.blocks.1") & (broken.metric == "effective_rank")
    broken.loc[chosen, ["value", "status"]] = [math.nan, "degenerate"]
    course = next(course for course in courses(broken, ["effective_rank"]) if course.about.startswith("block"))
    assert course.status == "1 degenerate"
    assert course.depth[1] == "·"


def test_bare_features_are_one_site_without_a_name(table):
    bare = table[table.site == "stages.2.blocks.2"].assign(site="")
    (course,) = courses(bare, ["effective_rank"])
    assert course.about == "features: 1 site, 64 channels"


def test_differences_have_bars_over_the_sites_of_their_test(study_runs):
    arms, factors = arms_of(read_sources([study_runs]))
    comparison = compare(arms, baseline="plain", factors=factors, at="all")
    found = dict(differences(comparison))
    assert set(found) == {"GRN - plain", "GRN"}
    row = found["GRN - plain"].set_index("metric").loc["dead_channels"]
    single = comparison.last[(comparison.last.contrast == "GRN - plain") & (comparison.last.metric == "dead_channels")]
    assert row.over_depth == bars(list(single[single.site.str.endswith(".act")].corrected))
    assert len(row.over_steps) == 2
    aligned = compare(arms, baseline="plain", align="depth")
    (rows,) = (rows for _, rows in differences(aligned))
    assert set(rows.over_depth.map(len)) == {3}


def test_the_verdict_has_a_line_an_arm_with_every_kind_of_fault(study_runs):
    sources = read_sources([study_runs])
    lines = dict(line.split(": ", 1) for line in lines_of(sources))
    assert set(lines) == {"GRN", "plain"}
    for arm, line in lines.items():
        own = [fault for source in sources if source.arm == arm for fault in diagnose(source.metrics) if fault.fault]
        assert all(fault.kind.replace("_", " ") in line for fault in own)
        assert ("no fault found" in line) == (not own)
