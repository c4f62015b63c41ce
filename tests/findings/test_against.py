"""Headline metrics against what features have in which nothing was learned, or nothing goes together."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.linalg import hadamard

from collapse_lab.capture.store import Capture, load_capture
from collapse_lab.findings.against import against_nulls
from collapse_lab.findings.curve import n_curve
from collapse_lab.findings.diagnose import diagnose
from collapse_lab.findings.table import analyze, capture
from collapse_lab.findings.uncertainty import jackknife
from collapse_lab.metrics._metric import HEADLINE, measure
from collapse_lab.stats.accumulate import stats_of, summarise
from tests.capture.small import LAYOUT, SITES, Small, images
from tests.metrics.planted import normal, of_rows, source
from tests.tolerances import EXACT64, NULL_WAVERS

SHUFFLES = ("shuffled moments", "shuffled rows")
SPECTRAL = ("effective_rank", "participation_ratio", "stable_rank")


def untrained_network() -> Small:
    model = Small()
    for parameter in model.parameters():
        parameter.data.normal_(generator=source(9))
    return model


def captured(model: Small, count: int = 100, **settings):
    return capture(model, [images(count)], sites=SITES, layout=LAYOUT, **settings)


@pytest.fixture(scope="module")
def pair():
    return captured(Small()), captured(untrained_network())


def by_metric(found: pd.DataFrame, null: str) -> pd.DataFrame:
    return found[found.null == null].set_index("metric")


def test_every_headline_metric_has_a_row_for_every_null_there_is(pair):
    found = against_nulls(pair[0], untrained=pair[1])
    count = found.groupby(["site", "positions"]).null.value_counts().unstack(fill_value=0)
    eight = len(HEADLINE)
    assert (count.xs("pooled", level="positions") == eight).all(axis=None)
    assert (count.xs("sampled:8", level="positions")[["shuffled moments", "untrained"]] == eight).all(axis=None)
    assert set(against_nulls(pair[0]).null) == set(SHUFFLES)
    assert not found.duplicated(["site", "positions", "metric", "null"]).any()


def test_each_site_is_told_when_it_is_done(pair):
    told = []
    against_nulls(pair[0], on_site=lambda site, positions: told.append((site, positions)))
    assert told == list(pair[0])


def test_a_share_is_a_ratio_or_has_a_reason(pair):
    found = against_nulls(pair[0], untrained=pair[1])
    shared = found[found.share.notna()]
    assert (shared.share == shared.value / shared.null_value).all()
    assert (shared.reason == "")[shared.status == "ok"].all()
    assert (found[found.share.isna()].reason != "").all()
    assert found[found.share.isna()].status.isin(["insufficient", "degenerate", "non_finite"]).all()


@pytest.mark.parametrize("null", SHUFFLES)
def test_unrelated_channels_reach_both_shuffled_nulls(null):
    found = by_metric(against_nulls(of_rows(normal(640, 32) * torch.arange(1.0, 33))), null)
    assert found.share[["effective_rank", "participation_ratio"]].tolist() == pytest.approx([1, 1], abs=NULL_WAVERS)
    assert found.share["variance_share"] == pytest.approx(1)


@pytest.mark.parametrize("null", SHUFFLES)
@pytest.mark.parametrize("rank", [2, 8])
def test_a_planted_rank_has_its_share_of_both_shuffled_nulls(null, rank):
    flat = torch.from_numpy(hadamard(32) / 32**0.5)[:rank]
    found = by_metric(against_nulls(of_rows(normal(1000, rank) @ flat)), null)
    assert found.share["effective_rank"] == pytest.approx(rank / 32, rel=NULL_WAVERS)


def test_the_rows_are_shuffled_channel_by_channel_and_averaged():
    x = normal(60, 5) @ normal(5, 5, seed=1) + 2
    found = by_metric(against_nulls(of_rows(x)), "shuffled rows")
    random, order = np.random.default_rng(0), of_rows(x).rows.id  # kept rows stand by their hash
    shuffled = [of_rows(torch.from_numpy(random.permuted(x[order].numpy(), axis=0))) for _ in range(8)]
    for name in (*SPECTRAL, "pair_cosine_centred"):
        expected = np.mean([measure(name, stats).value for stats in shuffled])
        assert found.null_value[name] == pytest.approx(expected, rel=EXACT64)


def test_both_sides_of_a_row_shuffle_are_the_same_rows_one_an_image():
    x = normal(40, 1, 6) + 0.01 * normal(40, 7, 6, seed=1)
    stats = stats_of(x @ normal(6, 6, seed=2))
    found = by_metric(against_nulls(stats), "shuffled rows")
    assert set(found.n_rows) == set(found.n_images) == {40}
    assert stats.n_rows == 280
    first = {int(image): place for place, image in reversed(list(enumerate(stats.rows.id)))}
    rows = stats.rows.values[sorted(first.values())]
    assert found.value["effective_rank"] == pytest.approx(measure("effective_rank", of_rows(rows)).value, rel=EXACT64)


def test_clustered_rows_are_not_called_low_rank_for_being_alike():
    x = normal(60, 1, 16) + 0.01 * normal(60, 20, 16, seed=1)
    for null in SHUFFLES:
        share = by_metric(against_nulls(stats_of(x)), null).share["effective_rank"]
        assert share == pytest.approx(1, abs=NULL_WAVERS)


def test_what_looks_at_one_channel_is_the_same_after_a_shuffle():
    x = normal(200, 8) + 1
    x[:, :2] = 0
    for null in SHUFFLES:
        found = by_metric(against_nulls(of_rows(x)), null)
        assert found.share[["variance_share", "dead_channels"]].tolist() == pytest.approx([1, 1], rel=EXACT64)


def test_where_a_null_is_zero_or_unknown_the_reason_says_so():
    moments = by_metric(against_nulls(stats_of(normal(40, 5, 6))), "shuffled moments")
    for name in ("pair_cosine_centred", "position_cosine_centred"):
        assert moments.null_value[name] == 0
        assert "0 but for chance" in moments.reason[name]
    assert "inside the maps" in moments.reason["channel_cosine_distance_live"]
    assert moments.reason["dead_channels"] == "the null is not above 0, so nothing is a share of it"
    rows = by_metric(against_nulls(stats_of(normal(40, 5, 6))), "shuffled rows")
    assert abs(rows.null_value["pair_cosine_centred"]) < 0.1
    assert math.isnan(rows.share["pair_cosine_centred"])


@pytest.mark.parametrize(
    ("layer", "status"),
    [
        (torch.full((20, 3, 4), 2.0), "degenerate"),
        (torch.zeros(20, 3, 4), "degenerate"),
        (normal(1, 3, 4), "insufficient"),
        (torch.full((20, 3, 4), math.nan), "non_finite"),
    ],
)
def test_a_broken_layer_has_no_share(layer, status):
    healthy = stats_of(normal(len(layer), 3, 4))
    broken = stats_of(layer)
    for found in (against_nulls(broken, untrained=healthy), against_nulls(healthy, untrained=broken)):
        of_twin = found[(found.null == "untrained")]
        assert of_twin.share.isna().all()
        assert (of_twin.reason != "").all()
        assert status in set(of_twin.status)
    assert against_nulls(broken).share.isna().all()
    assert status in set(against_nulls(broken).status)


def test_one_bad_value_leaves_no_share():
    x = normal(30, 2, 4)
    x[3, 1, 2] = math.inf
    found = against_nulls(stats_of(x))
    assert found.share.isna().all()
    assert set(found.status) == {"non_finite"}


def test_a_biased_value_has_its_share_at_equal_n():
    found = by_metric(against_nulls(of_rows(normal(40, 32))), "shuffled moments")
    assert found.status["effective_rank"] == "biased"
    assert found.share["effective_rank"] == pytest.approx(1, abs=NULL_WAVERS)


def test_the_untrained_share_has_the_jackknife_of_paired_groups(pair):
    found = against_nulls(pair[0], untrained=pair[1]).set_index(["site", "positions", "null", "metric"])
    key = ("conv", "pooled")
    for name in (*SPECTRAL, "variance_share"):
        one = found.loc[(*key, "untrained", name)]
        own, other = (each.replicates[key] for each in pair)
        left_out = [a / b for a, b in zip(own.values[name], other.values[name], strict=True)]
        estimate = jackknife(one.value / one.null_value, left_out, own.sizes)
        assert (one.corrected, one.high) == (estimate.corrected, estimate.interval()[1])
        assert one.low <= one.corrected <= one.high
        assert one.null_value == measure(name, pair[1][key]).value
    assert found.xs("shuffled moments", level="null").low.isna().all()


def test_a_network_against_itself_has_every_share_at_one(pair):
    found = against_nulls(pair[0], untrained=pair[0])
    shares = found[(found.null == "untrained") & found.share.notna()]
    assert (shares.share == 1).all()
    assert (shares.high - shares.low).dropna().max() < EXACT64


def test_groups_that_do_not_pair_give_a_share_without_interval(pair):
    other = captured(untrained_network(), groups=8)
    found = by_metric(against_nulls(pair[0], untrained=other), "untrained")
    assert found.share.notna().any()
    assert found.low.isna().all()


def test_other_images_sites_or_channels_are_refused(pair):
    with pytest.raises(ValueError, match=r"other images than its untrained twin \(100 and 90 images\)"):
        against_nulls(pair[0], untrained=captured(untrained_network(), 90))
    only = capture(Small(), [images(100)], sites=["head"], positions=["all"])
    with pytest.raises(ValueError, match=r"no site and positions in common: it has head"):
        against_nulls(pair[0], untrained=only)
    with pytest.raises(ValueError, match=r"has 4 channels and its untrained twin 5"):
        against_nulls(of_rows(normal(20, 4)), untrained=of_rows(normal(20, 5)))


def test_a_twin_of_another_architecture_is_refused(pair):
    named = [
        Capture(dict(each), facts={"architecture": {"response": name}}) for each, name in zip(pair, "ab", strict=True)
    ]
    with pytest.raises(ValueError, match=r"of another architecture, \{'response': 'b'\}, than"):
        against_nulls(named[0], untrained=named[1])
    assert not against_nulls(named[0], untrained=Capture(dict(pair[1]))).empty  # of an unknown one


def test_features_that_are_no_statistics_are_refused_with_what_makes_them_such():
    for ask in (against_nulls, analyze, n_curve, diagnose):
        with pytest.raises(TypeError, match=r"got ndarray; features become statistics by cl.stats_of"):
            ask(np.ones((4, 3)))


def test_other_numbers_of_rows_are_not_at_equal_n():
    x, ids = normal(30, 4, 3), torch.arange(30)
    one, two = (summarise(x, ids, (policy,))[policy] for policy in ("sampled:1", "sampled:4"))
    found = by_metric(against_nulls(one, untrained=two), "untrained")
    assert found.share.isna().all()
    assert found.reason["effective_rank"] == "taken of 30 rows and of 120: not at equal n"


def test_a_stored_capture_gives_the_same_shares(pair, tmp_path):
    stored = [load_capture(each.save(tmp_path / str(place))) for place, each in enumerate(pair)]
    pd.testing.assert_frame_equal(
        against_nulls(stored[0], untrained=stored[1]), against_nulls(pair[0], untrained=pair[1]), rtol=0, atol=0
    )
