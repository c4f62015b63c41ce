"""A rank as a function of the number of rows."""

from __future__ import annotations

import pytest
import torch

from collapse_lab.findings.curve import ENTROPY_RANKS, n_curve
from collapse_lab.findings.table import capture
from collapse_lab.metrics._metric import measure
from collapse_lab.stats.accumulate import Accumulator, stats_of
from tests.capture.small import LAYOUT, SITES, Small, images
from tests.metrics.planted import features, isotropic_rows, normal, of_rows
from tests.tolerances import EXACT64


def test_an_isotropic_layer_of_few_rows_still_rises_and_one_of_rank_3_has_settled():
    rising = n_curve(of_rows(normal(64, 64)), ["effective_rank"]).value.tolist()
    assert rising[0] < 0.6 * rising[1] < 0.6 * rising[2]
    settled = n_curve(of_rows(isotropic_rows(3, 64, rows=400)), ["effective_rank"]).value.tolist()
    assert settled == pytest.approx([3, 3, 3], rel=0.02)


def test_the_points_are_a_quarter_a_half_and_all_of_the_rows():
    stats = of_rows(normal(400, 8))
    found = n_curve(stats)
    assert found[found.metric == "rankme"].rows.tolist() == [100, 200, 400]
    assert tuple(found.metric.unique()) == ENTROPY_RANKS
    last = found[(found.metric == "effective_rank") & (found.rows == 400)].value.item()
    assert last == measure("effective_rank", stats).value


def test_the_smaller_samples_are_the_rows_of_smallest_hash_whatever_the_order():
    x, ids = normal(200, 1, 6), torch.arange(200)
    curves = []
    for order in (ids, ids.flip(0)):
        accumulator = Accumulator(("pooled",))
        for part in order.split(33):
            accumulator.update(x[part], part)
        curves.append(n_curve(accumulator.compute("pooled")[0]).value.tolist())
    assert curves[0] == pytest.approx(curves[1], rel=1e-9)


def test_all_rows_come_last_where_fewer_were_kept_and_alone_where_none_were():
    accumulator = Accumulator(("all",), keep=80)
    accumulator.update(features(0, images=60, positions=4), torch.arange(60))
    found = n_curve(accumulator.compute("all")[0], ["effective_rank"])
    assert found.rows.tolist() == [20, 40, 80, 240]
    bare = Accumulator(("all",))
    bare.update(features(0, images=60, positions=4), torch.arange(60))
    assert n_curve(bare.compute("all")[0], ["effective_rank"]).rows.tolist() == [240]


def test_a_capture_has_a_curve_a_site_and_policy():
    found = n_curve(capture(Small(), [images(80)], sites=SITES, layout=LAYOUT), ["effective_rank"])
    assert len(found) == 3 * (3 + 1)  # pooled rows are kept, those of sampled:8 are not
    assert found[found.positions == "pooled"].rows.tolist() == [20, 40, 80] * 3


def test_a_constant_layer_says_so_and_an_unknown_metric_raises():
    assert set(n_curve(stats_of(torch.ones(40, 2, 3))).status) == {"degenerate"}
    with pytest.raises(LookupError, match="effective_rank"):
        n_curve(of_rows(normal(9, 3)), ["effective_rnk"])


def test_statistics_are_not_changed_by_asking():
    stats = of_rows(normal(50, 4))
    n_curve(stats)
    assert stats.rows is not None
    assert stats.rows.values.shape == (50, 4)
    assert measure("effective_rank", stats).value == pytest.approx(n_curve(stats).value.iloc[-3], rel=EXACT64)
