"""The analyses: each runs, its page holds its arms, and its sentences say no more than the numbers do."""

from __future__ import annotations

import html
import json
import math
import runpy
import sys
from pathlib import Path

import pandas as pd
import pytest

from analyses.command import command, read_command
from analyses.page import LARGEST
from analyses.pool import ARMS, carry_out, study_of
from analyses.readings import by_arm
from analyses.words import interval, named_best, paired, told, told_values
from tests.tolerances import PINNED

FOLDER = Path(__file__).parents[1] / "analyses"
GUARD = 'if __name__ == "__main__":'
NAMES = sorted(path.stem for path in FOLDER.glob("*.py") if GUARD in path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the quick runs lie: those of one analysis serve the next."""
    return tmp_path_factory.mktemp("analyses") / "runs"


@pytest.mark.filterwarnings("ignore:the encoder starts from:UserWarning")
@pytest.mark.parametrize("name", NAMES)
def test_a_quick_analysis_writes_its_page_table_and_record_of_all_arms(name, runs, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [name, "--quick", "--runs", str(runs), "--out", str(tmp_path)])
    runpy.run_module(f"analyses.{name}", run_name="__main__", alter_sys=True)
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    table = pd.read_parquet(tmp_path / "metrics.parquet")
    record = json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))
    assert len(page) < LARGEST
    assert table.arm.nunique() >= 2
    assert not table.seed.isna().any()
    for arm in table.arm.unique():
        assert html.escape(arm) in page
    assert all(
        run["status"] == "finished" and run["data"]["images"] == 32 for own in record["arms"].values() for run in own
    )
    assert capsys.readouterr().out.rstrip().endswith(record["answer"])
    assert record["answer"]


def test_every_analysis_opens_with_what_it_asks_how_at_what_cost_and_what_came_out():
    for name in NAMES:
        text = (FOLDER / f"{name}.py").read_text(encoding="utf-8")
        places = [
            text.index(word) for word in ('"""Question  ', "\nMethod    ", "\nCost      ", "\nResult    ", "\n# %% ")
        ]
        assert places == sorted(places)
        assert places[0] == 0


def test_the_table_of_the_analyses_lists_every_one():
    listed = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert [name for name in NAMES if f"[{name}]({name}.py)" not in listed] == []


