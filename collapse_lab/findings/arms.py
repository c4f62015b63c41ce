"""Arms as one tidy table: their runs read, seeds told apart, and the steps at which they are compared."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from collapse_lab.findings.table import checked, read_table
from collapse_lab.runs import Run

Runs = Sequence[pd.DataFrame | Path | str]


def tables_of(arms: Mapping[str, Runs]) -> pd.DataFrame:
    """The rows of every run of every arm; tables of no run, all of seed 0, are numbered as seeds by
    their place.

    Raises TypeError for a table or folder outside a list, ValueError for an arm without runs or with one seed twice, or
    a table that lacks columns; see `table.read_table` for run folders.
    """
    return pd.concat([_of_arm(name, runs) for name, runs in arms.items()], ignore_index=True)


def at_steps(rows: pd.DataFrame, at: str | int) -> dict[int, pd.DataFrame]:
    """Step -> its rows, ascending: of one step; of each run's last ("last"), under the greatest; of all common ("all").

    Raises ValueError for another word, a step that a run has no capture of, or runs without a common step; warns where
    the last steps of the runs differ.
    """
    steps = {key: set(run.step) for key, run in rows.groupby(["arm", "seed"], sort=False)}
    if at == "all":
        common = sorted(set.intersection(*steps.values()))
        if not common:
            listed = "; ".join(f"{arm!r}: {sorted(set(own.step))}" for arm, own in rows.groupby("arm", sort=False))
            raise ValueError(f"the runs have no step in common ({listed}); choose at='last'")
        return {int(step): rows[rows.step == step] for step in common}
    if at == "last":
        last = rows[rows.step == rows.groupby(["arm", "seed"]).step.transform("max")]
        _warn_of_steps(last)
        return {int(last.step.max()): last}
    if not str(at).isdigit():
        raise ValueError(f"at takes a step, 'last' or 'all', got {at!r}")
    for (arm, seed), own in steps.items():
        if int(at) not in own:
            raise ValueError(f"arm {arm!r} has no capture at step {at}; steps: {sorted(map(int, own))} (seed {seed})")
    return {int(at): rows[rows.step == int(at)]}


def _of_arm(arm: str, runs: Runs) -> pd.DataFrame:
    if isinstance(runs, str | Path | pd.DataFrame):
        raise TypeError(
            f"arm {arm!r} takes a list of tables or run folders, one a seed; put {type(runs).__name__} in a list"
        )
    if not len(runs):
        raise ValueError(f"arm {arm!r} has no run")
    tables = []
    for place, run in enumerate(runs):
        table = checked(run if isinstance(run, pd.DataFrame) else read_table(Run(Path(run)).metrics))
        if table.empty:
            raise ValueError(f"run {place} of arm {arm!r} is a table without rows; capture it again")
        # As `analyze` leaves it, of no run and of seed 0: then the place in the list is the seed.
        bare = bool((table.run == "").all() and (table.seed == 0).all())
        tables.append(table.assign(arm=arm, seed=place if bare else table.seed))
    merged = pd.concat(tables, ignore_index=True)
    repeated = merged.duplicated(["seed", "step", "site", "positions", "metric"])
    if repeated.any():
        raise ValueError(f"arm {arm!r} has seed {merged.seed[repeated].iloc[0]} twice")
    return merged


def _warn_of_steps(rows: pd.DataFrame) -> None:
    steps = rows.groupby("arm", sort=False).step.agg(["min", "max"])
    if steps["min"].min() < steps["max"].max():
        listed = ", ".join(f"{arm} at {int(low)} to {int(high)}" for arm, low, high in steps.itertuples())
        warnings.warn(f"the runs are compared at different steps: {listed}; choose one with `at`", stacklevel=4)
