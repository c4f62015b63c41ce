"""What may be chosen of a comparison: its steps, how sites meet, and whether seeds and images are paired."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from collapse_lab.findings.compare import compare
from tests.findings.tables import METRIC, arm, row, table


def course(values: tuple[float, ...], **changes: object) -> list[pd.DataFrame]:
    """One run a seed at steps 10, 20 and 30, where it stands at 1, 2 and 3 times the value."""
    return [
        table(*(row(k * value, seed=seed, step=10 * k, **changes) for k in (1, 2, 3)))
        for seed, value in enumerate(values)
    ]


def test_every_common_step_is_compared_and_the_last_has_the_primary_test():
    arms = {"a": course((1.0, 1.1, 1.2)), "b": course((3.0, 3.2, 3.1))}
    arms["b"] = [run[run.step > 10] for run in arms["b"]]
    found = compare(arms, baseline="a", at="all")
    assert found.table.step.unique().tolist() == [20, 30]
    assert [found.row("b - a", METRIC, step=step).value for step in (20, 30)] == pytest.approx([4, 6])
    assert found.table[found.table.primary].step.unique().tolist() == [30]
    assert found.step == "30"
    single = compare(arms, baseline="a", at=30)
    pd.testing.assert_frame_equal(found.last.reset_index(drop=True), single.table)
    with pytest.raises(LookupError, match=r"steps: \[20, 30\]"):
        found.row("b - a", METRIC, step=10)


def deep(count: int, values: tuple[float, ...], **changes: object) -> list[pd.DataFrame]:
    """One run a seed of `count` blocks, whose metric falls from twice the value to the value."""
    return [
        table(
            *(
                row(value * (2 - k / (count - 1)), seed=seed, site=f"blocks.{k}", depth=k / (count - 1), **changes)
                for k in range(count)
            )
        )
        for seed, value in enumerate(values)
    ]


def test_networks_of_different_depth_are_compared_at_like_relative_depth():
    found = compare({"a": deep(3, (3, 3.1, 3.2)), "b": deep(9, (5, 5.1, 5.2))}, baseline="a", align="depth")
    middle = found.row("b - a", METRIC, "block @ 0.500")
    assert middle.value == pytest.approx(1.5 * 2)
    assert middle.sites == "a: blocks.1; b: blocks.4"
    late = found.row("b - a", METRIC)
    assert late.sites == "a: blocks.2; b: blocks.8"
    assert late.value == pytest.approx(2)
    assert late.called


def test_networks_without_common_sites_are_told_of_the_alignment_by_depth():
    other = [each.assign(site="x." + each.site) for each in deep(3, (5, 5.1, 5.2))]
    arms = {"a": deep(3, (3, 3.1, 3.2)), "b": other}
    with pytest.raises(ValueError, match=r"no site in common: .*align='depth' \(--align depth\)"):
        compare(arms, baseline="a")
    assert compare(arms, baseline="a", align="depth").row("b - a", METRIC).value == pytest.approx(2)


@pytest.mark.parametrize(("metric", "called"), [(METRIC, False), ("dead_channels", True)])
def test_dimensions_of_layers_of_different_width_are_told_and_not_called(metric, called):
    a, b = (0.1, 0.11, 0.12), (0.5, 0.511, 0.521)
    arms = {"a": arm(a, metric=metric, channels=16), "b": arm(b, metric=metric, channels=64)}
    found = compare(arms, baseline="a").row("b - a", metric)
    assert found.widths == "b 64, a 16"
    assert found.channels == 64
    assert found.p_holm < 0.01
    assert bool(found.called) is called


def test_the_effect_size_stands_beside_the_difference():
    found = compare({"a": arm([1.0, 2.0, 3.0]), "b": arm([3.0, 4.0, 5.0])}, baseline="a")
    assert found.row("b - a", METRIC).effect == pytest.approx(2 * 0.797885, rel=1e-6)  # deviation 1, 4 degrees
    assert math.isnan(found.row("a", METRIC).effect)


def test_one_seed_an_arm_gives_values_and_nothing_else():
    found = compare({"a": arm([1.0]), "b": arm([3.0])}, baseline="a").row("b - a", METRIC)
    assert found.value == 2
    assert not found.called
    assert all(math.isnan(found[name]) for name in ("low", "high", "p", "p_holm", "smallest", "effect"))


def test_pairing_is_insisted_on_or_declined():
    a, b = arm([1.0, 2.0, 4.0]), arm([1.5, 2.5, 4.6])
    others = [each.assign(images_hash="others") for each in b]
    assert compare({"a": a, "b": b}, baseline="a", paired=True).row("b - a", METRIC).paired
    assert not compare({"a": a, "b": b}, baseline="a", paired=False).row("b - a", METRIC).paired
    with pytest.raises(ValueError, match=r"'b - a' cannot be paired: 'b' and 'a' were measured on other images"):
        compare({"a": a, "b": others}, baseline="a", paired=True)
    with pytest.raises(ValueError, match=r"'b' has seeds \[0, 1\] and 'a' \[0, 1, 2\]"):
        compare({"a": a, "b": b[:2]}, baseline="a", paired=True)