def test_a_measure_names_the_best_where_its_highest_arm_has_the_highest_accuracy():
    values = [("V1 FCMAE", 0, 1.0), ("V2 FCMAE", 0, 2.0), ("V1 FCMAE", 1, 1.0), ("V2 FCMAE", 1, 2.0)]
    top1 = [("V1 FCMAE", 0, 0.1), ("V2 FCMAE", 0, 0.2), ("V1 FCMAE", 1, 0.4), ("V2 FCMAE", 1, 0.3)]
    table = pd.concat([_values(*values).assign(metric="rank before"), _values(*top1).assign(metric="top1")])
    assert named_best(table, "rank before", "top1") == (
        "rank before: the highest of 2 arms has the highest top1 in 1 of 2 seeds"
    )


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (FileNotFoundError("there is no folder"), 4, "analyses: there is no folder"),
        (LookupError("no metric"), 4, "analyses: no metric"),
        (KeyboardInterrupt(), 130, "the same command goes on where it stopped"),
    ],
)
def test_an_analysis_ends_in_a_sentence_not_in_a_traceback(error, code, said, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(sys, "argv", ["mask_ratio", "--quick", "--runs", str(tmp_path)])
    with pytest.raises(SystemExit) as ended, command("mask_ratio", "Question"):
        raise error
    assert ended.value.code == code
    assert said in capsys.readouterr().err


def _asked(*words: str):
    return read_command("mask_ratio", "Question", words)


def test_without_options_an_analysis_takes_three_seeds_of_the_pool():
    asked = _asked()
    assert (asked.seeds, asked.runs, asked.out) == ((0, 1, 2), Path("runs/pool"), Path("reports/mask_ratio"))


@pytest.mark.parametrize("words", [["--seeds", "0"], ["--seeds", "two"], ["--at-once", "-1"]])
def test_a_number_that_is_none_is_refused(words, capsys):
    with pytest.raises(SystemExit, match="2"):
        _asked(*words)
    assert "expected a number of 1 or more" in capsys.readouterr().err


def test_arms_of_the_pool_are_the_same_configurations_in_every_study():
    """Else their runs could not be shared."""
    one = study_of(_asked(), title="", baseline="V1", arms={"V1": ARMS["V1"]})
    other = study_of(_asked(), title="", baseline="A", arms={"A": ARMS["V1"]}, over_training=True)
    assert one.config == other.config
    assert one.arms["V1"].config == other.arms["A"].config


def test_an_arm_of_the_pool_is_measured_at_the_pools_steps_whoever_asks_for_it_first(tmp_path):
    """Else its early weights would be gone when someone asks for them."""
    asked = read_command("first", "Question", ["--quick", "--runs", str(tmp_path)])
    comparison = carry_out(study_of(asked, title="", baseline="A", arms={"A": ARMS["V2"]}), asked)
    (run,) = comparison.folders["A"]
    assert set(pd.read_parquet(run / "metrics.parquet").step) == {0, 2}
    assert set(comparison.metrics.step) == {2}


def _values(*rows: tuple[str, int, float]) -> pd.DataFrame:
    return pd.DataFrame([{"arm": arm, "seed": seed, "metric": "loss", "value": value} for arm, seed, value in rows])


def test_a_paired_interval_is_that_of_student_over_the_differences():
    values = _values(("a", 0, 1.0), ("a", 1, 2.0), ("a", 2, 3.0), ("b", 0, 0.0), ("b", 1, 0.0), ("b", 2, 0.0))
    mean, low, high, seeds = paired(values, "loss", "a", "b")
    half = 4.302652729749464 / 3**0.5  # t of 2 degrees at .975, times a deviation of 1 over the root of 3
    assert (mean, low, high, seeds) == pytest.approx((2.0, 2 - half, 2 + half, 3), rel=PINNED)


def test_one_seed_has_a_difference_but_no_interval_and_nothing_is_called():
    text = told_values(_values(("a", 0, 1.5), ("b", 0, 1.0)), [("a", "b")])
    assert text.startswith("loss: a - b 0.5. 1 seed an arm: no difference is called with fewer than 3.")
    assert math.isnan(paired(_values(("a", 0, 1.5), ("b", 0, 1.0)), "loss", "a", "b")[1])


def test_seeds_that_only_one_arm_has_are_left_out_of_a_pair():
    values = _values(("a", 0, 1.0), ("a", 1, 9.0), ("b", 0, 0.0))
    assert paired(values, "loss", "a", "b")[0] == 1.0
    assert paired(values, "loss", "a", "nobody")[3] == 0


def test_shares_are_told_in_points_and_other_values_as_they_are():
    assert interval(0.05, 0.01, 0.09, "top1") == "5 [1, 9] points"
    assert interval(2.0, math.nan, math.nan, "effective_rank") == "2"


def test_a_table_by_arm_shows_spread_and_number_of_seeds():
    table = by_arm(_values(("a", 0, 1.0), ("a", 1, 3.0), ("b", 0, 2.0)))
    assert table.to_dict("list") == {"arm": ["a", "b"], "loss": ["2 ± 1.4 (2)", "2 (1)"]}


def test_a_sentence_calls_a_difference_only_where_the_comparison_does(runs):
    asked = read_command("words", "Question", ["--quick", "--runs", str(runs)])
    arms = {name: ARMS[name] for name in ("V1", "V2")}
    comparison = carry_out(study_of(asked, title="", baseline="V1", arms=arms), asked)
    few = told(comparison, ["effective_rank"])
    assert "1 seed an arm: no difference is called" in few
    rows = comparison.table.assign(n_seeds=3)
    for called, word in ((True, "(called)"), (False, "(not called)")):
        comparison.table.loc[:, ["n_seeds", "called"]] = rows.assign(called=called & rows.primary)[
            ["n_seeds", "called"]
        ]
        text = told(comparison, ["effective_rank"])
        assert word in text
        assert text.endswith("3 seeds an arm.")
