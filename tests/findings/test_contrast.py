"""Weighted sums of arms: planted effects come back exactly, variances and degrees of freedom by hand."""

from __future__ import annotations

import math
from itertools import product
from math import gamma
from typing import Any

import numpy as np
import pytest
from scipy.stats import t as student
from scipy.stats import ttest_ind, ttest_rel

from collapse_lab.findings.contrast import ArmValues, against, evaluate, factorial
from collapse_lab.findings.uncertainty import jackknife
from tests.tolerances import PINNED

TWO = {f"{g:d}{s:d}": {"grn": bool(g), "scale": bool(s)} for g, s in product((0, 1), repeat=2)}
THREE = {f"{a:d}{b:d}{c:d}": {"a": bool(a), "b": bool(b), "c": bool(c)} for a, b, c in product((0, 1), repeat=3)}


def arm_values(*values: float, left_out: Any = None, sizes: tuple[int, ...] = (), images: str = "same") -> ArmValues:
    replicates = {} if left_out is None else {seed: np.asarray(left) for seed, left in enumerate(left_out)}
    return ArmValues(values=dict(enumerate(values)), replicates=replicates, sizes=sizes, images=images, n_images=100)


def planted(name: str) -> float:
    """10 and 3 of grn, -2 of scale, 0.5 of both together."""
    g, s = TWO[name]["grn"], TWO[name]["scale"]
    return 10 + 3 * g - 2 * s + 0.5 * g * s


def test_effects_and_interaction_of_a_two_by_two_come_back_exactly():
    arms = {name: arm_values(planted(name), planted(name)) for name in TWO}
    found = {contrast.name: evaluate(contrast, arms)["value"] for contrast in factorial(TWO)}
    assert found == pytest.approx(
        {
            "grn on": 12.25,
            "grn off": 9,
            "grn": 3.25,  # averaged over scale off and on
            "scale on": 9.75,
            "scale off": 11.5,
            "scale": -1.75,
            "grn x scale": 0.5,  # the effect of grn with scale, less that without
        }
    )


def test_an_interaction_of_three_factors_is_averaged_over_the_third():
    cell = {name: 4 * f["a"] * f["b"] + 2 * f["a"] * f["b"] * f["c"] - 7 * f["c"] for name, f in THREE.items()}
    arms = {name: arm_values(value, value) for name, value in cell.items()}
    found = {contrast.name: evaluate(contrast, arms)["value"] for contrast in factorial(THREE)}
    assert found["a x b"] == pytest.approx(5)  # 4 without c, 6 with
    assert found["a x c"] == pytest.approx(1)  # 0 without b, 2 with
    assert found["c"] == pytest.approx(-6.5)


def test_weights_of_comparisons_sum_to_nothing_and_of_levels_to_one():
    for contrast in [*against(list(TWO), "00"), *factorial(TWO), *factorial(THREE)]:
        total = 1 if contrast.kind in ("arm", "level") else 0
        assert sum(contrast.weights.values()) == pytest.approx(total)


def test_factors_may_stand_in_any_order():
    turned = {name: dict(reversed(levels.items())) for name, levels in TWO.items()}
    assert {c.name: c.weights for c in factorial({**turned, "00": TWO["00"]})}.keys() >= {"grn", "scale"}
    numbered = {name: {factor: int(on) for factor, on in levels.items()} for name, levels in TWO.items()}
    assert factorial(numbered) == factorial(TWO)
    assert factorial({}) == []


@pytest.mark.parametrize(
    "factors",
    [
        {name: TWO[name] for name in ("00", "01", "10")},
        {**TWO, "more": TWO["00"]},
        {**TWO, "00": {"grn": False}},
        {**TWO, "00": TWO["01"]},
    ],
)
def test_an_incomplete_factorial_is_refused(factors):
    with pytest.raises(ValueError, match="need each combination of on and off in exactly one arm"):
        factorial(factors)


def difference(one: ArmValues, other: ArmValues) -> dict[str, Any]:
    return evaluate(against(["b", "a"], "b")[2], {"a": one, "b": other})


