"""The tidy table: a row a metric, with the interval that its replicates give."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from collapse_lab.capture.store import load_capture
from collapse_lab.findings.table import (
    COLUMNS,
    SCHEMA,
    analyze,
    capture,
    checked,
    read_table,
    series_table,
    write_table,
)
from collapse_lab.findings.uncertainty import interval_of
from collapse_lab.metrics._metric import HEADLINE, METRICS, measure
from collapse_lab.stats.accumulate import stats_of
from tests.capture.small import LAYOUT, SITES, Small, images
from tests.metrics.planted import features
from tests.tolerances import ORDER


@pytest.fixture(scope="module")
def captured():
    labels = torch.arange(100) % 4
    return capture(Small(), [(images(100), labels)], sites=SITES, layout=LAYOUT)


def test_there_is_one_row_a_site_policy_and_metric(captured):
    found = analyze(captured)
    assert len(found) == 3 * 2 * len(METRICS)
    assert not found.duplicated(["site", "positions", "metric"]).any()
    assert found.depth.unique().tolist() == [0, 0.5, 1]
    assert found.images_hash.nunique() == 1
    assert set(found[found.site == "head"].channels) == {4}
    assert found[found.status == "ok"].value.notna().all()


def test_each_site_is_told_when_it_is_measured(captured):
    told = []
    analyze(captured, on_site=lambda site, positions: told.append((site, positions)))
    assert told == list(captured)


def test_values_are_those_of_measure_and_intervals_those_of_the_jackknife(captured):
    found = analyze(captured).set_index(["site", "positions", "metric"])
    for name in HEADLINE:
        one = found.loc[("conv", "pooled", name)]
        assert one.value == pytest.approx(measure(name, captured["conv", "pooled"]).value, nan_ok=True)
        if one.replicates is not None and np.isfinite(one.replicates).all():
            facts = METRICS[name]
            estimate = interval_of(one.value, one.replicates, one.group_sizes, log_scale=facts.log_scale)
            assert one.corrected == facts.clip(estimate.corrected)
            if name not in ("stable_rank", "participation_ratio"):  # their ends are in test_leading
                assert (one.low, one.high) == (facts.clip(estimate.low), facts.clip(estimate.high))
            assert one.low <= one.corrected <= one.high
    assert found.loc[("conv", "pooled", "rankme")].replicates is None
    assert math.isnan(found.loc[("conv", "pooled", "rankme")].low)
    assert sum(found.loc[("conv", "pooled", "effective_rank")].group_sizes) == 100


def test_bare_statistics_are_one_site_without_a_name():
    found = analyze(stats_of(features(0)))
    assert set(found.site) == {""}
    assert set(found.positions) == {"all"}
    assert found.low.isna().all()


def test_a_shuffled_loader_gives_the_same_table(captured):
    order = torch.randperm(100, generator=torch.Generator().manual_seed(3))
    batches = [(images(100)[part], part % 4) for part in order.split(9)]
    other = analyze(capture(Small(), batches, sites=SITES, layout=LAYOUT))
    one = analyze(captured)
    pd.testing.assert_frame_equal(
        one.drop(columns=["replicates", "group_sizes"]),
        other.drop(columns=["replicates", "group_sizes"]),
        rtol=1e3 * ORDER,  # the correction multiplies rounding by the number of groups, an interval divides by it
        atol=1e3 * ORDER,
    )


def test_a_stored_capture_gives_the_same_table(captured, tmp_path: Path):
    pd.testing.assert_frame_equal(analyze(load_capture(captured.save(tmp_path))), analyze(captured), rtol=0, atol=0)


def test_tables_survive_parquet(captured, tmp_path: Path):
    found = analyze(captured)
    stored = read_table(write_table(found, tmp_path / "metrics.parquet"))
    lists = ["replicates", "group_sizes"]
    values = {"rtol": 0, "atol": 0, "check_frame_type": False}  # of another class only for its looks
    pd.testing.assert_frame_equal(stored.drop(columns=lists), found.drop(columns=lists), **values)
    for one, two in zip(stored.replicates, found.replicates, strict=True):
        assert (one is None) == (two is None)
        assert one is None or np.array_equal(one, two, equal_nan=True)
    with pytest.raises(FileNotFoundError, match=r"there is no table .*none\.parquet"):
        read_table(tmp_path / "none.parquet")


def test_a_table_of_a_version_before_is_read_and_one_of_a_version_to_come_is_refused(tmp_path: Path, monkeypatch):
    found = pd.DataFrame({"value": [1.0, math.nan]})
    found.to_parquet(tmp_path / "old.parquet", index=False)
    pd.testing.assert_frame_equal(read_table(tmp_path / "old.parquet"), found)
    monkeypatch.setattr("collapse_lab.findings.table.SCHEMA", SCHEMA + 1)
    newer = write_table(found, tmp_path / "new.parquet")
    pd.testing.assert_frame_equal(read_table(newer), found)
    monkeypatch.undo()
    with pytest.raises(ValueError, match=rf"new\.parquet has schema {SCHEMA + 1}, this version reads up to {SCHEMA}"):
        read_table(newer)


def test_what_is_no_parquet_or_half_of_one_is_refused_by_name(tmp_path: Path):
    whole = write_table(pd.DataFrame({"value": [1.0]}), tmp_path / "whole.parquet")
    for name, content in {"text.parquet": b"site,value\n", "half.parquet": whole.read_bytes()[:-9]}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=f"{name} is no table in parquet, or is cut short"):
            read_table(tmp_path / name)


def test_a_folder_s_name_adds_no_column(tmp_path: Path):
    folder = tmp_path / "arm=v1"
    folder.mkdir()
    assert list(read_table(write_table(pd.DataFrame({"value": [1.0]}), folder / "m.parquet")).columns) == ["value"]


def test_every_table_has_the_columns_that_readers_take_for_granted(captured):
    found = analyze(captured)
    assert set(COLUMNS) <= set(found.columns)
    assert checked(found) is found
    with pytest.raises(ValueError, match="no table of metrics, it lacks: metric, value; make one with"):
        checked(found.drop(columns=["value", "metric"]))


def test_series_hold_a_value_a_direction_or_channel(captured):
    found = series_table(captured)
    part = found[(found.site == "conv") & (found.positions == "pooled")]
    values = part[part.series == "singular_values"].sort_values("index").value
    assert values.tolist() == captured["conv", "pooled"].singular_values.tolist()
    shares = part[part.series == "cumulative_share"].sort_values("index").value
    assert shares.tolist() == pytest.approx((values**2).cumsum().div((values**2).sum()).tolist(), rel=ORDER)
    assert part[part.series == "channel_variance"].value.tolist() == captured["conv", "pooled"].variance.tolist()
