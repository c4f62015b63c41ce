"""Thresholds are data: each with a metric, a side and a reason, and open to change."""

from __future__ import annotations

import math

import pytest

from collapse_lab.findings.rules import RULES
from collapse_lab.findings.table import METRICS
from collapse_lab.findings.thresholds import limits, published

EVERY = pytest.mark.parametrize("name", list(published()))


@EVERY
def test_every_threshold_has_a_metric_a_side_and_a_reason(name):
    threshold = published()[name]
    assert threshold.metric in METRICS
    assert threshold.finding in ("below", "above")
    assert threshold.reason.endswith(".")
    assert 0 < threshold.value < 1


@EVERY
def test_every_threshold_moves_a_rule_in_the_direction_it_says(name):
    threshold = published()[name]
    nearly = {"n_images": 99, "n_effective": 99.0, "channels": 9, "variance_share": 0.5}
    step = 0.1 * threshold.value if threshold.finding == "above" else -0.1 * threshold.value
    # Structure by class is asked for where there are few directions alone.
    low = {"effective_rank_null_share": 0.01} if "class" in name or "cluster" in name else {}
    values = nearly | low | {threshold.metric: min(0.999, threshold.value + step)}
    beyond = {name: min(0.9999, threshold.value + 2 * step)}
    before, after = (
        {(rule.kind, rule.fault) for rule in RULES if rule.severity(values, limits(at)) is not None}
        for at in (None, beyond)
    )
    assert before != after


def test_what_is_not_changed_stays_published(tmp_path):
    assert limits() == {name: published()[name].value for name in published()}
    assert limits({"one_way": 0.9}) == limits() | {"one_way": 0.9}
    path = tmp_path / "own.toml"
    path.write_text("one_way = 0.9\n[many_dead]\nvalue = 0.2\nreason = 'ours'\n")
    assert limits(path) == limits(str(path)) == limits() | {"one_way": 0.9, "many_dead": 0.2}


@pytest.mark.parametrize("value", [0, 1, -0.1, 1.1, math.nan, math.inf, True, "0.5", None])
def test_a_value_that_no_share_can_have_is_refused_with_the_published_one(value):
    with pytest.raises(ValueError, match=r"many_dead of dead_channels .* \(published: 0\.1\)"):
        limits({"many_dead": value})


def test_an_unknown_threshold_is_refused_with_the_nearest(tmp_path):
    with pytest.raises(LookupError, match="did you mean 'tight_clusters'"):
        limits({"tight_cluster": 0.5})
    path = tmp_path / "own.toml"
    path.write_text("[tight_cluster]\nvalue = 0.5")
    with pytest.raises(LookupError, match="did you mean 'tight_clusters'"):
        limits(path)
    path.write_text("[tight_clusters]\nmetric = 'cluster_silhouette'")
    with pytest.raises(ValueError, match=r"has no value; write tight_clusters = 0\.5"):
        limits(path)
