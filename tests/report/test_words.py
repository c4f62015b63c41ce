"""What is said of a comparison: whatever its numbers hold, and nothing more."""

from __future__ import annotations

import math
from dataclasses import replace

import pandas as pd
import pytest

from collapse_lab.findings.compare import PROBE, SUMMARY, Comparison, compare
from collapse_lab.report import words
from collapse_lab.report.sources import read_sources


def test_the_words_follow_the_numbers(comparison):
    told = " ".join(words.sentences(comparison))
    row = comparison.row("GRN on", "effective_rank")
    assert f"Blocks with GRN use {words.marked(row)} of {row.channels} dimensions" in told
    probe = comparison.table[(comparison.table.metric == PROBE) & (comparison.table.kind == "arm")]
    assert len(probe) == 2
    assert "Linear probe accuracy" in told


def _changed(comparison: Comparison, **values: object) -> Comparison:
    table = comparison.table.copy()
    chosen = (table.contrast == "GRN") & (table.metric == "effective_rank") & (table.site == SUMMARY)
    for name, value in values.items():
        table.loc[chosen, name] = value
    return Comparison(
        table=table, metrics=comparison.metrics, baseline="plain", factors=comparison.factors, step="last"
    )


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"called": True, "p_holm": 0.0123}, "called, adjusted p = 0.012"),
        ({"called": False, "smallest": 3.25}, "not called; the smallest difference that could have been is 3.25"),
        ({"n_seeds": 2}, "not enough seeds to say"),
        ({"corrected": 0.0, "low": 0.0, "high": 0.0, "called": False}, "no difference at all"),
        ({"smallest": math.nan, "called": False}, "no interval, so nothing can be called"),
    ],
)
def test_a_difference_is_called_only_when_it_is(comparison, values, said):
    told = " ".join(words.sentences(_changed(comparison, **values)))
    assert said in told.split("GRN changes the effective rank")[1].split(").")[0]


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (25.04, "", "25.0"),
        (0.1234, "", "0.12"),
        (0.00123, "", "0.0012"),
        (0.5, "share", "50.0 %"),
        (0.0, "", "0"),
        (math.nan, "", "no value"),
    ],
)
def test_numbers_are_said_in_two_or_three_digits(value, unit, text):
    assert words.number(value, unit) == text


def test_seeds_are_those_of_the_ranks_whatever_else_was_measured_of_fewer(comparison):
    rows = comparison.table[comparison.table.kind == "arm"].head(1)
    fewer = pd.concat([comparison.table, rows.assign(metric="knn_accuracy", site="stem", n_seeds=1)])
    assert "2 arms, 3 seeds each" in " ".join(words.sentences(replace(comparison, table=fewer)))


def test_ranks_of_layers_of_unequal_width_name_both(comparison):
    metrics = comparison.metrics.copy()
    behind = str(comparison.row("GRN on", "effective_rank").sites).split(", ")
    metrics.loc[metrics.site == behind[0], "channels"] = 32
    assert "of 32 to 64 dimensions" in " ".join(words.sentences(replace(comparison, metrics=metrics)))


def test_an_interval_names_its_unit_once():
    assert (
        words.interval(pd.Series({"corrected": 0.25, "low": 0.2, "high": 0.3}), "share of channels")
        == "25.0 % [20.0, 30.0]"
    )


def test_a_name_from_right_to_left_turns_no_sentence(runs):
    sources = read_sources([runs])
    tables = {arm: [s.metrics for s in sources if s.arm == arm] for arm in ("plain", "GRN")}
    told = " ".join(
        words.sentences(compare({"plain": tables["plain"], "\u0645\u0631": tables["GRN"]}, baseline="plain"))
    )
    assert "\u2068\u0645\u0631\u2069: " in told
    assert "\u2068plain" not in told
