"""A few images far from the others own the scatter; tails alone do not."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from collapse_lab.metrics._metric import measure
from collapse_lab.metrics.domination import top_images_share
from collapse_lab.stats.accumulate import stats_of, summarise
from tests.metrics.planted import normal, of_rows
from tests.tolerances import EXACT64


def test_the_share_is_that_of_the_farthest_hundredth_of_the_images():
    x = normal(300, 4)
    x = x - x.mean(dim=0)
    scatter = x.square().sum(dim=1)
    expected = scatter.sort().values[-3:].sum() / scatter.sum()
    assert top_images_share(of_rows(x)) == pytest.approx(expected.item(), rel=EXACT64)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_one_planted_image_holds_the_share_that_was_planted(share):
    x = normal(99, 8)
    scatter = (x[1:] - x[1:].mean(dim=0)).square().sum()
    # A row at distance D of the mean of n others has D^2 (n / (n + 1)) of the scatter in all, its own part n / (n + 1).
    x[0] = x[1:].mean(dim=0) + (share / (1 - share) * scatter / 8).sqrt()
    assert top_images_share(of_rows(x)) == pytest.approx(share, abs=0.02)


def test_all_positions_of_an_image_count_together():
    x = normal(50, 9, 3)
    x[7] += 100
    stats = stats_of(x)
    assert top_images_share(stats) > 0.95
    one_row = x.clone()
    one_row[7, 1:] = normal(8, 3, seed=1)
    assert top_images_share(stats_of(one_row)) == pytest.approx(top_images_share(of_rows(one_row[:, 0])), abs=0.02)


def test_heavy_tails_do_not_dominate():
    tails = torch.from_numpy(np.random.default_rng(0).standard_t(4, size=(2000, 1))) * normal(2000, 6)
    assert top_images_share(of_rows(tails)) < 0.3
    assert top_images_share(of_rows(normal(2000, 6))) < 0.05


def test_an_image_that_was_not_kept_still_shows_in_the_fourth_moment():
    x = normal(400, 1, 6)
    x[5] += 1e3
    whole = summarise(x, torch.arange(400), ("all",), keep=400)["all"]
    kept = whole.rows.id != 5
    part = {name: getattr(whole.rows, name)[kept] for name in ("values", "key", "id", "label")}
    unseen = dataclasses.replace(whole, rows=dataclasses.replace(whole.rows, **part))
    assert top_images_share(whole) > 0.99
    assert top_images_share(unseen) > 0.99


def test_under_twenty_images_one_may_hold_half_by_chance():
    measured = measure("top_images_share", of_rows(normal(19, 3)))
    assert measured.status == "insufficient"
    assert measured.reason == "19 images have kept rows, at least 20 are needed"
    assert measure("top_images_share", of_rows(normal(20, 3))).status == "ok"