def test_paired_seeds_without_replicates_are_the_paired_t_test():
    a, b = (3.1, 2.9, 3.6, 3.0), (2.0, 2.2, 2.1, 2.4)
    row = difference(arm_values(*a), arm_values(*b))
    expected = ttest_rel(a, b)
    low, high = expected.confidence_interval()
    assert row["paired"]
    assert not row["images_counted"]
    assert row["p"] == pytest.approx(expected.pvalue, rel=PINNED)
    assert (row["low"], row["high"]) == pytest.approx((low, high), rel=PINNED)


def test_unpaired_seeds_without_replicates_are_welchs_t_test():
    a, b = (3.1, 2.9, 3.6, 3.0), (2.0, 2.2, 2.9)
    row = difference(arm_values(*a), arm_values(*b))
    expected = ttest_ind(a, b, equal_var=False)
    assert not row["paired"]
    assert row["n_seeds"] == 3
    assert row["p"] == pytest.approx(expected.pvalue, rel=PINNED)
    assert row["freedom"] == pytest.approx(expected.df, rel=PINNED)


def test_other_images_are_not_paired():
    row = difference(arm_values(1, 2, 4), arm_values(1, 1, 3, images="others"))
    assert not row["paired"]


def test_seeds_and_images_add_up_with_welch_satterthwaite_degrees():
    a, b = (3.1, 2.9, 3.6), (2.0, 2.2, 2.1)
    sizes = (10, 20, 30, 40)
    left = np.random.default_rng(0).normal(scale=0.05, size=(2, 3, 4)) + np.array([a, b])[:, :, None]
    row = difference(arm_values(*a, left_out=left[0], sizes=sizes), arm_values(*b, left_out=left[1], sizes=sizes))
    drawn = np.subtract(a, b)
    seeds = drawn.var(ddof=1) / 3
    images = jackknife(drawn.mean(), list((left[0] - left[1]).mean(axis=0)), sizes)
    variance = seeds + images.variance
    freedom = variance**2 / (seeds**2 / 2 + images.variance**2 / 3)
    assert row["images_counted"]
    assert row["variance"] == pytest.approx(variance, rel=PINNED)
    assert row["freedom"] == pytest.approx(freedom, rel=PINNED)
    assert row["corrected"] == pytest.approx(images.corrected, rel=PINNED)
    half = student.ppf(0.975, freedom) * math.sqrt(variance)
    assert row["high"] - row["corrected"] == pytest.approx(half, rel=PINNED)
    assert row["p"] == pytest.approx(2 * student.sf(abs(images.corrected) / math.sqrt(variance), freedom), rel=1e-9)


def test_unpaired_replicates_add_the_variances_of_both_arms():
    left = np.array([[1.0, 1.2, 0.9], [2.1, 2.0, 1.7]])
    one = arm_values(1.0, 1.1, left_out=left[[0, 0]], sizes=(5, 5, 5))
    other = arm_values(2.0, 1.9, left_out=left[[1, 1]], sizes=(6, 4, 5), images="others")
    row = difference(one, other)
    parts = [jackknife(1.05, list(left[0]), (5, 5, 5)), jackknife(1.95, list(left[1]), (6, 4, 5))]
    seeds = 2 * (0.1**2 / 2) / 2
    assert row["variance"] == pytest.approx(seeds + parts[0].variance + parts[1].variance, rel=PINNED)
    assert row["corrected"] == pytest.approx(parts[0].corrected - parts[1].corrected, rel=PINNED)


@pytest.mark.parametrize("images", ["same", "others"])
def test_a_replicate_without_a_value_leaves_the_seeds_to_speak_alone(images):
    broken = arm_values(1.0, 1.1, 1.3, left_out=[[1.0, math.nan]] * 3, sizes=(5, 5))
    whole = arm_values(2.0, 2.1, 2.4, left_out=[[2.0, 2.1]] * 3, sizes=(5, 5), images=images)
    row = difference(broken, whole)
    assert not row["images_counted"]
    assert row["corrected"] == row["value"] == pytest.approx(-31 / 30)
    assert math.isfinite(row["low"])


def test_one_seed_has_no_interval():
    row = difference(arm_values(1.0), arm_values(2.0))
    assert row["value"] == -1
    assert all(math.isnan(row[name]) for name in ("low", "high", "p"))


def test_arms_that_are_the_same_are_not_different():
    row = difference(arm_values(1.0, 1.0, 1.0), arm_values(1.0, 1.0, 1.0))
    assert row["p"] == 1
    assert row["low"] == row["high"] == 0


