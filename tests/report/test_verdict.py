"""The verdict on an arm: what its seeds come to together, not its worst one."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from scipy import stats

from collapse_lab.report.sources import Source, read_sources
from collapse_lab.report.verdict import findings_of, verdicts

SITE, OTHER = "stages.2.blocks.2.act", "stages.2.blocks.0.act"


def with_values(source: Source, metric: str, site: str, value: float) -> Source:
    """The same run, of which this metric has this value at one site at every step."""
    table = source.metrics.copy()
    table.loc[(table.metric == metric) & (table.site == site), ["value", "corrected", "low", "high"]] = [
        value,
        math.nan,
        math.nan,
        math.nan,
    ]
    return replace(source, metrics=table)


@pytest.fixture
def plain(study_runs: Path) -> list[Source]:
    return [source for source in read_sources([study_runs]) if source.arm == "plain"]


def told(sources: list[Source]) -> dict[str, str]:
    arms = list(dict.fromkeys(source.arm for source in sources))
    return {each.arm: each.sentence for each in verdicts(arms, sources, findings_of(sources))}


def test_a_finding_is_told_of_the_mean_over_seeds_with_its_interval(plain):
    shares = (0.94, 0.52, 0.58)
    sources = [with_values(each, "redundant_channels", SITE, share) for each, share in zip(plain, shares, strict=True)]
    half = stats.t.ppf(0.975, 2) * pd.Series(shares).std() / math.sqrt(3)
    expected = f"has 68% of its live channels with a copy: redundant channels 68.0 % [{68 - 100 * half:.1f}, 100.0]"
    sentence = told(sources)["plain"]
    assert sentence.startswith("channel redundancy at 1 site in all 3 seeds, since before training; worst in the mean")
    assert f"{SITE}, which {expected} over 3 seeds, 66 images." in sentence


def test_sites_of_some_seeds_are_told_from_those_of_all(plain):
    first, *others = plain
    sources = [with_values(with_values(first, "redundant_channels", SITE, 0.9), "redundant_channels", OTHER, 0.9)]
    sources += [with_values(each, "redundant_channels", OTHER, 0.9) for each in others]
    assert "at 2 sites in at least one of 3 seeds, at 1 in all" in told(sources)["plain"]
    assert f"worst in the mean at {OTHER}" in told(sources)["plain"]


def test_a_finding_of_the_first_measured_step_may_be_older(plain):
    late = [replace(each, metrics=each.metrics[each.metrics.step == 2]) for each in plain]
    sentence = told([with_values(each, "redundant_channels", SITE, 0.9) for each in late])["plain"]
    assert "in all 3 seeds, since step 2, the first that was measured; worst" in sentence


def test_one_seed_is_told_with_its_interval_over_images(plain):
    (sentence,) = told([with_values(plain[0], "redundant_channels", SITE, 0.9)]).values()
    assert "at 1 site in 1 seed" in sentence
    assert "redundant channels 90.0 %, 66 images; not enough seeds to say" in sentence


def test_what_holds_in_all_seeds_comes_before_a_worse_kind_that_does_not(plain):
    first, *others = plain
    sources = [with_values(first, "dead_channels", SITE, 0.5), *others]
    assert told(sources)["plain"].startswith("dead channels at 1 site in at least one of 3 seeds, at none in all")
    redundant = [with_values(each, "redundant_channels", OTHER, 0.9) for each in sources]
    assert told(redundant)["plain"].startswith("channel redundancy at 1 site in all 3 seeds")
    assert told(redundant)["plain"].endswith("Also dead channels (1 site).")


def test_a_worse_kind_comes_first_and_then_the_arm_with_more_of_it(plain):
    redundant = [with_values(each, "redundant_channels", SITE, 0.99) for each in plain]
    more = [
        replace(with_values(each, "redundant_channels", OTHER, 0.9), arm="more")
        for each in [with_values(each, "redundant_channels", SITE, 0.9) for each in plain]
    ]
    dead = [replace(with_values(each, "dead_channels", SITE, 0.2), arm="dead") for each in plain]
    healthy = [replace(each, arm="healthy") for each in plain]
    assert list(told([*healthy, *redundant, *more, *dead])) == ["dead", "more", "plain", "healthy"]
