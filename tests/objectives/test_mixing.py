"""Mixing and erasing: exact formulas, shares of pixels, and draws that depend on seed and step alone."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.stats import beta, kstest

from collapse_lab.draws import Draws
from collapse_lab.objectives.mixing import AREA, ASPECT, blend, cut, erase, mix
from tests.tolerances import EXACT32, PINNED

SHUFFLED = torch.tensor([2, 0, 1, 3])


def batch(side: tuple[int, int] = (12, 12)) -> torch.Tensor:
    return torch.randn(4, 3, *side, generator=torch.Generator().manual_seed(0))


def drawn(step: int = 0, index: torch.Tensor | None = None, seed: int = 0) -> Draws:
    return Draws(seed=seed, step=step, index=torch.arange(4) if index is None else index)


def test_mixup_is_the_weighted_sum_of_an_image_and_its_partner():
    images = batch()
    mixed, share = blend(images, SHUFFLED, 0.25)
    assert share == 0.25
    for place, partner in enumerate(SHUFFLED.tolist()):
        torch.testing.assert_close(mixed[place], 0.25 * images[place] + 0.75 * images[partner])


@pytest.mark.parametrize("way", [blend, lambda *given: cut(*given, 0.3, 0.8)])
def test_a_share_of_one_changes_nothing_and_none_leaves_the_partner(way):
    images = batch()
    kept, share = way(images, SHUFFLED, 1.0)
    assert share == 1
    assert torch.equal(kept, images)
    replaced, share = blend(images, SHUFFLED, 0.0)
    assert share == 0
    assert torch.equal(replaced, images[SHUFFLED])


@pytest.mark.parametrize("side", [(12, 12), (8, 24), (5, 7)])
@pytest.mark.parametrize("place", [(0.0, 0.0), (0.5, 0.5), (0.99, 0.1)])
@pytest.mark.parametrize("asked", [0.0, 0.3, 0.75, 0.99])
def test_the_share_of_cutmix_is_the_share_of_pixels_that_stayed(side, place, asked):
    images = torch.arange(4.0)[:, None, None, None].expand(4, 3, *side)
    mixed, share = cut(images, SHUFFLED, asked, *place)
    own = (mixed == images)[0].double().mean().item()
    assert share == pytest.approx(own, abs=PINNED)
    assert torch.equal(mixed[3], images[3])  # its own partner
    assert ((mixed == images) | (mixed == images[SHUFFLED])).all()


def test_the_rectangle_of_cutmix_has_the_aspect_of_the_image_and_stands_where_it_is_put():
    mixed, share = cut(torch.arange(4.0)[:, None, None, None].expand(4, 1, 8, 24), SHUFFLED, 0.75, 0.5, 0.5)
    rows, columns = (mixed[0, 0] != 0).nonzero().unbind(1)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (2, 5, 6, 17)
    assert share == 0.75


def test_shares_follow_the_beta_distribution_and_the_coin_is_fair():
    for alpha in (0.3, 0.8):
        shares = [mix(batch(), alpha, 0.0, drawn(step)).share for step in range(300)]
        assert kstest(shares, beta(alpha, alpha).cdf).pvalue > 0.01
    blended = 0
    for step in range(300):
        mixed = mix(batch(), 1.0, 1.0, drawn(step))
        pixels = (mixed.images == batch()) | (mixed.images == batch()[mixed.partner])
        blended += not pixels.all()
    assert 120 < blended < 180


def test_what_is_mixed_depends_on_seed_and_step_and_is_equal_in_all_processes():
    first = mix(batch(), 0.8, 1.0, drawn(3))
    again = mix(batch(), 0.8, 1.0, drawn(3))
    assert torch.equal(first.images, again.images)
    other = mix(batch(), 0.8, 1.0, drawn(3, index=torch.arange(4, 8)))
    assert other.share == first.share
    assert {mix(batch(), 0.8, 0.0, drawn(step)).share for step in range(5)} != {first.share}
    assert sorted(first.partner.tolist()) == [0, 1, 2, 3]
    assert {tuple(mix(batch(), 0.8, 0.0, drawn(step)).partner.tolist()) for step in range(20)} != {(0, 1, 2, 3)}


def test_erasing_fills_one_rectangle_of_the_allowed_area_and_aspect_with_normal_noise():
    images = torch.zeros(400, 3, 40, 40)
    index = torch.arange(400)
    erased = erase(images, 1.0, drawn(index=index))
    noise = erased[erased != 0]
    assert abs(noise.mean()) < 0.01
    assert noise.std() == pytest.approx(1, abs=0.01)
    shares = []
    for changed in (erased != 0).any(dim=1):
        rows, columns = changed.nonzero().unbind(1)
        height, width = int(rows.max() - rows.min()) + 1, int(columns.max() - columns.min()) + 1
        assert changed.sum() == height * width
        assert ASPECT[0] * 0.8 < height / width < ASPECT[1] * 1.25  # sides are whole pixels
        shares.append(height * width / 1600)
    assert AREA[0] * 0.8 < min(shares)
    assert max(shares) < AREA[1] * 1.1
    assert sum(shares) / 400 == pytest.approx(sum(AREA) / 2, abs=0.015)


def test_erasing_leaves_the_share_of_images_that_is_asked_and_no_image_knows_the_others():
    images = torch.zeros(1000, 1, 16, 16)
    erased = erase(images, 0.25, drawn(index=torch.arange(1000)))
    assert (erased != 0).flatten(1).any(dim=1).double().mean() == pytest.approx(0.25, abs=0.04)
    assert torch.equal(erase(images, 0.0, drawn(index=torch.arange(1000))), images)
    parts = [erase(images[part], 0.25, drawn(index=part)) for part in torch.arange(1000).split(137)]
    assert torch.equal(torch.cat(parts), erased)


def test_an_image_too_small_for_any_rectangle_stays():
    assert torch.equal(erase(torch.zeros(4, 3, 1, 1), 1.0, drawn()), torch.zeros(4, 3, 1, 1))


def test_a_generator_with_a_state_can_draw_too():
    images = batch().double()
    source = torch.Generator().manual_seed(1)
    mixed = mix(images, 0.5, 0.0, source)
    expected = images * mixed.share + images[mixed.partner] * (1 - mixed.share)
    assert math.isclose((mixed.images - expected).abs().max().item(), 0, abs_tol=EXACT32)
    assert erase(batch(), 1.0, source).isfinite().all()
