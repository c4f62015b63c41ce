"""Which modules a pattern means, and in what order their axes stand."""

from __future__ import annotations

import pytest
from torch import nn

from collapse_lab.capture.sites import find_sites, kind_of, layout_of, match_sites, matches_path
from tests.capture.small import Small
from tests.models.networks import small


@pytest.mark.parametrize(
    ("pattern", "path", "fits"),
    [
        ("stages.*.blocks.*.act", "stages.0.blocks.11.act", True),
        ("stages.*.blocks.*.act", "stages.0.blocks.11.act.inner", False),
        ("stages.*.act", "stages.0.blocks.1.act", False),
        ("stages.**", "stages.0.blocks.1.act", True),
        ("stages.**.act", "stages.0.blocks.1.act", True),
        ("stages.**.act", "stages.act", True),
        ("*.act", "stages.0.blocks.1.act", True),
        ("*.act", "act", True),
        ("*", "act", True),
        ("*", "stages.0", False),
        ("stages.[01].blocks.?", "stages.1.blocks.3", True),
        ("stages.[!01].blocks.?", "stages.1.blocks.3", False),
        ("layer?", "layer.", False),
        ("lay*1", "layer11", True),
        ("layer+1", "layer+1", True),
        ("kind:block", "stages.0.blocks.1", True),
        ("kind:act", "stages.0.blocks.1.act", True),
        ("kind:block", "stages.0.blocks.1.act", False),
    ],
)
def test_a_pattern_goes_by_whole_names(pattern, path, fits):
    assert matches_path(pattern, path) is fits


@pytest.mark.parametrize(
    ("site", "kind"),
    [
        ("stages.2.blocks.0", "block"),
        ("a.act", "act"),
        ("layers.3", "layer"),
        ("0", "layer"),
        ("3.1", "layer"),
        ("blocks.2.0", "block"),
        ("x", "x"),
    ],
)
def test_a_kind_is_the_last_name_that_is_no_number(site, kind):
    assert kind_of(site) == kind


def test_sites_are_found_in_the_models_order_whatever_the_patterns_order():
    model = small()
    acts = ["stages.0.blocks.0.act", "stages.1.blocks.0.act", "stages.1.blocks.1.act"]
    assert match_sites(model, ["stages.1.blocks.*.act", "*.act"]) == acts
    assert match_sites(model, "class:GELU") == acts
    assert match_sites(model, ["kind:block", "stem"])[0] == "stem"
    assert "stages" not in find_sites(model)  # a list of modules has no output


def test_a_pattern_that_matches_nothing_names_the_nearest_site():
    with pytest.raises(LookupError, match=r"no site matches 'stages\.0\.blocks\.0\.acts'; did you mean 'stages\.0\.b"):
        match_sites(small(), ["stages.0.blocks.0.acts"])
    with pytest.raises(LookupError, match="no site matches"):
        match_sites(Small(), ["conv", "stages.9.*"])


class LayerNorm2d(nn.LayerNorm):
    """As in timm and torchvision: a LayerNorm on channels-first maps."""


@pytest.mark.parametrize(
    ("module", "shape", "expected"),
    [
        (nn.Conv2d(3, 4, 1), (2, 4, 5, 5), "image channel height width"),
        (nn.BatchNorm2d(4), (2, 4, 5, 5), "image channel height width"),
        (nn.Linear(3, 4), (2, 4), "image channel"),
        (nn.Linear(3, 4), (2, 7, 4), "image position channel"),
        (nn.LayerNorm(4), (2, 5, 5, 4), "image height width channel"),
    ],
)
def test_torchs_own_modules_have_the_axes_torch_gives_them(module, shape, expected):
    model = nn.Sequential(module)
    assert layout_of(model, "0", shape, None) == expected


@pytest.mark.parametrize("module", [nn.ReLU(), LayerNorm2d(4), nn.Conv1d(3, 4, 1)])
def test_an_unknown_layout_must_be_told_and_the_error_says_how(module):
    with pytest.raises(ValueError, match=r"of shape \(2, 4, 5, 5\) .*for example layout=\{'0': 'image channel height"):
        layout_of(nn.Sequential(module), "0", (2, 4, 5, 5), None)


def test_the_users_word_comes_before_the_models_and_the_models_before_torchs():
    model = nn.Sequential(nn.Conv2d(3, 4, 1))
    assert layout_of(model, "0", (2, 4, 5, 5), "image height width channel") == "image height width channel"
    assert layout_of(model, "0", (2, 4, 5, 5), {"*": "image token height channel"}) == "image token height channel"
    assert layout_of(model, "0", (2, 4, 5, 5), {"other": "image"}) == "image channel height width"
    model.layout = "image position channel"
    assert layout_of(model, "0", (2, 4, 5), None) == "image position channel"
    assert layout_of(model, "0", (2, 4, 5, 5), None) == "image channel height width"  # what is declared does not fit


def test_every_site_of_our_models_is_declared():
    model = small()
    assert layout_of(model, "stages.0.blocks.0.depthwise", (2, 16, 4), None) == "image position channel"
