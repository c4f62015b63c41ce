"""What the page carries: the values of the runs, where they belong."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from collapse_lab.capture.glimpse import glimpse
from collapse_lab.capture.store import load_capture
from collapse_lab.findings.table import capture
from collapse_lab.metrics._metric import HEADLINE
from collapse_lab.report.layout import Layout, layout_of, worst
from collapse_lab.report.payload import payload
from collapse_lab.report.payload_metrics import STATUSES, last_values, names_of
from collapse_lab.report.payload_pictures import correlation
from collapse_lab.report.payload_series import ranks
from collapse_lab.report.sources import Source, read_sources
from collapse_lab.report.verdict import findings_of
from collapse_lab.runs import Run
from collapse_lab.stats.accumulate import stats_of
from tests.report.unpacking import log_values, unpacked


@pytest.fixture(scope="module")
def sources(study_runs: Path) -> list[Source]:
    return read_sources([study_runs])


@pytest.fixture(scope="module")
def layout(sources: list[Source]) -> Layout:
    return layout_of(sources, findings_of(sources))


@pytest.fixture(scope="module")
def carried(layout: Layout, sources: list[Source]) -> dict:
    return json.loads(json.dumps(payload(layout, last_values(layout), findings_of(sources))))


def test_every_headline_value_and_interval_is_carried_at_every_step(carried, layout, sources):
    arrays = {name: unpacked(carried["headline"][name]) for name in ("value", "low", "high")}
    for run, source in enumerate(sources):
        for metric, name in enumerate(layout.policy):
            rows = source.metrics[(source.metrics.metric == name) & (source.metrics.positions == layout.policy[name])]
            for _, row in rows.iterrows():
                where = (metric, run, layout.steps.index(row.step), layout.chosen.index(row.site))
                for column, array in arrays.items():
                    assert array[where] == pytest.approx(row[column], rel=1e-6, nan_ok=True)


def test_every_other_metric_is_carried_at_the_last_step_with_its_status(carried, layout, sources):
    value, status = unpacked(carried["last"]["value"]), unpacked(carried["last"]["status"])
    reason = unpacked(carried["last"]["reason"])
    names = names_of(layout)
    assert set(HEADLINE) < set(names)
    for run, source in enumerate(sources):
        for _, row in source.last.iterrows():
            where = (names.index(row.metric), layout.policies.index(row.positions), run, layout.chosen.index(row.site))
            assert value[where] == pytest.approx(row.value, rel=1e-6, nan_ok=True)
            assert STATUSES[status[where]] == row.status
            assert carried["last"]["reasons"][reason[where]] == row.reason


def test_a_spectrum_comes_back_at_64_places(carried, layout, sources):
    series, site = sources[0].series, layout.chosen[0]
    rows = series[(series.site == site) & (series.step == layout.steps[-1]) & (series.series == "singular_values")]
    rows = rows[rows.positions == series.positions.iloc[0]].sort_values("index")
    rank = unpacked(carried["series"]["rank"])[0]
    codes = unpacked(carried["series"]["spectra"])[0, len(layout.steps) - 1, 0]
    wanted = rows.value.to_numpy()[rank[rank > 0].astype(int) - 1]
    back = log_values(codes[: len(wanted)], carried["series"]["spectra_ends"])
    assert np.allclose(back[wanted > 0], wanted[wanted > 0], rtol=1e-3)
    assert np.isnan(back[wanted <= 0]).all()


@pytest.mark.parametrize(("count", "most"), [(1, 1), (5, 5), (64, 64), (4096, 64)])
def test_places_of_a_curve_begin_and_end_with_it(count, most):
    found = ranks(count)
    assert found[0] == 1
    assert found[-1] == count
    assert len(found) <= most
    assert (np.diff(found) > 0).all()


def test_the_loss_is_carried_to_its_last_record(carried, sources):
    loss = unpacked(carried["runs"][0]["loss"])
    assert loss[-1] == pytest.approx(sources[0].log[-1]["loss"], rel=1e-6)


def test_of_many_sites_the_worst_are_carried_whole_and_the_rest_spread_over_depth(sources):
    found = [each for own in findings_of(sources) for each in own]
    sites = [f"layer.{place}" for place in range(500)] + [found[0].site]
    chosen = worst(sites, found, 60)
    assert len(chosen) == 60
    assert 500 in chosen
    assert {0, 499} <= set(chosen)
    assert max(np.diff(chosen)) < 30


def test_correlations_are_those_of_the_statistics():
    torch.manual_seed(0)
    base = torch.randn(400, 1, 3)
    rows = torch.cat([base, base[:, :, :1] + 0.01 * torch.randn(400, 1, 1), torch.zeros(400, 1, 1)], dim=2)
    channels, codes = correlation(stats_of(rows))
    assert sorted(channels.tolist()) == [0, 1, 2, 3]  # a dead channel has no correlation
    wanted = np.corrcoef(rows[:, 0].numpy().T[channels])
    assert np.abs((codes.astype(float) - 128) / 127 - wanted).max() < 1 / 127
    alike = [channels.tolist().index(channel) for channel in (0, 3)]
    assert abs(alike[0] - alike[1]) == 1  # channels alike stand together


def _captured(folder: Path) -> None:
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 6, 1), torch.nn.Conv2d(6, 6, 1)).eval()
    torch.manual_seed(1)
    batch = {"image": torch.randn(70, 3, 4, 4), "id": torch.arange(70)}
    capture(model, [batch], sites=["0", "1"], layout="image channel height width", keep_rows=40, keep_maps=3).save(
        folder
    )


def test_a_glimpse_holds_what_the_whole_capture_holds_of_its_sites(tmp_path):
    _captured(tmp_path)
    whole, seen = load_capture(tmp_path), glimpse(tmp_path, ["1", "nowhere"])
    assert list(seen.stats) == ["1"]
    assert torch.equal(seen.stats["1"].scatter, whole["1"].scatter)
    assert torch.equal(seen.stats["1"].rows.values, whole["1"].rows.values)
    assert torch.equal(seen.maps.values["1"], whole.maps.values["1"])
    (tmp_path / "stats.safetensors").write_bytes(b"torn")
    with pytest.raises(ValueError, match="no whole capture"):
        glimpse(tmp_path, ["1"])


def _with_pictures(sources: list[Source], folder: Path) -> dict:
    run = Run(shutil.copytree(sources[0].run.path, folder / "run"))
    step = int(sources[0].last.step.max())
    shutil.rmtree(run.capture(step))
    _captured(run.capture(step))
    table = sources[0].metrics
    first, second = table[table.site != ""].site.unique()[:2]
    named = table.site.map({first: "0", second: "1"}).fillna(table.site)
    one = Source(**{**vars_of(sources[0]), "run": run, "metrics": table.assign(site=named)})
    layout = layout_of([one], [[]])

    def pictures(folders, wanted):
        return {image: np.full((3, 60, 90), image, dtype=np.uint8) for image in wanted}

    return payload(layout, last_values(layout), [[]], pictures=pictures) | {"names": layout.sites}


def vars_of(source: Source) -> dict:
    return {name: getattr(source, name) for name in ("run", "arm", "seed", "record", "metrics", "series", "log")}


def test_maps_of_two_images_and_the_images_that_dominate_come_with_thumbnails(sources, tmp_path):
    found = _with_pictures(sources, tmp_path)
    pictures = found["pictures"]
    assert len(pictures["images"]) == 2
    place = pictures["sites"].index(found["names"].index("1"))
    maps = unpacked(pictures["maps"][0][place])
    assert maps.shape == (2, 6, 4, 4)
    assert maps.min() == 0
    assert maps.max() == 255
    heaviest = pictures["dominating"][0][place]
    shares = [share for _, share in heaviest]
    assert shares == sorted(shares, reverse=True)
    assert 0 < sum(shares) <= 1
    assert {image for image, _ in heaviest} <= set(pictures["thumbnails"])
    kept = load_capture(max((tmp_path / "run" / "captures").glob("step-*")))["1"].rows.id
    assert pictures["row_images"][0][place] == len(set(kept.tolist()))


def test_runs_that_kept_no_maps_carry_none(carried):
    assert carried["pictures"]["images"] == []
    assert all(each is None for own in carried["pictures"]["maps"] for each in own)


def test_sites_that_one_arm_lacks_are_gaps_there(sources):
    lacking = sources[0].metrics[sources[0].metrics.site != sources[0].metrics.site.iloc[0]]
    changed = [Source(**{**vars_of(sources[0]), "metrics": lacking, "arm": "other"}), *sources[1:]]
    layout = layout_of(changed, [[] for _ in changed])
    value = last_values(layout).value
    site = layout.chosen.index(sources[0].metrics.site.iloc[0])
    assert math.isnan(value[0, 0, 0, site])
    assert not math.isnan(value[0, 0, 1, site])


def test_an_arm_says_where_its_own_sites_lie_only_where_arms_do_not_share_them(sources, carried):
    assert carried["own_depths"] is None
    first, last = sources[0], next(each for each in sources if each.arm != sources[0].arm)
    site = first.layers.site.iloc[0]
    lacking = Source(**{**vars_of(last), "metrics": last.metrics[last.metrics.site != site]})
    unmeasured = Source(**{**vars_of(last), "metrics": last.metrics[:0], "arm": "none yet"})
    layout = layout_of([first, lacking, unmeasured], [[], [], []])
    own = payload(layout, last_values(layout), [[], [], []])["own_depths"]
    place = layout.sites.index(site)
    depths = first.layers.set_index("site").depth
    assert own[0] == pytest.approx([depths[name].iloc[0] for name in layout.sites])
    assert [math.isnan(depth) for depth in own[1]] == [name == site for name in layout.sites]
    assert math.isnan(own[1][place])
    assert all(math.isnan(depth) for depth in own[2])
    only = layout_of([first, unmeasured], [[], []])
    assert payload(only, last_values(only), [[], []])["own_depths"] is None, "an arm without a capture has no sites yet"


def test_a_run_without_a_capture_has_no_values(sources):
    empty = Source(**{**vars_of(sources[0]), "metrics": pd.DataFrame(columns=sources[0].metrics.columns)})
    layout = layout_of([empty], [[]])
    assert layout.sites == []
    assert json.dumps(payload(layout, last_values(layout), [[]]))
