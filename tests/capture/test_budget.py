"""What a pass takes is known before it, and a limit is kept to and said."""

from __future__ import annotations

import math

import pandas as pd
import pytest
import torch

from collapse_lab.capture.budget import Budget, Wish, plan, read_size, size
from collapse_lab.capture.scout import Place
from collapse_lab.capture.sites import Site
from collapse_lab.capture.store import Capture, load_capture
from collapse_lab.findings.against import against_nulls
from collapse_lab.findings.diagnose import diagnose
from collapse_lab.findings.table import analyze, capture, series_table
from collapse_lab.metrics._metric import METRICS
from tests.capture.small import LAYOUT, SITES, Small, images
from tests.tolerances import EXACT64

POLICIES = ("sampled:8", "pooled")


def place(name: str, channels: int) -> Place:
    return Place(site=Site(path=name), kind="block", module="Block", calls=1, channels=channels, positions=4)


def of_site(captured: Capture, site: str) -> pd.DataFrame:
    table = analyze(captured)
    return table[table.site == site].set_index("metric")


def test_without_a_limit_everything_that_was_asked_for_is_kept():
    found = plan([place("a", 64), place("b", 512)], Wish(policies=POLICIES, groups=16))
    assert (found.groups, found.diagonal, found.notes) == (16, (), ())
    matrices = 16 * 2 * 8 * (64**2 + 512**2)
    assert matrices < found.memory < 6 * matrices
    assert found.disk == sum(2 * 4 * c * (c + 1) + 4096 * c * 4 for c in (64, 512))


def test_groups_that_stay_and_savings_on_the_way_are_counted():
    places = [place("a", 64), place("b", 512)]
    plain, kept, saved = (
        plan(places, Wish(policies=("all",), groups=16, **more))
        for more in ({}, {"keep_groups": True}, {"saved": True})
    )
    triangles = sum(8 * c * (c + 1) // 2 for c in (64, 512))
    assert kept.disk - plain.disk == 16 * triangles
    assert kept.memory - plain.memory == 16 * 8 * (64**2 + 512**2)
    assert (saved.disk - plain.disk, saved.memory - plain.memory) == (0, 16 * triangles)


def test_a_limit_takes_groups_first_and_then_the_matrices_of_the_widest_sites():
    places = [place("narrow", 64), place("wide", 512)]
    whole = plan(places, Wish(policies=("sampled:8",), groups=16))
    seen = []
    for limit in range(whole.memory, 1_300_000, -400_000):
        found = plan(places, Wish(policies=("sampled:8",), groups=16), limit)
        assert found.memory <= limit
        seen.append((found.groups, found.diagonal))
    assert list(dict.fromkeys(seen)) == [(16, ()), (8, ()), (4, ()), (1, ()), (1, ("wide",))]
    fewer = plan(places, Wish(policies=("sampled:8",), groups=16), whole.memory - 1)
    assert "to fit the memory limit: 8 groups of images instead of 16" in fewer.told()


def test_a_limit_below_the_channels_alone_is_refused_with_what_would_do():
    with pytest.raises(ValueError, match=r"take .* at least, more than the limit of 1 kB"):
        plan([place("a", 64)], Wish(policies=POLICIES, groups=16), 1000)


def test_wide_sites_have_no_matrix_a_group():
    one, many = (plan([place("a", 2048)], Wish(policies=("all",), groups=groups)) for groups in (1, 16))
    assert many.memory < 1.1 * one.memory


@pytest.fixture(scope="module")
def lean(tmp_path_factory: pytest.TempPathFactory):
    """A capture of 70 images with the diagonals alone, after a round trip, and the same with everything."""
    told: list[Budget] = []
    batch = {"image": images(70), "id": torch.arange(70)}
    asked = {"sites": SITES, "layout": LAYOUT, "positions": ("sampled:8",)}
    least = capture(Small(), [batch], **asked, groups=1, on_budget=told.append).facts["groups"]
    assert least == 1
    found = capture(Small(), [batch], **asked, memory_limit=told[0].memory - 1, on_budget=told.append)
    folder = found.save(tmp_path_factory.mktemp("lean") / "capture")
    return load_capture(folder), capture(Small(), [batch], **asked), told[1]


def test_what_was_given_up_is_said_before_the_pass_and_in_the_capture(lean):
    found, _, told = lean
    assert "no intervals over images" in told.told()
    assert "no spectrum and no correlation" in told.told()
    assert found.facts["given_up"] == list(told.notes)


def test_a_site_without_its_scatter_keeps_its_channels_and_says_what_is_missing(lean):
    found, whole, told = lean
    site = told.diagonal[0]
    assert torch.allclose(found[site].variance, whole[site].variance, rtol=EXACT64)
    table, full = (of_site(each, site) for each in (found, whole))
    assert table.loc["effective_rank", "status"] == "insufficient"
    assert "only the diagonal of the scatter was kept" in table.loc["effective_rank", "reason"]
    same = [name for name in METRICS if not math.isnan(table.loc[name, "value"])]
    assert {"dead_channels", "variance_share", "channel_cosine_distance_live", "dormant_ratio"} <= set(same)
    for name in same:
        assert table.loc[name, "value"] == pytest.approx(full.loc[name, "value"], rel=EXACT64, nan_ok=True), name


def test_everything_after_works_on_it(lean):
    found, *_ = lean
    assert "channel_variance" in set(series_table(found).series)
    against_nulls(found)
    diagnose(found)


@pytest.mark.parametrize(
    ("text", "count"), [("800MB", 800_000_000), ("2 gb", 2_000_000_000), ("1.5kB", 1500), ("9", 9)]
)
def test_sizes_are_read_as_they_are_said(text, count):
    assert read_size(text) == count


@pytest.mark.parametrize("text", ["", "MB", "much", "-3MB", "0"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(ValueError, match="such as 800MB, got"):
        read_size(text)


def test_sizes_are_said_in_three_digits():
    assert [size(count) for count in (1_234, 56_789_000, 7_891_000_000)] == ["1.23 kB", "56.8 MB", "7.89 GB"]
