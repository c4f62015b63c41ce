"""Arms of tables: places, pairing, Holm and what is called."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from collapse_lab.findings.compare import PROBE, SUMMARY, compare
from collapse_lab.findings.table import read_table, write_table
from tests.findings.tables import METRIC, arm, row, table
from tests.tolerances import PINNED

FACTORS = {"v2": {"grn": True, "ls": False}, "none": {"grn": False, "ls": False}, "both": {"grn": True, "ls": True}}
FACTORS["v1"] = {"grn": False, "ls": True}


def test_a_clear_difference_is_called_and_a_small_one_is_not():
    found = compare({"a": arm([5, 5.1, 4.9]), "b": arm([9, 9.2, 8.9]), "c": arm([5.1, 4.8, 5.2])}, baseline="a")
    clear, small = found.row("b - a", METRIC), found.row("c - a", METRIC)
    assert clear.value == pytest.approx(4.0333333333, abs=1e-9)
    assert clear.called
    assert clear.primary
    assert clear.paired
    assert not small.called
    assert small.smallest > abs(small.value)
    assert abs(clear.smallest) < clear.value


def test_two_seeds_call_nothing():
    found = compare({"a": arm([5, 5.001]), "b": arm([9, 9.001])}, baseline="a")
    assert found.row("b - a", METRIC).p < 0.001
    assert not found.row("b - a", METRIC).called


def test_planted_effects_of_a_factorial_come_back():
    noise = (0.1, -0.1, 0.0)
    level = {"v2": 10.0, "none": 8.0, "both": 5.0, "v1": 4.0}
    found = compare({name: arm([v + e for e in noise]) for name, v in level.items()}, baseline="v1", factors=FACTORS)
    values = {name: found.row(name, METRIC).value for name in ("grn", "ls", "grn x ls", "grn on", "v2")}
    assert values == pytest.approx({"grn": 1.5, "ls": -4.5, "grn x ls": -1, "grn on": 7.5, "v2": 10})
    assert found.row("grn", METRIC).called  # the seeds' common shift cancels
    assert not found.row("grn on", METRIC).primary
    assert math.isnan(found.row("grn on", METRIC).p)


def test_holm_adjusts_over_the_headline_metrics_of_one_contrast():
    def run(seed: int, shift: tuple[float, float, float]) -> pd.DataFrame:
        noise = (0.0, 0.1, 0.25, 0.05)[seed]
        names = (METRIC, "stable_rank", "participation_ratio")
        return table(
            *(
                row(3 + d + noise * (k + 1) * (d > 0), seed=seed, metric=m)
                for k, (m, d) in enumerate(zip(names, shift, strict=True))
            )
        )

    arms = {"a": [run(s, (0, 0, 0)) for s in range(4)], "b": [run(s, (2.0, 0.6, 0.3)) for s in range(4)]}
    found = compare(arms, baseline="a").table
    primary = found[found.primary].set_index("metric")
    p = primary.p.sort_values()
    by_hand = np.minimum(1, np.maximum.accumulate([3 * p.iloc[0], 2 * p.iloc[1], p.iloc[2]]))
    assert primary.p_holm[p.index].tolist() == pytest.approx(list(by_hand), rel=PINNED)
    assert found[~found.primary].p_holm.isna().all()


def test_holm_never_ranks_a_larger_p_below_a_smaller():
    names = (METRIC, "stable_rank", "participation_ratio")
    arms = {
        name: [table(*(row(v, seed=s, metric=m) for m in names)) for s, v in enumerate(values)]
        for name, values in {"a": (3.0, 3.2, 3.1), "b": (4.0, 4.4, 4.2)}.items()
    }
    primary = compare(arms, baseline="a").table.query("primary")
    assert primary.p_holm.tolist() == pytest.approx([3 * primary.p.iloc[0]] * 3, rel=PINNED)


def test_the_summary_is_the_mean_over_the_blocks_of_the_last_third():
    def run(seed: int, base: float) -> pd.DataFrame:
        sites = [
            ("stages.0.blocks.0", 0.1, 1),
            ("stages.1.blocks.0", 0.7, 10),
            ("stages.1.blocks.0.act", 0.8, 99),
            ("stages.1.blocks.1", 1.0, 20),
        ]
        return table(*(row(base + v, seed=seed, site=site, depth=depth) for site, depth, v in sites))

    found = compare(
        {"a": [run(s, 0.1 * s) for s in range(3)], "b": [run(s, 1 + 0.2 * s) for s in range(3)]}, baseline="a"
    )
    assert found.row("a", METRIC).value == pytest.approx(15.1)
    assert found.row("a", METRIC, "last third: act").value == pytest.approx(99.1)
    assert found.row("a", METRIC, "stages.0.blocks.0").value == pytest.approx(1.1)
    assert found.table[found.table.primary].site.unique().tolist() == [SUMMARY]


def test_seeds_are_paired_by_number_and_not_by_place():
    a, b = arm([1.0, 2.0, 4.0]), arm([1.5, 2.5, 4.5])
    assert compare({"a": a, "b": b[::-1]}, baseline="a").row("b - a", METRIC).high == pytest.approx(0.5)
    other = [each.assign(seed=each.seed + 1) for each in b]
    unpaired = compare({"a": a, "b": other}, baseline="a").row("b - a", METRIC)
    assert not unpaired.paired
    assert unpaired.high > 1


def test_other_images_refuse_pairing():
    b = arm([1.5, 2.5, 4.5], images_hash="others")
    assert not compare({"a": arm([1.0, 2.0, 4.0]), "b": b}, baseline="a").row("b - a", METRIC).paired


def test_replicates_survive_parquet_and_count_the_images(tmp_path: Path):
    def run(seed: int, value: float) -> pd.DataFrame:
        left = [value + 0.01 * k for k in (1, -1, 2)]
        return table(
            row(value, seed=seed, replicates=left, group_sizes=[4, 5, 6]), row(0.5, seed=seed, metric="dormant_ratio")
        )

    arms = {"a": [run(0, 3), run(1, 3.1)], "b": [run(0, 4), run(1, 4.3)]}
    stored = {
        name: [read_table(write_table(each, tmp_path / f"{name}{k}.parquet")) for k, each in enumerate(tables)]
        for name, tables in arms.items()
    }
    one, two = (compare(each, baseline="a").row("b - a", METRIC) for each in (arms, stored))
    assert one.images_counted
    assert two.to_dict() == one.to_dict()


def test_replicates_of_different_groups_are_not_averaged():
    runs = [
        table(row(3.0 + s, seed=s, replicates=[3.0, 3.1], group_sizes=[4, 5 + s], images_hash=str(s))) for s in (0, 1)
    ]
    assert not compare({"a": runs, "b": arm([1.0, 1.2])}, baseline="a").row("a", METRIC).images_counted


def test_a_position_policy_without_values_gives_way_to_the_next():
    def run(seed: int, value: float) -> pd.DataFrame:
        return table(
            row(math.nan, seed=seed, metric="pair_cosine_centred"),
            row(value, seed=seed, metric="pair_cosine_centred", positions="pooled"),
        )

    found = compare({"a": [run(s, 0.1) for s in range(3)], "b": [run(s, 0.3) for s in range(3)]}, baseline="a")
    assert found.row("b - a", "pair_cosine_centred").positions == "pooled"
    assert found.row("b - a", "pair_cosine_centred").value == pytest.approx(0.2)


def test_a_layer_without_a_value_in_one_seed_is_not_called():
    found = compare({"a": arm([5, 5.1, math.nan]), "b": arm([9, 9.2, 8.9])}, baseline="a")
    assert not found.row("b - a", METRIC).called
    assert math.isnan(found.row("b - a", METRIC).value)


def test_intervals_of_one_arm_stay_inside_the_metrics_bounds():
    found = compare({"a": arm([1.0, 1.2, 1.9]), "b": arm([2.0, 2.2, 2.1])}, baseline="a")
    assert found.row("a", METRIC).low == 1
    assert found.row("b - a", METRIC).low < 0


def test_the_step_is_the_last_or_the_one_asked_for():
    runs = [
        pd.concat([arm([v], step=10)[0], arm([v + 5], step=20)[0]]).assign(seed=s, run=f"r{s}")
        for s, v in enumerate((1, 2))
    ]
    arms = {"a": runs, "b": arm([9, 9.5], step=20)}
    assert compare(arms, baseline="a").row("a", METRIC).value == 6.5
    with pytest.raises(ValueError, match=r"arm 'b' has no capture at step 10; steps: \[20\]"):
        compare(arms, baseline="a", at=10)


def test_bare_tables_are_seeds_in_their_order():
    bare = [each.assign(run="", seed=0) for each in arm([1.0, 2.0, 4.0])]
    assert compare({"a": bare, "b": arm([2, 3, 5])}, baseline="a").row("b - a", METRIC).paired


def test_the_probe_is_compared_by_itself():
    runs = {
        name: [table(row(v, seed=s), row(v / 10, seed=s, site="", metric=PROBE)) for s, v in enumerate(vs)]
        for name, vs in {"a": (1, 2, 3), "b": (2, 3, 5)}.items()
    }
    found = compare(runs, baseline="a").row("b - a", PROBE, "")
    assert found.value == pytest.approx(4 / 30)
    assert not found.primary


@pytest.mark.parametrize(
    ("arms", "settings", "error", "words"),
    [
        ({"a": arm([1])}, {"baseline": "b"}, LookupError, "there is no arm 'b'; arms: a"),
        ({"a": arm([1])}, {"baseline": "a", "factors": {"z": {"x": True}}}, LookupError, "there is no arm 'z'"),
        ({"a": []}, {"baseline": "a"}, ValueError, "arm 'a' has no run"),
        ({"a": arm([1]) * 2}, {"baseline": "a"}, ValueError, "arm 'a' has seed 0 twice"),
        ({"a": arm([1]), "b": arm([1], site="x")}, {"baseline": "a"}, ValueError, "no site in common"),
        ({"a": arm([math.nan])}, {"baseline": "a"}, ValueError, "no headline metric has a value in any arm"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_words(arms, settings, error, words):
    with pytest.raises(error, match=words):
        compare(arms, **settings)


def test_a_row_that_is_not_there_names_the_contrasts():
    with pytest.raises(LookupError, match="no row of 'effective_rank' at 'last third' for 'x'; contrasts: "):
        compare({"a": arm([1, 2])}, baseline="a").row("x", METRIC)


def test_a_collapsed_arm_takes_no_value_from_the_others():
    arms = {"a": arm([1.0, 1.1, 1.2]), "b": arm([2.0, 2.1, 2.3]), "dead": arm([math.nan] * 3)}
    arms["dead"] = [table.assign(status="degenerate") for table in arms["dead"]]
    found = compare(arms, baseline="a")
    assert found.row("b - a", "effective_rank").value == pytest.approx(1.0333333)
    assert math.isnan(found.row("dead - a", "effective_rank").value)
    assert found.row("dead - a", "effective_rank").status == "degenerate"
    assert not found.row("dead - a", "effective_rank").called


@pytest.mark.parametrize(
    ("status", "rows", "called"),
    [("ok", 100, True), ("ok", 900, True), ("biased", 100, True), ("biased", 900, False), ("non_finite", 100, False)],
)
def test_nothing_is_called_of_a_broken_layer_or_of_values_that_another_number_of_rows_would_change(
    status, rows, called
):
    arms = {"a": arm([1.0, 1.1, 1.2]), "b": arm([5.0, 5.11, 5.21])}
    arms = {
        "a": [t.assign(n_rows=100) for t in arms["a"]],
        "b": [t.assign(status=status, n_rows=rows) for t in arms["b"]],
    }
    assert bool(compare(arms, baseline="a").row("b - a", "effective_rank").called) is called


def test_runs_that_end_at_different_steps_are_compared_with_a_warning():
    arms = {"a": arm([1.0, 1.1, 1.2]), "b": [table.assign(step=table.step + 7) for table in arm([2.0, 2.1, 2.3])]}
    with pytest.warns(UserWarning, match="different steps: a at .* b at "):
        compare(arms, baseline="a")


def test_a_lone_table_is_refused_with_the_repair():
    with pytest.raises(TypeError, match="put DataFrame in a list"):
        compare({"a": arm([1.0])[0]}, baseline="a")
