"""When an alert goes on and off, on planted values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest

from collapse_lab.findings.alarm import Alarm, Alert
from collapse_lab.findings.alerts import read_rule
from tests.findings.tables import row

FALL = "effective_rank of * fell 30 % below its own maximum"


def judged(rule: str, checks: Sequence[float | dict[str, Any]], **settings: Any) -> list[Alert]:
    """The changes that one site's values bring, a check each; a step counts 10."""
    alarm = Alarm([read_rule(rule)], settings.pop("untrained", None))
    metric, found = rule.split()[0], []
    for number, check in enumerate(checks):
        facts = check if isinstance(check, dict) else {"value": check}
        found += alarm.judge([row(**{"seed": 0, "site": "blocks", "step": 10 * number, "metric": metric, **facts})])
    return found


def states(rule: str, checks: Sequence[float | dict[str, Any]], **settings: Any) -> list[tuple[int, str]]:
    return [(alert.step, alert.state) for alert in judged(rule, checks, **settings)]


def broken(status: str = "degenerate", value: float = math.nan) -> dict[str, Any]:
    return {"value": value, "status": status, "reason": "all rows are the same"}


SILENT = {"value": math.nan, "status": "insufficient", "reason": "too few"}


def test_a_fall_by_more_than_the_percentage_from_the_highest_value_so_far_goes_on():
    assert states(FALL, [10, 20, 15, 14.1]) == []
    assert states(FALL, [10, 20, 15, 13.9]) == [(30, "on")]


def test_an_alert_is_off_again_only_half_of_the_way_back_and_both_are_logged():
    # Maximum 20, threshold 14, half of the way back 17.
    assert states(FALL, [20, 13, 14.5, 13, 16.9, 13]) == [(10, "on")]
    assert states(FALL, [20, 13, 16.9, 17.1, 14.5, 13]) == [(10, "on"), (30, "off"), (50, "on")]


def test_the_maximum_goes_on_rising_after_a_recovery():
    assert states(FALL, [20, 13, 40, 27]) == [(10, "on"), (20, "off"), (30, "on")]


@pytest.mark.parametrize(
    ("rule", "values", "expected"),
    [
        ("dead_channels of * rose 50 % above its own minimum", [0.4, 0.2, 0.29, 0.31, 0.26, 0.24], [3, 5]),
        ("effective_rank of * fell 50 % below the untrained value", [10, 90, 6, 4, 6, 8], [3, 5]),
        ("dead_channels of * rose 100 % above the untrained value", [0.1, 0.01, 0.19, 0.21, 0.16, 0.14], [3, 5]),
        ("effective_rank of * is below 10", [20, 9, 14.9, 15.1], [1, 3]),  # half of the way to the best so far, 20
        ("effective_rank of * is below 10", [8, 9, 10, 11], [0, 2]),  # never better: the number itself
        ("position_cosine_centred of * is above 0.9", [0.5, 0.95, 0.71, 0.69], [1, 3]),
    ],
)
def test_every_form_of_a_rule_has_its_reference_and_its_way_back(rule, values, expected):
    assert states(rule, values) == list(zip([10 * number for number in expected], ("on", "off"), strict=False))


def test_for_n_checks_asks_for_n_in_a_row():
    rule = f"{FALL}, for 3 checks"
    assert states(rule, [20, 13, 13, 15, 13, 13]) == []
    assert states(rule, [20, 13, 13, 13, 13]) == [(30, "on")]


@pytest.mark.parametrize("status", ["degenerate", "non_finite"])
def test_a_broken_layer_counts_as_the_worst_value_whatever_its_finite_rows_say(status):
    (alert,) = judged(FALL, [20, broken(status, 20.0)])
    assert (alert.state, alert.status, alert.value) == ("on", status, 20.0)
    assert "this counts as the worst value, since all rows are the same" in alert.text


def test_a_broken_value_is_worst_in_the_direction_of_collapse():
    assert states("dead_channels of * is above 0.5", [0.1, broken()]) == [(10, "on")]
    with pytest.warns(UserWarning, match="collapses when it is high"):
        assert states("dead_channels of * is below 0.5", [0.6, broken()]) == []


