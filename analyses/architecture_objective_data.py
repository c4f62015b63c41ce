"""Question  How much of rank and of worth comes from the architecture, how much from what is learnt, how much from the
          data?
Method    {V1, V2, ViT} x {masked (FCMAE, MAE), supervised, rotation} x {digits, the data given}; 500 steps on digits,
          uncropped, 1,500 on the rest. Linear probe on the last map, rank over the last third of depth. Ranks of
          networks of unequal width have unequal ends; compare them within a network.
Cost      Of 54 runs the pool has 6 and other analyses 12; the rest is about 2 CPU minutes a run on digits, 6 on others.
Result    Not run.
"""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

import collapse_lab as cl
from analyses.command import Asked, command
from analyses.page import Section, write_page
from analyses.pool import (
    BLOCKS,
    STEPS,
    SUPERVISED,
    UNCROPPED,
    V1,
    V2,
    Changes,
    by_family,
    carry_out,
    study_of,
    vit,
    with_objective,
)
from analyses.readings import by_arm, seed_values
from analyses.words import PROBE, told_values

NAME = "architecture_objective_data"
TITLE = "Architecture x objective x data"
METRICS = ["effective_rank", PROBE]

# %% Arms: networks and tasks; data are studies of their own, as their images cannot be paired
TASKS: dict[str, Changes] = {"masked": {}, "supervised": SUPERVISED, "rotation": {"name": "rotation"}}


def arms_of(asked: Asked, settings: Changes) -> dict[str, Changes]:
    """Every network with every task; without a task it keeps its own, which is masking."""
    networks = {"V1": V1, "V2": V2, "ViT": vit(asked)}
    tasks = TASKS
    if asked.quick:
        networks, tasks = {"V1": V1, "V2": V2}, {task: TASKS[task] for task in ("masked", "rotation")}
    return {
        f"{network}, {task}": {**(with_objective(changes, objective) if objective else changes), **settings}
        for network, changes in networks.items()
        for task, objective in tasks.items()
    }


def carried_out(asked: Asked) -> Iterator[tuple[str, cl.Comparison]]:
    """(Name of the data, comparison) of every data set and family of networks."""
    grid = [("digits", "digits", UNCROPPED, 500), ("given", asked.data, {}, STEPS)]
    for name, data, settings, steps in grid[1:] if asked.quick else grid:
        for arms in by_family(arms_of(asked, settings)):
            first = next(iter(arms))
            study = study_of(asked, title=TITLE, baseline=first, arms=arms, sites=BLOCKS, data=data, steps=steps)
            yield name, carry_out(study, asked)


# %% What the values answer
def answer_of(values: pd.DataFrame) -> str:
    """V2 against V1 under every task and data; and every other task against masking, under V2."""
    names = list(dict.fromkeys(values.data))
    pairs = [(f"V2, {task}, {name}", f"V1, {task}, {name}") for name in names for task in TASKS]
    pairs += [(f"V2, {task}, {name}", f"V2, masked, {name}") for name in names for task in list(TASKS)[1:]]
    return told_values(values, pairs, METRICS)


# %% Train what is missing, collect, write the page
if __name__ == "__main__":
    with command(NAME, __doc__) as asked:
        found = list(carried_out(asked))
        parts = [seed_values(comparison, METRICS).assign(data=name) for name, comparison in found]
        values = pd.concat(parts, ignore_index=True)
        values = values.assign(arm=values.arm + ", " + values.data)
        runs = {f"{arm}, {name}": own for name, comparison in found for arm, own in comparison.folders.items()}
        note = "Mean ± standard deviation over seeds (their number)."
        sections = [
            Section(heading=f"Data: {name}", note=note, table=by_arm(own))
            for name, own in values.groupby("data", sort=False)
        ]
        write_page(asked, values, runs, title=TITLE, answer=answer_of(values), sections=sections)
