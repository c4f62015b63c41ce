"""Sites of unlike networks held against each other: like kinds, like depths, no site twice."""

from __future__ import annotations

import pandas as pd
import pytest

from collapse_lab.findings.places import places_of


def network(arm: str, sites: list[str]) -> pd.DataFrame:
    """One row a site, at the relative depth that a capture gives it."""
    last = max(1, len(sites) - 1)
    return pd.DataFrame({"arm": arm, "site": sites, "depth": [number / last for number in range(len(sites))]})


def blocks(count: int) -> list[str]:
    return [f"blocks.{number}" for number in range(count)]


def both(one: list[str], other: list[str]) -> pd.DataFrame:
    return pd.concat([network("a", one), network("b", other)], ignore_index=True)


def test_sites_of_one_name_are_common_and_stand_by_depth():
    found = places_of(both(["stem", "blocks.0", "blocks.1"], ["blocks.0", "blocks.1", "head"]))
    assert [(place.label, place.kind, place.depth) for place in found] == [
        ("blocks.0", "block", 0.5),
        ("blocks.1", "block", 1.0),
    ]
    assert found[0].sites == {"a": "blocks.0", "b": "blocks.0"}


def test_three_blocks_meet_the_first_the_middle_and_the_last_of_nine():
    found = places_of(both(blocks(3), blocks(9)), "depth")
    assert [place.label for place in found] == ["block @ 0.000", "block @ 0.500", "block @ 1.000"]
    assert [place.sites["a"] for place in found] == blocks(3)
    assert [place.sites["b"] for place in found] == ["blocks.0", "blocks.4", "blocks.8"]


def test_the_shallower_network_gives_the_places_wherever_it_stands():
    found = places_of(both(blocks(9), blocks(3)), "depth")
    assert [(place.sites["a"], place.sites["b"]) for place in found] == [
        ("blocks.0", "blocks.0"),
        ("blocks.4", "blocks.1"),
        ("blocks.8", "blocks.2"),
    ]


def test_only_sites_of_like_kind_meet():
    one = [name for number in range(2) for name in (f"blocks.{number}.act", f"blocks.{number}")]
    found = places_of(both([*one, "head"], ["stem", *blocks(4)]), "depth")
    assert {place.kind for place in found} == {"block"}
    assert [place.sites for place in found] == [
        {"a": "blocks.0", "b": "blocks.0"},  # depths 0.25 and 0.25
        {"a": "blocks.1", "b": "blocks.2"},  # both at 0.75
    ]


def test_no_site_stands_for_two_and_their_order_is_kept():
    crowded = pd.DataFrame({"arm": "a", "site": blocks(3), "depth": [0.48, 0.5, 0.52]})
    found = places_of(pd.concat([crowded, network("b", blocks(5))]), "depth")
    assert [place.sites["b"] for place in found] == ["blocks.1", "blocks.2", "blocks.3"]


def test_a_network_meets_itself_at_every_site():
    names = ["stem", *blocks(6), "norm"]
    found = places_of(both(names, names), "depth")
    assert [place.sites["a"] for place in found] == [place.sites["b"] for place in found] == names


def test_bare_statistics_have_one_place_without_a_name():
    (found,) = places_of(both([""], [""]))
    assert (found.label, found.sites) == ("", {"a": "", "b": ""})


@pytest.mark.parametrize(
    ("one", "other", "align", "words"),
    [
        (["layers.0"], ["layers.1"], "site", r"no site in common: a has layers.0 .*; b has layers.1 .*align='depth'"),
        (["stem"], ["head"], "site", "no site in common: a has stem ...; b has head .... Capture the same"),
        (["stem"], ["head"], "depth", "no kind of site in common"),
        (["stem"], [""], "site", "b has none"),
        (["stem"], ["stem"], "width", "aligned by 'site' or by 'depth', got 'width'"),
    ],
)
def test_arms_without_a_common_place_are_told_what_to_do(one, other, align, words):
    with pytest.raises(ValueError, match=words):
        places_of(both(one, other), align)


def test_layers_that_have_numbers_for_names_are_matched_by_depth_too():
    found = places_of(both(["0", "1", "2"], ["0", "1", "2", "3", "4"]), "depth")
    assert [place.label for place in found] == ["layer @ 0.000", "layer @ 0.500", "layer @ 1.000"]
    assert [place.sites["b"] for place in found] == ["0", "2", "4"]
