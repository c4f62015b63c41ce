"""Crops and flips: the pixels are those of a slow formula, the boxes functions of seed, step and index alone."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image

from collapse_lab.data.crop import augmented, by_matrices, one_by_one, random_boxes, resized
from collapse_lab.data.source import normalise
from collapse_lab.draws import Draws
from tests import reference
from tests.tolerances import GREY_LEVEL

RATIO = (3 / 4, 4 / 3)
SETTINGS = {"size": 12, "crop": (0.2, 1.0), "ratio": RATIO, "flip": True}


def noise(count: int, side: int, channels: int = 3) -> torch.Tensor:
    """(count, channels, side, side) uint8, channels last in memory as a pack has them."""
    source = torch.Generator().manual_seed(side)
    pixels = torch.randint(256, (count, side, side, channels), dtype=torch.uint8, generator=source)
    return pixels.permute(0, 3, 1, 2)


def drawn(count: int, step: int = 0, seed: int = 0) -> Draws:
    return Draws(seed=seed, step=step, index=torch.arange(count))


@pytest.mark.parametrize(("side", "size"), [(20, 12), (20, 20), (9, 24), (40, 5)])
def test_a_crop_has_the_pixels_of_the_formula_and_of_pillow(side, size):
    images = noise(8, side)
    boxes = random_boxes(drawn(8), (side, side), (0.1, 1), RATIO)
    found = resized(images, size, boxes)
    for image, box, crop in zip(images, boxes.tolist(), found, strict=True):
        pixels = image.permute(1, 2, 0).numpy()
        assert np.abs(reference.resized(pixels, box, size) - crop.permute(1, 2, 0).numpy()).max() < GREY_LEVEL
        top, left, high, wide = box
        part = Image.fromarray(pixels[top : top + high, left : left + wide])
        pillow = np.asarray(part.resize((size, size), Image.Resampling.BILINEAR)).astype(int)
        assert np.abs(pillow - crop.permute(1, 2, 0).numpy()).max() <= 1


@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize(("side", "size"), [(32, 32), (40, 32), (17, 40), (40, 6)])
def test_a_batch_of_matrices_gives_the_bits_of_the_kernel(side, size, channels):
    images, numbers = noise(300, side, channels), drawn(300)  # more than are multiplied at once
    boxes = random_boxes(numbers, (side, side), (0.08, 1), RATIO)
    flips = numbers.uniform("flip", 1)[:, 0] < 0.5
    assert torch.equal(by_matrices(images, size, boxes, flips), one_by_one(images, size, boxes, flips))


def test_the_order_of_channels_in_memory_changes_no_pixel():
    images = noise(6, 20)
    assert torch.equal(augmented(images, drawn(6), **SETTINGS), augmented(images.contiguous(), drawn(6), **SETTINGS))


@pytest.mark.parametrize("parts", [[1] * 37, [5, 32], [36, 1]])
def test_a_sample_is_the_same_in_whatever_part_of_the_batch_it_comes(parts):
    images = noise(37, 20)
    whole = augmented(images, drawn(37, step=3), **SETTINGS)
    places = torch.arange(37).split(parts)
    split = [augmented(images[place], Draws(seed=0, step=3, index=place), **SETTINGS) for place in places]
    assert torch.equal(torch.cat(split), whole)


def test_steps_and_seeds_crop_differently():
    images = noise(1, 20).expand(16, -1, -1, -1)
    first = augmented(images, drawn(16), **SETTINGS)
    assert not torch.equal(augmented(images, drawn(16, step=1), **SETTINGS), first)
    assert not torch.equal(augmented(images, drawn(16, seed=1), **SETTINGS), first)
    assert torch.equal(augmented(images, drawn(16), **SETTINGS), first)


def test_boxes_lie_inside_and_are_spread_as_they_are_said_to_be():
    boxes = random_boxes(drawn(20_000), (1000, 1000), (0.2, 0.5), RATIO).double()
    top, left, high, wide = boxes.unbind(1)
    area, aspect = high * wide / 1e6, (wide / high).log()
    assert min(top.min(), left.min()) == 0
    assert max((top + high).max(), (left + wide).max()) == 1000
    assert 0.199 < area.min() < 0.201
    assert 0.499 < area.max() < 0.501
    assert area.mean() == pytest.approx(0.35, abs=0.002)
    assert aspect.mean() == pytest.approx(0, abs=0.005)
    assert aspect.std() == pytest.approx(2 * math.log(4 / 3) / math.sqrt(12), rel=0.02)  # uniform
    place = top / (1000 - high)
    assert place.mean() == pytest.approx(0.5, abs=0.01)


def test_the_boxes_never_change():
    boxes = random_boxes(drawn(3, step=7, seed=1), (256, 256), (0.2, 1), RATIO)
    assert boxes.tolist() == [[62, 60, 187, 179], [61, 91, 137, 106], [29, 8, 184, 213]]


@pytest.mark.parametrize(
    ("side", "ratio", "box"),
    [
        ((40, 40), (2.0, 4.0), [10, 0, 20, 40]),
        ((40, 40), (0.2, 0.5), [0, 10, 40, 20]),
    ],
)
def test_where_no_box_fits_the_largest_in_the_middle_is_taken(side, ratio, box):
    assert random_boxes(drawn(4), side, (1.0, 1.0), ratio).tolist() == [box] * 4


def test_half_of_the_samples_are_mirrored_and_nothing_else_happens_to_them():
    images = noise(2000, 4)
    found = augmented(images, drawn(2000), size=4, crop=None, ratio=RATIO, flip=True)
    mirrored = (found == images.flip(3)).flatten(1).all(1)
    kept = (found == images).flatten(1).all(1)
    assert bool((mirrored ^ kept).all())
    assert 0.45 < mirrored.double().mean() < 0.55


def test_with_neither_crop_nor_flip_images_of_the_size_are_handed_on():
    images = noise(2, 8)
    assert augmented(images, drawn(2), size=8, crop=None, ratio=RATIO, flip=False) is images
    whole = augmented(noise(2, 16), drawn(2), size=8, crop=None, ratio=RATIO, flip=False)
    assert torch.equal(whole, resized(noise(2, 16), 8))


def test_whole_images_are_scaled_without_loss_of_their_mean():
    grey = torch.full((1, 3, 50, 50), 77, dtype=torch.uint8)
    assert resized(grey, 13).unique().tolist() == [77]


@pytest.mark.parametrize("side", [3, 300, 600])
def test_normalised_in_parts_or_at_once_has_the_same_bits(side):
    images = noise(3, side)
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    centre, scale = (torch.tensor(each)[:, None, None] for each in (mean, std))
    assert torch.equal(normalise(images, mean, std), (images.float() / 255 - centre) / scale)
    assert normalise(images, mean, std).is_contiguous()
