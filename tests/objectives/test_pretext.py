"""Targets made of the images themselves: quarter turns, and the colour of a grey image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from collapse_lab.draws import Draws
from collapse_lab.objectives.pretext import TURNS, Colorization, Rotation, luma_chroma, turned
from tests.objectives.encoders import Quadrants, pictures, small
from tests.tolerances import EXACT64, PINNED

CORNERS = (0, 2, 3, 1)
"""The quadrants, counted row by row, in the order in which a corner visits them when it is turned."""


def drawn(index: torch.Tensor, step: int = 3) -> Draws:
    return Draws(seed=1, step=step, index=index)


def bright_corner(count: int = 3) -> torch.Tensor:
    images = torch.zeros(count, 3, 8, 8, dtype=torch.float64)
    images[:, :, :4, :4] = torch.rand(count, 1, 1, 1, dtype=torch.float64) + 1
    return images


def all_knowing() -> Rotation:
    """It sees which quadrant is the brightest, and its head says the turn that brought the first corner there."""
    objective = Rotation(Quadrants()).double().eval()
    with torch.no_grad():
        objective.head.weight.copy_(torch.eye(4)[list(CORNERS)] * 10)
    return objective


@pytest.mark.parametrize("turn", range(TURNS))
def test_a_corner_goes_round_counter_clockwise(turn):
    image = turned(bright_corner(1), torch.tensor([turn]))
    brightest = Quadrants().forward_features(image).flatten().argmax()
    assert brightest == CORNERS[turn]


def test_turns_add_up_and_every_image_has_its_own():
    images, turns = pictures(8), torch.arange(8) % TURNS
    once = turned(images, turns)
    assert torch.equal(turned(once, (TURNS - turns) % TURNS), images)
    assert torch.equal(turned(once, turns), turned(images, (2 * turns) % TURNS))
    assert torch.equal(once[0], images[0])
    assert all(not torch.equal(once[place], images[place]) for place in range(1, 4))


def test_an_encoder_that_sees_the_corner_tells_all_four_turns_and_none_of_a_blank_image():
    objective = all_knowing()
    found = objective(bright_corner())
    assert found.metrics["top1"] == 1
    assert found.loss < 0.01
    blank = objective(torch.ones(3, 3, 8, 8, dtype=torch.float64))
    assert blank.metrics["top1"] == 1 / TURNS
    assert blank.loss.item() == pytest.approx(np.log(TURNS), rel=PINNED)


def test_a_picture_turned_beforehand_has_its_answers_turned_with_it():
    objective = all_knowing()
    images = bright_corner(1)
    upright = [objective._logits(turned(images, torch.tensor([turn])), None).argmax().item() for turn in range(TURNS)]
    sideways = turned(images, torch.tensor([1]))
    again = [objective._logits(turned(sideways, torch.tensor([turn])), None).argmax().item() for turn in range(TURNS)]
    assert upright == [0, 1, 2, 3]
    assert again == [1, 2, 3, 0]


def test_the_turn_of_a_sample_depends_on_seed_step_and_its_place_alone():
    objective, images, index = Rotation(Quadrants()).double().train(), pictures(400), torch.arange(400)

    def seen(part: torch.Tensor, step: int = 3) -> torch.Tensor:
        objective(images[part], generator=drawn(part, step))
        return objective.encoder.seen

    whole = seen(index)
    assert torch.equal(torch.cat([seen(part) for part in index.split(137)]), whole)
    assert not torch.equal(seen(index, step=4), whole)
    turns = [
        torch.equal(image, turned(each[None], torch.tensor([0]))[0]) for image, each in zip(whole, images, strict=True)
    ]
    assert 60 < sum(turns) < 140  # a quarter of 400 stays as it is


def test_the_loss_of_rotation_is_the_mean_cross_entropy_of_the_turns():
    objective, images = Rotation(small()).double().eval(), pictures()
    expected = []
    for turn in range(TURNS):
        pooled = objective.encoder.forward_features(images.rot90(turn, (2, 3))).mean(dim=(2, 3))
        logits = objective.head(objective.norm(pooled))
        expected += [-(row - row.exp().sum().log())[turn].item() for row in logits]
    assert objective(images).loss.item() == pytest.approx(np.mean(expected), rel=EXACT64)


def test_pictures_that_are_not_square_are_not_turned():
    with pytest.raises(ValueError, match="turns square images, got 8 x 16"):
        Rotation(Quadrants())(torch.zeros(1, 3, 8, 16))


@pytest.mark.parametrize(
    ("colour", "luma", "chroma"),
    [
        ((1, 0, 0), 0.299, (-0.299 / 1.772, 0.5)),
        ((0, 1, 0), 0.587, (-0.587 / 1.772, -0.587 / 1.402)),
        ((0, 0, 1), 0.114, (0.5, -0.114 / 1.402)),
        ((1, 1, 1), 1.0, (0, 0)),
    ],
)
def test_luma_and_chroma_of_the_primaries(colour, luma, chroma):
    pixel = torch.tensor(colour, dtype=torch.float64).reshape(1, 3, 1, 1)
    grey, found = luma_chroma(pixel)
    assert grey.item() == pytest.approx(luma, rel=PINNED)
    assert found.flatten().tolist() == pytest.approx(chroma, abs=PINNED)


def test_a_grey_picture_has_no_chroma_at_all():
    grey = torch.rand(4, 1, 8, 8).expand(-1, 3, -1, -1)
    luma, chroma = luma_chroma(grey)
    assert torch.equal(luma, grey[:, :1])
    assert not chroma.any()
    objective = Colorization(small(), mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)).double()
    assert objective(grey.double()).metrics["grey"] == 0


def test_the_encoder_sees_a_grey_picture_normalised_and_nothing_of_the_colour():
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)
    objective = Colorization(Quadrants(), mean=mean, std=std).double()
    pixels = torch.rand(3, 3, 8, 8, dtype=torch.float64)
    # The same luma, another colour: red and blue move against each other.
    other = pixels + torch.tensor([0.114, 0, -0.299], dtype=torch.float64)[:, None, None]
    seen = []
    for each in (pixels, other):
        objective((each - objective.mean) / objective.std)
        seen.append(objective.encoder.seen * objective.std + objective.mean)
    assert (seen[0] - seen[1]).abs().max() < EXACT64
    assert (seen[0] - luma_chroma(pixels)[0]).abs().max() < EXACT64


def test_the_loss_of_colorization_is_the_squared_error_of_every_chroma_value():
    objective, images = Colorization(small(), mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)).double(), pictures(2)
    nn.init.normal_(objective.predict.weight, generator=torch.Generator().manual_seed(0))
    luma, chroma = luma_chroma(images)
    features = objective.encoder.forward_features(luma.expand(-1, 3, -1, -1))
    errors = []
    for n in range(2):
        for row in range(2):
            for column in range(2):
                said = objective.predict(objective.norm(features[n, :, row, column])).reshape(8, 8, 2)
                true = chroma[n, :, row * 8 : row * 8 + 8, column * 8 : column * 8 + 8].permute(1, 2, 0)
                errors += ((said - true) ** 2).flatten().tolist()
    outcome = objective(images)
    assert outcome.loss.item() == pytest.approx(np.mean(errors), rel=EXACT64)
    assert outcome.metrics["grey"].item() == pytest.approx((chroma**2).mean().item(), rel=EXACT64)


def test_colour_needs_three_channels():
    with pytest.raises(ValueError, match="needs images of 3 channels, not 1"):
        Colorization(small(in_channels=1))
