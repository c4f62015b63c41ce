"""Runs read into arms, and the steps at which they are compared."""

from __future__ import annotations

import pandas as pd
import pytest

from collapse_lab.findings.arms import at_steps, tables_of
from tests.findings.tables import METRIC, arm, row, table


def course(*steps: int, seed: int = 0) -> pd.DataFrame:
    """One run that was captured at these steps."""
    return table(*(row(float(step), seed=seed, step=step) for step in steps))


def test_all_steps_are_those_that_every_run_of_every_arm_has():
    rows = tables_of({"a": [course(1, 2, 4), course(1, 4, 8, seed=1)], "b": [course(4, 1, 16)]})
    found = at_steps(rows, "all")
    assert list(found) == [1, 4]
    assert len(found[1]) == len(found[4]) == 3
    assert set(found[4].value) == {4.0}


def test_the_last_step_is_each_runs_own():
    with pytest.warns(UserWarning, match="a at 4 to 8, b at 16 to 16; choose one with `at`"):
        (found,) = at_steps(tables_of({"a": [course(1, 4), course(8, seed=1)], "b": [course(16)]}), "last").values()
    assert found.value.tolist() == [4.0, 8.0, 16.0]


def test_a_step_may_be_a_number_or_its_digits():
    rows = tables_of({"a": [course(1, 4)]})
    assert at_steps(rows, 4)[4].value.tolist() == at_steps(rows, "4")[4].value.tolist() == [4.0]


@pytest.mark.parametrize(
    ("at", "words"),
    [
        ("all", r"no step in common \('a': \[1, 4\]; 'b': \[2\]\); choose at='last'"),
        (4, r"arm 'b' has no capture at step 4; steps: \[2\]"),
        ("first", "a step, 'last' or 'all', got 'first'"),
        (-1, "a step, 'last' or 'all', got -1"),
    ],
)
def test_steps_that_are_not_there_are_refused_with_those_that_are(at, words):
    with pytest.raises(ValueError, match=words):
        at_steps(tables_of({"a": [course(1, 4)], "b": [course(2)]}), at)


def test_a_frame_that_is_no_table_of_metrics_names_the_columns_it_lacks():
    with pytest.raises(ValueError, match=r"it lacks: run, positions, depth, .*, images_hash; make one with"):
        tables_of({"a": [pd.DataFrame({"arm": ["x"], "seed": [0], "step": [1], "site": ["s"], METRIC: [3.0]})]})
    with pytest.raises(ValueError, match="it lacks: images_hash;"):
        tables_of({"a": [arm([1.0])[0].drop(columns="images_hash")]})


def test_bare_tables_are_numbered_by_place_unless_they_have_seeds_of_their_own():
    bare = [table(row(1.0, seed=0, run="")), table(row(2.0, seed=0, run=""))]
    assert tables_of({"a": bare}).seed.tolist() == [0, 1]
    own = [table(row(1.0, seed=7, run="")), table(row(2.0, seed=3, run=""))]
    assert tables_of({"a": own}).seed.tolist() == [7, 3]
    with pytest.raises(ValueError, match="arm 'a' has seed 7 twice"):
        tables_of({"a": [own[0], own[0]]})


def test_a_table_without_rows_is_refused():
    with pytest.raises(ValueError, match="run 1 of arm 'a' is a table without rows"):
        tables_of({"a": [course(1), course(1).iloc[:0]]})