def test_a_broken_value_leaves_no_mark_as_a_reference():
    assert states("dead_channels of * rose 10 % above its own minimum", [0.5, broken(value=0.0), 0.5]) == [
        (10, "on"),
        (20, "off"),
    ]


def test_a_layer_broken_from_the_start_is_on_from_the_start():
    (alert,) = judged(FALL, [broken()])
    assert (alert.step, alert.state) == (0, "on")
    assert math.isnan(alert.reference)


def test_an_insufficient_value_changes_nothing():
    assert states(FALL, [20, SILENT, 13, SILENT, SILENT]) == [(20, "on")]
    assert states(f"{FALL}, for 2 checks", [20, 13, SILENT, 13]) == [(30, "on")]


def test_biased_values_are_compared_since_every_check_has_the_same_images():
    biased = {"status": "biased", "reason": "few rows"}
    (alert,) = judged(FALL, [{"value": 20.0, **biased}, {"value": 10.0, **biased}])
    assert "640 images, biased" in alert.text


def test_an_alert_says_its_numbers():
    on, off = judged(f"{FALL}, stop", [20, 13, 19])
    assert on == Alert(
        step=10,
        rule=f"{FALL}, stop",
        site="blocks",
        positions="sampled:8",
        metric="effective_rank",
        value=13.0,
        status="ok",
        reference=20.0,
        threshold=14.0,
        n_images=640,
        state="on",
        stop=True,
        text="effective_rank of blocks (sampled:8) is 13 at step 10 (640 images): 35.0% below its own maximum, 20, "
        "where the rule asks for 30 %",
    )
    assert not off.stop
    assert off.text.endswith("is 19 at step 20 (640 images): recovered past 17, half of the way from 14 back to 20")


def test_a_rise_from_zero_is_more_than_any_percentage_and_said_without_a_division():
    (alert,) = judged("dead_channels of * rose 50 % above its own minimum", [0.0, 0.001])
    assert "above its own minimum, 0, where the rule asks for 50 %: from 0 anything is more" in alert.text


def test_sites_and_policies_are_judged_apart():
    alarm = Alarm([read_rule(FALL)])
    places = [("a", "pooled"), ("b", "pooled"), ("a", "all")]
    for step, values in enumerate([(20, 10, 5), (13, 10, 5), (13, 6, 5)]):
        rows = [row(v, seed=0, site=s, positions=p, step=step) for v, (s, p) in zip(values, places, strict=True)]
        found = alarm.judge(rows)
        expected = [[], [("a", "pooled")], [("b", "pooled")]][step]
        assert [(alert.site, alert.positions) for alert in found] == expected


def test_untrained_rows_are_the_reference_where_they_are_given():
    before = [row(10.0, seed=0, site="blocks")]
    rule = "effective_rank of * fell 30 % below the untrained value"
    assert states(rule, [8, 6.9], untrained=before) == [(10, "on")]
    assert states(FALL, [8, 6.9], untrained=before) == []  # its own maximum is of the training


def test_a_rule_that_nothing_can_speak_for_is_refused_at_once():
    with pytest.raises(ValueError, match="effective_rank has no value at its sites \\(too few\\)"):
        judged(FALL, [SILENT])
    rule = "effective_rank of * fell 30 % below the untrained value"
    with pytest.raises(ValueError, match=r"there is no untrained value of blocks \(sampled:8\)"):
        judged(rule, [20], untrained=[row(10.0, seed=0, site="elsewhere")])
    with pytest.raises(ValueError, match="there is no untrained value of blocks"):
        judged(rule, [20], untrained=[row(math.nan, seed=0, site="blocks", status="degenerate")])


def test_rows_of_before_an_interruption_bring_the_same_state():
    values = [20, 13, 13, 18, 13, 13, 10]
    rule = f"{FALL}, for 2 checks"
    rows = [[row(value, seed=0, site="blocks", step=step)] for step, value in enumerate(values)]
    whole, resumed = Alarm([read_rule(rule)]), Alarm([read_rule(rule)])
    expected = [whole.judge(check) for check in rows]
    assert [resumed.judge(check, again=number < 4) for number, check in enumerate(rows)] == expected
    assert [len(changes) for changes in expected] == [0, 0, 1, 1, 0, 1, 0]
