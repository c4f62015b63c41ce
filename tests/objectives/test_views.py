"""Two views of one image: what each change does to it, and that a view depends on seed, step and place alone."""

from __future__ import annotations

import pytest
import torch

from collapse_lab.draws import Draws
from collapse_lab.objectives.views import Views, for_view
from tests.objectives.encoders import pictures
from tests.tolerances import EXACT64

OFF = {"crop": (1.0, 1.0), "flip": False, "jitter": 0.0}


def drawn(count: int, step: int = 0) -> Draws:
    return Draws(seed=2, step=step, index=torch.arange(count))


def coordinates(count: int, side: int = 32) -> torch.Tensor:
    """Images whose first channel is the place across, and whose second that down, in shares of the side."""
    place = (torch.arange(side, dtype=torch.float64) + 0.5) / side
    across, down = place.expand(side, side), place[:, None].expand(side, side)
    return torch.stack([across, down]).expand(count, 2, side, side)


def test_with_everything_off_a_view_is_the_image():
    images = pictures()
    assert (Views(**OFF).of(images, drawn(4)) - images).abs().max() < EXACT64


def test_half_of_the_views_are_mirrored_and_nothing_else():
    images = pictures(400, side=8)
    seen = Views(**{**OFF, "flip": True}).of(images, drawn(400))
    same = [(each - image).abs().max() < EXACT64 for each, image in zip(seen, images, strict=True)]
    turned = [(each - image.flip(2)).abs().max() < EXACT64 for each, image in zip(seen, images, strict=True)]
    assert all(one != other for one, other in zip(same, turned, strict=True))
    assert 160 < sum(same) < 240


def test_a_crop_is_a_box_of_the_allowed_area_and_aspect_inside_the_image():
    seen = Views(**{**OFF, "crop": (0.2, 0.6)}).of(coordinates(300), drawn(300))
    step_across, step_down = seen[:, 0, 16, 17] - seen[:, 0, 16, 16], seen[:, 1, 17, 16] - seen[:, 1, 16, 16]
    wide, high = step_across * 32, step_down * 32
    area, aspect = wide * high, wide / high
    assert 0.2 - EXACT64 < area.min() < 0.22
    assert 0.58 < area.max() < 0.6 + EXACT64
    assert area.mean() == pytest.approx(0.4, abs=0.03)
    assert aspect.max() < 4 / 3 + EXACT64
    assert aspect.min() > 3 / 4 - EXACT64
    assert aspect.log().mean().abs() < 0.03
    ends = seen[:, :, [0, -1], [0, -1]]
    assert ends.min() >= 1 / 64 - EXACT64  # the centres of the outermost pixels
    assert ends.max() <= 63 / 64 + EXACT64
    for channel, size in enumerate((wide, high)):
        start = seen[:, channel, 16, 16] - size * 33 / 64
        room = (start / (1 - size)).clamp(0, 1)
        assert room.mean() == pytest.approx(0.5, abs=0.06)
        assert room.min() < 0.05 < 0.95 < room.max()


def test_jitter_moves_contrast_around_the_images_own_mean_and_brightness_by_its_strength():
    images = pictures(500, side=4)
    seen = Views(**{**OFF, "jitter": 0.3}).of(images, drawn(500))
    deviation = [each.std(dim=(1, 2, 3)) for each in (images, seen)]
    shift = (seen - images).mean(dim=(1, 2, 3))
    factor = deviation[1] / deviation[0]
    for found, centre in ((factor, 1), (shift, 0)):
        assert centre - 0.3 - EXACT64 < found.min() < centre - 0.28
        assert centre + 0.28 < found.max() < centre + 0.3 + EXACT64
        assert found.mean() == pytest.approx(centre, abs=0.03)
    centred = [each - each.mean(dim=(1, 2, 3), keepdim=True) for each in (images, seen)]
    assert (centred[0] * factor[:, None, None, None] - centred[1]).abs().max() < EXACT64


def test_noise_is_normal_and_of_the_deviation_that_is_asked():
    noise = Views(**OFF, noise=0.2).of(torch.zeros(200, 3, 8, 8), drawn(200))
    assert noise.mean().abs() < 0.003
    assert noise.std() == pytest.approx(0.2, rel=0.02)
    assert (noise.abs() > 0.4).double().mean() == pytest.approx(0.0455, abs=0.005)


def test_two_views_of_a_sample_have_nothing_in_common_and_both_are_the_same_again():
    images, views = pictures(side=8), Views(noise=0.1)
    first, second = (views.of(images, for_view(drawn(4), number)) for number in (0, 1))
    assert torch.equal(views.of(images, for_view(drawn(4), 0)), first)
    for other in (second, views.of(images, for_view(drawn(4, step=1), 0))):
        assert all(not torch.equal(one, two) for one, two in zip(first, other, strict=True))


def test_a_view_knows_nothing_of_the_other_images():
    images, views = pictures(20, side=8), Views(noise=0.1)
    whole = views.of(images, drawn(20))
    parts = [views.of(images[part], Draws(seed=2, step=0, index=part)) for part in torch.arange(20).split(7)]
    assert (torch.cat(parts) - whole).abs().max() < EXACT64


def test_a_generator_with_a_state_can_draw_too_and_no_gradient_comes_back():
    images = pictures().requires_grad_()
    source = torch.Generator().manual_seed(0)
    one, other = (Views().of(images, for_view(source, number)) for number in (0, 1))
    assert not torch.equal(one, other)
    assert not one.requires_grad


@pytest.mark.parametrize("wrong", [{"crop": (0.0, 1.0)}, {"crop": (0.8, 0.2)}, {"jitter": 1.5}, {"noise": -1.0}])
def test_shares_and_strengths_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match="got"):
        Views(**wrong)
