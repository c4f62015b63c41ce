"""Planted collapse of every kind is found by name; what only looks like it is not."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from collapse_lab.capture.store import Capture
from collapse_lab.findings.diagnose import JUDGED, diagnose, unjudged
from collapse_lab.findings.rules import RULES
from collapse_lab.findings.table import analyze
from collapse_lab.findings.thresholds import limits
from collapse_lab.metrics._metric import METRICS
from collapse_lab.stats.accumulate import stats_of, summarise
from collapse_lab.stats.layer import LayerStats
from tests.findings.tables import row, table
from tests.metrics.planted import normal, of_rows, rotation

C = 48


def rows(n: int = 20 * C) -> Tensor:
    return normal(n, C)


def kinds(measured: LayerStats | pd.DataFrame, *, faults: bool = True) -> set[str]:
    return {finding.kind for finding in diagnose(measured) if finding.fault or not faults}


def power_law(exponent: float, *, turned: bool) -> Tensor:
    x = rows() * torch.arange(1.0, C + 1).double() ** (-exponent / 2)
    return x @ rotation(C) if turned else x


def heavy(*shape: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(0).standard_t(3, size=shape))


def banded() -> Tensor:
    x = rows()
    return x + 0.8 * x.roll(1, dims=1) + 0.5 * x.roll(2, dims=1)


HEALTHY: dict[str, Callable[[], Tensor]] = {
    "isotropic": rows,
    **{
        f"power law {exponent}{' turned' * turned}": lambda e=exponent, t=turned: power_law(e, turned=t)
        for exponent in (0.5, 1.0, 1.5)
        for turned in (False, True)
    },
    "sparse code": lambda: (rows() - 1.5).clamp(min=0),
    "very sparse code": lambda: (rows() - 2.5).clamp(min=0),
    "heavy tails of values": lambda: heavy(20 * C, C),
    "heavy tails of rows": lambda: rows() * heavy(20 * C, 1).abs(),
    "offset": lambda: rows() + math.sqrt(15),  # a sixteenth of the energy varies
    "banded correlation": banded,
    "scales from 1 to 1000": lambda: rows() * torch.logspace(0, 3, C, dtype=torch.float64),
}


@pytest.mark.parametrize("name", list(HEALTHY))
def test_a_healthy_layer_has_no_finding(name):
    assert diagnose(of_rows(HEALTHY[name]())) == []


def with_zeros(share: float) -> Tensor:
    x = rows()
    x[:, : round(share * C)] = 0
    return x


def with_copies() -> Tensor:
    x = rows()
    x[:, 12:24] = -2 * x[:, :12]
    return x


def stuck() -> Tensor:
    x = rows()
    x[:, :6] = 0.7
    return x


def one_away() -> Tensor:
    x = rows()
    x[5] = 50 * x[5]
    return x


PLANTED: dict[str, tuple[set[str], Callable[[], Tensor]]] = {
    "a constant plus small noise": ({"complete_collapse"}, lambda: 1 + 1e-4 * rows()),
    "a constant": ({"complete_collapse", "saturated_channels"}, lambda: torch.full((100, C), 2.0)),
    "all zero": ({"complete_collapse", "dead_channels"}, lambda: torch.zeros(100, C)),
    "rank 3": ({"dimensional_collapse"}, lambda: rows()[:, :3] @ rotation(C)[:3]),
    "rank 3 with a little noise": ({"dimensional_collapse"}, lambda: rows()[:, :3] @ rotation(C)[:3] + 1e-3 * rows()),
    "a fifth of the channels dead": ({"dead_channels"}, lambda: with_zeros(0.2)),
    "an eighth of the channels stuck": ({"saturated_channels"}, stuck),
    "half of the channels in pairs of copies": ({"channel_redundancy"}, with_copies),
    "one image fifty times as far from the mean": ({"sample_domination"}, one_away),
    "an offset of five deviations": ({"mean_dominance"}, lambda: rows() + 5),
}


@pytest.mark.parametrize("name", list(PLANTED))
def test_planted_collapse_is_found_and_nothing_else(name):
    expected, make = PLANTED[name]
    found = kinds(of_rows(make()))
    assert found >= expected
    # A low rank of few channels makes copies too: that is a second true finding.
    assert found - expected <= ({"channel_redundancy"} if "rank" in name else set())


def test_oversmoothed_positions_are_found_and_varied_ones_are_not():
    smooth = normal(500, 1, 16) + 0.1 * normal(500, 4, 16, seed=1)
    assert kinds(stats_of(smooth)) == {"spatial_oversmoothing"}
    assert kinds(stats_of(normal(500, 1, 16) + 0.5 * normal(500, 4, 16, seed=1))) == set()
    assert kinds(stats_of(smooth[:, :1])) == set()  # one position agrees with itself


def in_classes() -> tuple[Tensor, Tensor]:
    """Four tight classes in three directions, and which row is of which."""
    label = torch.arange(20 * C) % 4
    return 10 * normal(4, C, seed=3)[label] + 0.05 * rows(), label


def test_a_low_rank_that_the_classes_explain_is_a_note():
    label = torch.arange(20 * C) % 4
    spread = 4 * normal(20 * C, 3, seed=5) @ normal(3, C, seed=6)  # clusters that touch: labels alone tell of them
    x = 10 * normal(4, C, seed=3)[label] + spread + 0.05 * rows()
    assert "dimensional_collapse" in kinds(of_rows(x))
    told = diagnose(of_rows(x, labels=label), thresholds={"classes_explain": 0.5})
    [note] = [finding for finding in told if finding.kind == "class_structured"]
    assert not note.fault
    assert "its classes explain" in note.text
    assert "dimensional_collapse" not in {finding.kind for finding in told}


def test_tight_clusters_are_a_note_without_any_label():
    x, _ = in_classes()
    assert "dimensional_collapse" not in kinds(of_rows(x))
    [note] = [finding for finding in diagnose(of_rows(x)) if finding.kind == "class_structured"]
    assert not note.fault
    assert "its rows stand in clusters of silhouette 0.9" in note.text
    assert {"cluster_silhouette", "effective_rank_null_share"} <= set(note.evidence.metric)


def test_where_no_rows_were_kept_the_finding_says_what_it_cannot_tell():
    x, label = in_classes()
    stats = summarise(x[:, None], torch.arange(len(x)), ("all",), labels=label)["all"]
    [fault] = [finding for finding in diagnose(stats) if finding.kind == "dimensional_collapse"]
    assert fault.text.endswith("cannot tell class structure from low rank: no rows kept")
    [fault] = [each for each in diagnose(of_rows(rows()[:19, :3] @ rotation(C)[:3])) if "dimensional" in each.kind]
    assert fault.text.endswith("low rank: 19 kept rows, at least 20 are needed to see clusters")
    table = analyze(stats)
    [fault] = [each for each in diagnose(table[table.metric != "cluster_silhouette"]) if "dimensional" in each.kind]
    assert fault.text.endswith("low rank: the table does not hold cluster_silhouette")


def test_what_pooled_rows_say_of_the_classes_holds_for_sampled_positions_too():
    label = torch.arange(20 * C) % 4
    x = 10 * normal(4, 1, C, seed=3)[label] + 0.05 * normal(20 * C, 4, C)
    stats = summarise(x, torch.arange(20 * C), ("sampled:2", "pooled"), labels=label)
    tables = [analyze(each).assign(positions=policy) for policy, each in stats.items()]
    assert kinds(tables[0]) >= {"dimensional_collapse"}
    assert "dimensional_collapse" not in kinds(pd.concat(tables))


def test_a_few_dead_channels_are_a_note():
    findings = diagnose(of_rows(with_zeros(1 / C)))
    assert [(finding.kind, finding.fault, finding.severity) for finding in findings] == [("dead_channels", False, 0)]
    assert findings[0].text == "has 2.1% of its channels at zero, or below 1e-6 of the largest, on every image"


def test_few_rows_and_one_image_are_said():
    assert kinds(of_rows(normal(20, C)), faults=False) == {"insufficient_samples"}
    assert kinds(of_rows(normal(1, 1)), faults=False) == {"insufficient_samples"}
    assert kinds(stats_of(normal(12, 1, 16).repeat(1, 9, 1)), faults=False) >= {"insufficient_samples"}


def test_images_with_the_same_positions_in_another_order_have_collapsed():
    pattern = normal(6, 16)
    order = torch.rand(200, 6, generator=torch.Generator().manual_seed(0)).argsort(dim=1)
    for mean in (0, 1):
        features = (pattern - pattern.mean(dim=0) + mean)[order].float()
        stats = summarise(features, torch.arange(200), ("sampled:2", "pooled"))
        finding, *rest = diagnose(Capture({("a", key): each for key, each in stats.items()}))
        # Pooled, no channel moves, and at a mean of zero some are zero to the bit.
        assert {each.kind for each in rest if each.fault} <= {"saturated_channels", "dead_channels"}
        assert (finding.kind, finding.severity) == ("complete_collapse", 1)
        assert finding.text == "gives every image the same features once pooled, but for rounding"


def test_values_that_are_not_finite_come_first():
    x = 1 + 1e-4 * rows()
    x[3, 2] = math.nan
    findings = diagnose(of_rows(x))
    assert [finding.kind for finding in findings] == ["non_finite", "complete_collapse"]
    assert findings[0].severity == 1
    assert kinds(of_rows(torch.full((9, 4), math.nan))) == {"non_finite"}


def test_severity_grows_with_the_fault_and_evidence_holds_its_numbers():
    findings = [diagnose(of_rows(with_zeros(share)))[0] for share in (0.125, 0.5, 0.75)]
    severities = [finding.severity for finding in findings]
    assert severities == sorted(severities)
    assert severities[0] == pytest.approx(0.025 / 0.9)
    assert findings[1].evidence.value.tolist() == [0.5]
    assert findings[1].evidence.metric.tolist() == ["dead_channels"]
    assert all(0 <= each <= 1 for each in severities)


def test_the_policy_that_shows_it_worst_is_the_evidence():
    x = normal(400, 9, 8) + 1
    x = x - x.mean(dim=1, keepdim=True) + 1 + 1e-3 * normal(400, 1, 8, seed=1)  # pooled, the images are the same
    stats = summarise(x, torch.arange(400), ("sampled:2", "pooled"))
    tables = [analyze(each).assign(positions=policy) for policy, each in stats.items()]
    [finding] = [each for each in diagnose(pd.concat(tables)) if each.kind == "complete_collapse"]
    assert set(finding.evidence.positions) == {"pooled"}


def history(*shares: float) -> pd.DataFrame:
    return table(*(row(v, seed=0, metric="dead_channels", step=10 * k, site="a") for k, v in enumerate(shares)))


@pytest.mark.parametrize(
    ("shares", "onset"),
    [((0.5, 0.5), 0), ((0.0, 0.0, 0.5), 20), ((0.5, 0.0, 0.5, 0.6), 20), ((0.0, 0.05, 0.2, 0.3), 20)],
)
def test_the_onset_is_the_first_step_from_which_it_holds_to_the_end(shares, onset):
    [finding] = diagnose(history(*shares))
    assert finding.onset == onset


def test_what_has_passed_is_no_finding():
    assert diagnose(history(0.5, 0.0)) == []


def test_findings_are_sorted_by_how_bad_they_are():
    both = pd.concat([history(0.2), history(0.9).assign(site="b"), history(0.05).assign(site="c")])
    assert [(finding.site, finding.fault) for finding in diagnose(both)] == [("b", True), ("a", True), ("c", False)]


def test_what_cannot_be_diagnosed_is_refused_in_words():
    with pytest.raises(ValueError, match="the table is empty"):
        diagnose(history(0.2).iloc[:0])
    with pytest.raises(ValueError, match="several runs"):
        diagnose(pd.concat([history(0.2), history(0.2).assign(seed=1)]))
    with pytest.raises(ValueError, match="no metric of a layer"):
        diagnose(history(0.2).assign(channels=0))
    with pytest.raises(ValueError, match="no table of metrics, it lacks: site, n_effective;"):
        diagnose(history(0.2).drop(columns=["site", "n_effective"]))


def test_severity_has_the_interval_of_the_metric_it_rests_on():
    [finding] = diagnose(table(row(0.4, seed=0, metric="dead_channels", low=0.05, high=0.55)))
    assert finding.severity == pytest.approx(0.3 / 0.9)
    assert (finding.severity_low, finding.severity_high) == (0, pytest.approx(0.5))
    [finding] = diagnose(history(0.4))
    assert math.isnan(finding.severity_low)
    assert math.isnan(finding.severity_high)
    [note] = diagnose(table(row(0.05, seed=0, metric="dead_channels", low=0.01, high=0.2)))
    assert math.isnan(note.severity_high)


def test_a_share_of_the_null_has_the_interval_of_the_rank_over_the_null():
    rank = row(2.0, seed=0, metric="effective_rank", low=1.5, high=3.0, n_effective=300.0)
    share = row(0.125, seed=0, metric="effective_rank_null_share", n_effective=300.0)
    [finding] = diagnose(table(rank, share))
    assert finding.severity == pytest.approx(1 - 0.125 / 0.25)
    assert finding.severity_low == pytest.approx(1 - 3 / 16 / 0.25)
    assert finding.severity_high == pytest.approx(1 - 1.5 / 16 / 0.25)
    null = finding.null
    assert null is not None
    assert (null.metric, null.value, null.n_effective) == ("effective_rank", 16, 300)
    assert finding.thresholds == {"few_directions": 0.25, "many_starved": 0.5}


def test_a_severity_that_another_metric_decides_has_no_interval():
    rank = row(6.0, seed=0, metric="effective_rank", low=5.0, high=7.0)
    share = row(0.375, seed=0, metric="effective_rank_null_share")
    starved = row(0.75, seed=0, metric="starved_directions")
    [finding] = diagnose(table(rank, share, starved))
    assert finding.severity == pytest.approx(0.5)
    assert math.isnan(finding.severity_low)
    assert (
        "38% of what its channels would use if they were unrelated; 75% of its directions are starved" in finding.text
    )


def test_what_makes_others_untrustworthy_comes_before_them():
    x = rows()
    x[0] *= 1000
    assert next(finding.kind for finding in diagnose(of_rows(x))) == "sample_domination"


def test_what_nothing_was_measured_for_is_said_to_be_unjudged():
    whole = analyze(of_rows(rows()))
    assert set(unjudged(whole)) == {"spatial_oversmoothing"}  # one position an image
    assert "dimensional_collapse" in unjudged(whole[whole.metric == "rankme"])
    assert unjudged(whole.assign(value=math.nan, status="insufficient"))["dead_channels"] == [""]
    assert not unjudged(whole.assign(value=math.nan, status="non_finite"))
    part = whole[whole.metric != "top_images_share"].assign(site="a")
    assert unjudged(pd.concat([part, whole.assign(site="b")]))["sample_domination"] == ["a"]


def test_a_fixed_threshold_is_held_against_no_null_and_named():
    [finding] = diagnose(history(0.4))
    assert finding.null is None
    assert finding.thresholds == {"many_dead": 0.1}


def test_thresholds_of_the_users_own_decide():
    assert diagnose(history(0.4), thresholds={"many_dead": 0.5})[0].fault is False
    assert diagnose(history(0.05), thresholds={"many_dead": 0.04})[0].fault is True
    with pytest.raises(LookupError, match="did you mean 'many_dead'"):
        diagnose(history(0.4), thresholds={"many_deaf": 0.5})


def test_a_metric_without_a_value_is_no_finding():
    names = ("variance_share", "dead_channels", "effective_rank_null_share", "top_images_share", "cluster_silhouette")
    assert diagnose(table(*(row(math.nan, seed=0, metric=name, status="insufficient") for name in names))) == []


def test_every_rule_gives_reason_and_advice():
    for rule in RULES:
        assert rule.reason
        assert rule.advice
        assert rule.source
        assert set(rule.metrics) <= set(METRICS)
        assert rule.says


class _Asked(dict):
    """Values that remember what was asked of them."""

    def __init__(self, values):
        super().__init__(values)
        self.names = set()

    def get(self, name, default=None):
        self.names.add(name)
        return super().get(name, default)


@pytest.mark.parametrize("low", [True, False])
def test_the_onset_is_judged_by_every_metric_that_a_rule_reads(low):
    values = _Asked({"n_images": 100, "n_effective": 1e6, "channels": 8.0})
    values |= dict.fromkeys(METRICS, 0.0 if low else 1.0)
    for rule in RULES:
        rule.severity(values, limits())
    assert {name for name in values.names if not name.startswith("status ")} <= JUDGED