def test_the_effect_is_hedges_g_over_the_pooled_deviation_of_seeds():
    a, b = (3.1, 2.9, 3.6, 3.0), (2.0, 2.2, 2.9)
    pooled = math.sqrt((3 * np.var(a, ddof=1) + 2 * np.var(b, ddof=1)) / 5)
    unbiased = gamma(5 / 2) / (math.sqrt(5 / 2) * gamma(4 / 2))
    row = difference(arm_values(*a), arm_values(*b))
    assert row["effect"] == pytest.approx(unbiased * (np.mean(a) - np.mean(b)) / pooled, rel=PINNED)
    assert unbiased == pytest.approx(1 - 3 / (4 * 5 - 1), abs=2e-3)  # Hedges' own approximation


def test_hedges_g_of_few_seeds_is_that_of_the_population_on_average():
    seeds = np.random.default_rng(0).normal(size=(4000, 2, 3)) + np.array([1.0, 0.0])[:, None]
    found = [difference(arm_values(*one), arm_values(*other))["effect"] for one, other in seeds]
    assert np.mean(found) == pytest.approx(1, abs=0.06)  # 3 standard errors; without the factor 1.25


def test_an_effect_does_not_depend_on_pairing():
    a, b = arm_values(3.1, 2.9, 3.6), arm_values(2.0, 2.2, 2.9)
    others = arm_values(2.0, 2.2, 2.9, images="others")
    assert difference(a, b)["effect"] == difference(a, others)["effect"]


def test_the_effect_of_a_factor_is_in_deviations_of_one_arm():
    noise = np.array([-1.0, 0.0, 1.0])  # deviation 1
    arms = {name: arm_values(*(planted(name) + noise)) for name in TWO}
    unbiased = gamma(8 / 2) / (math.sqrt(8 / 2) * gamma(7 / 2))
    found = {contrast.name: evaluate(contrast, arms)["effect"] for contrast in factorial(TWO)}
    assert found["grn"] == pytest.approx(unbiased * 3.25, rel=PINNED)
    assert found["grn x scale"] == pytest.approx(unbiased * 0.5, rel=PINNED)
    assert math.isnan(found["grn on"])


@pytest.mark.parametrize("seeds", [(1.0,), (1.0, math.nan), (1.0, 1.0)])
def test_there_is_no_effect_size_without_a_deviation_between_seeds(seeds):
    other = arm_values(*[3.0] * len(seeds))
    assert math.isnan(difference(arm_values(*seeds), other)["effect"])


def test_one_seed_in_one_arm_leaves_no_effect_size():
    assert math.isnan(difference(arm_values(1.0, 1.2, 1.4), arm_values(2.0))["effect"])


def test_pairing_may_be_declined():
    a, b = (3.1, 2.9, 3.6, 3.0), (2.0, 2.2, 2.1, 2.4)
    row = evaluate(against(["b", "a"], "b")[2], {"a": arm_values(*a), "b": arm_values(*b)}, paired=False)
    assert not row["paired"]
    assert row["p"] == pytest.approx(ttest_ind(a, b, equal_var=False).pvalue, rel=PINNED)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (
            arm_values(1.0, 2.0, images="others"),
            r"'a' and 'b' were measured on other images \(.* same, others\)",
        ),
        (arm_values(1.0, 2.0, 3.0), r"'a' has seeds \[0, 1\] and 'b' \[0, 1, 2\]"),
    ],
)
def test_pairing_that_is_insisted_on_and_cannot_be_is_refused(other, words):
    with pytest.raises(ValueError, match=f"'a - b' cannot be paired: {words}; compare them without"):
        evaluate(against(["b", "a"], "b")[2], {"a": arm_values(1.0, 2.0), "b": other}, paired=True)
    assert evaluate(against(["b", "a"], "b")[0], {"b": other}, paired=True)["paired"]


def test_widths_are_told_where_they_differ():
    def of_width(*channels: int) -> ArmValues:
        return ArmValues(values={0: 1.0}, replicates={}, sizes=(), images="", n_images=9, channels=channels)

    assert difference(of_width(8, 16), of_width(8, 32))["widths"] == "a 8/16, b 8/32"
    assert difference(of_width(8, 16), of_width(8, 16))["widths"] == ""
