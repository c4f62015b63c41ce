"""Which places of a model a pattern means."""

from __future__ import annotations

import pytest

from collapse_lab.capture.sites import find_sites, kind_of, match_sites, matches_path, read_site
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


def test_a_module_under_two_names_is_found_under_its_first():
    model = Small()
    model.twin = model.conv
    with pytest.raises(LookupError, match=r"'twin': it is the same module as 'conv'; its calls are conv#0, conv#1"):
        match_sites(model, ["twin"])


@pytest.mark.parametrize(
    ("address", "path", "call", "part", "before", "keys"),
    [
        ("a.b", "a.b", None, "", False, ""),
        ("a.b#2", "a.b", 2, "", False, ""),
        ("a@hidden.0", "a", None, "hidden.0", False, "hidden.0"),
        ("a#0@input", "a", 0, "input", True, "0"),
        ("a@input.1", "a", None, "input.1", True, "1"),
        ("a@input.mask", "a", None, "input.mask", True, "mask"),
        ("a@inputs", "a", None, "inputs", False, "inputs"),
    ],
)
def test_an_address_names_module_call_and_part_and_is_written_as_it_is_read(address, path, call, part, before, keys):
    site = read_site(address)
    assert (site.path, site.call, site.part, site.before, site.keys) == (path, call, part, before, keys)
    assert site.name == address


@pytest.mark.parametrize("address", ["a#b", "a#", "a@", "a#1#2"])
def test_what_is_no_address_is_refused_with_the_forms_there_are(address):
    with pytest.raises(ValueError, match=r"is no address of a site; expected PATH, PATH#CALL"):
        read_site(address)


def test_call_and_part_stay_on_every_site_that_a_pattern_chooses():
    model = small()
    acts = ["stages.0.blocks.0.act", "stages.1.blocks.0.act", "stages.1.blocks.1.act"]
    assert match_sites(model, ["class:GELU@input"]) == [f"{act}@input" for act in acts]
    assert match_sites(model, ["*.act#1@x.y"]) == [f"{act}#1@x.y" for act in acts]
    assert match_sites(model, ["kind:act", acts[0] + "@input"])[:2] == [acts[0], acts[0] + "@input"]


@pytest.mark.parametrize(
    ("pattern", "site", "fits"),
    [
        ("a.*", "a.b#3", True),
        ("a.*#3", "a.b#3", True),
        ("a.*#2", "a.b#3", False),
        ("a.*", "a.b@key", True),
        ("a.*", "a.b@input", False),
        ("a.*@input", "a.b@input", True),
        ("a.*@key", "a.b", False),
        ("kind:block", "blocks.1@input", False),
        ("kind:block@input", "blocks.1#0@input", True),
    ],
)
def test_a_pattern_without_call_or_part_fits_every_call_and_output_but_no_input(pattern, site, fits):
    assert matches_path(pattern, site) is fits


def test_an_input_is_of_another_kind_than_the_output():
    assert kind_of("stages.0.blocks.1#2@hidden") == "block"
    assert kind_of("stages.0.blocks.1#2@input") == "block@input"
