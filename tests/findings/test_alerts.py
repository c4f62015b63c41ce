"""Rules in words: what can be said, what each says, and what is refused with the grammar."""

from __future__ import annotations

import math
import re

import pytest

from collapse_lab.findings.alerts import GRAMMAR, read_rule, read_rules

SITES = ["stages.1.blocks.0", "stages.2.blocks.0", "stages.2.blocks.1", "stages.2.blocks.1.act"]


def test_the_example_in_the_grammar_is_a_rule():
    rule = read_rule(re.search(r"For example: '(.*)'$", GRAMMAR)[1])
    assert (rule.metric, rule.sites, rule.falls) == ("effective_rank", "stages.2.*", True)
    assert (rule.percent, rule.reference, rule.level) == (30, "its own maximum", None)
    assert (rule.checks, rule.stop) == (2, True)


@pytest.mark.parametrize(
    ("words", "falls", "threshold"),
    [
        ("effective_rank of * fell 30 % below its own maximum", True, 7.0),
        ("effective_rank of * fell 2.5% below the untrained value", True, 9.75),
        ("dead_channels of * rose 200 % above its own minimum", False, 30.0),
        ("dead_channels of * rose 50 % above the untrained value", False, 15.0),
        ("effective_rank of * is below 12", True, 12.0),
        ("position_cosine_centred of * is above 9.5e-1", False, 0.95),
        ("position_cosine_centred of  *  is above -.5 , stop", False, -0.5),
    ],
)
def test_a_rule_holds_beyond_its_threshold(words, falls, threshold):
    rule = read_rule(words)
    assert rule.falls == falls
    assert rule.threshold(10.0) == pytest.approx(threshold)
    assert not rule.beyond(rule.threshold(10.0), rule.threshold(10.0))
    assert rule.beyond(-100.0 if falls else 100.0, threshold)
    assert not rule.beyond(math.nan, threshold)


def test_a_fall_from_a_negative_reference_goes_further_down():
    assert read_rule("pair_cosine_centred of * rose 50 % above its own minimum").threshold(-0.2) == pytest.approx(-0.1)


def test_without_more_words_a_rule_asks_for_one_check_and_does_not_stop():
    rule = read_rule("effective_rank of * is below 12")
    assert (rule.checks, rule.stop) == (1, False)


@pytest.mark.parametrize(
    "words",
    [
        "",
        "effective_rank",
        "effective_rank fell 30 % below its own maximum",
        "effective_rank of stages.2.* fell 30 below its own maximum",
        "effective_rank of stages.2.* fell 30 % above its own maximum",
        "effective_rank of stages.2.* fell 30 % below its own minimum",
        "effective_rank of stages.2.* fell 30 % below the moon",
        "effective_rank of stages.2.* rose 30 % above its own maximum",
        "effective_rank of stages.2.* fell 0 % below its own maximum",
        "effective_rank of stages.2.* fell 100 % below its own maximum",
        "effective_rank of stages.2.* fell -5 % below its own maximum",
        "effective_rank of stages.2.* is below many",
        "effective_rank of stages.2.* is below 3, for 0 checks",
        "effective_rank of stages.2.* is below 3, for ever",
        "effective_rank of stages.2.* is below 3, stop, for 2 checks",
        "effective_rank of stages.2.* is below 3 and stop",
    ],
)
def test_other_words_are_refused_with_the_grammar(words):
    with pytest.raises(ValueError, match=re.escape("METRIC of SITES, then one of: 'fell X % below its own maximum'")):
        read_rule(words)


def test_an_unknown_metric_is_named_with_the_nearest():
    with pytest.raises(LookupError, match="did you mean 'effective_rank'"):
        read_rule("efective_rank of * is below 3")


@pytest.mark.parametrize(
    ("words", "way"),
    [
        ("effective_rank of * is above 3", "holds when effective_rank rises, but it collapses when it is low"),
        ("dead_channels of * is below 0.1", "holds when dead_channels falls, but it collapses when it is high"),
    ],
)
def test_a_rule_against_the_direction_of_collapse_is_taken_with_a_warning(words, way):
    with pytest.warns(UserWarning, match=way):
        read_rule(words)


@pytest.mark.parametrize(
    ("pattern", "fitting"),
    [
        ("stages.2.*", SITES[1:]),
        ("stages.2.blocks.*", SITES[1:]),
        ("stages.*.blocks.0", SITES[:2]),
        ("kind:block", SITES[:3]),
        ("*.act", SITES[3:]),
        ("**", SITES),
    ],
)
def test_a_star_at_the_end_of_a_pattern_takes_everything_below(pattern, fitting):
    (rule,) = read_rules([f"effective_rank of {pattern} is below 3"], SITES)
    assert [site for site in SITES if rule.fits(site)] == fitting


def test_a_pattern_that_takes_no_watched_site_is_refused():
    with pytest.raises(LookupError, match=r"no watched site matches 'stages.9.\*'.*There is: stages.1.blocks.0"):
        read_rules(["effective_rank of stages.9.* is below 3"], SITES)


def test_one_rule_need_not_stand_in_a_list():
    assert len(read_rules("effective_rank of * is below 3", ["layer"])) == 1
