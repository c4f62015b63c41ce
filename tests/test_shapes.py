"""One canonical layout, reached from declared ones only."""

from __future__ import annotations

import pytest
import torch

from collapse_lab.shapes import as_features


@pytest.mark.parametrize(
    ("layout", "shape"),
    [
        ("image position channel", (2, 6, 4)),
        ("image channel position", (2, 4, 6)),
        ("image channel height width", (2, 4, 3, 2)),
        ("image height width channel", (2, 3, 2, 4)),
        ("position image channel", (6, 2, 4)),
    ],
)
def test_every_layout_of_the_same_values_gives_the_same_features(layout, shape):
    features = torch.arange(48.0).reshape(2, 6, 4)
    axes = {"image": 0, "position": 1, "height": 1, "width": 2, "channel": -1}
    whole = features.unflatten(1, (3, 2)) if "height" in layout else features
    given = whole.permute([axes[name] % whole.ndim for name in layout.split()])
    assert given.shape == shape
    assert torch.equal(as_features(given, layout), features)


def test_an_image_and_its_channels_are_one_position():
    assert as_features(torch.ones(5, 3), "image channel").shape == (5, 1, 3)


@pytest.mark.parametrize("layout", ["image height width", "image channel channel", "image chanel position", ""])
def test_what_is_no_layout_is_refused(layout):
    with pytest.raises(ValueError, match="name each axis once"):
        as_features(torch.ones(2, 3, 4), layout)


def test_a_tensor_of_another_number_of_axes_is_refused():
    with pytest.raises(ValueError, match=r"\(2, 3\) has 2 axes, layout 'image position channel' names 3"):
        as_features(torch.ones(2, 3))
