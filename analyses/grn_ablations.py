"""Question  Which part of GRN matters: how it aggregates, how it normalises, its residual; or will another norm or gate
          do? And what becomes of a network whose GRN is dropped after training?
Method    V2's block with every response there is, in the place of GRN (`collapse-lab list responses` has formulas and
          the accuracy that the paper reports of each); and the pool's V2 read without its GRN, same weights. All
          without LayerScale. Rank over the last third of depth and a linear probe (not of the network whose GRN was
          dropped). GRN added afterwards is the identity until it is trained, so it changes nothing here: the paper's
          (f) fine-tunes both, 78.8 dropped and 80.6 added against 84.6.
Cost      Two arms of the pool, and 36 runs more of 5 to 8 CPU minutes.
Result    Not run.
"""

from __future__ import annotations

import collapse_lab as cl
from analyses.command import command
from analyses.page import Section, write_page
from analyses.pool import PLAIN, V2, Changes, carry_out, study_of
from analyses.readings import by_arm, measured, seed_values, tables_of
from analyses.words import PROBE, told

NAME = "grn_ablations"
TITLE = "Parts of GRN, and what could stand in its place"


# %% Arms
def response(name: str) -> Changes:
    """V2 with another response."""
    return {"model": {"response": name, "layer_scale": "none"}}


GRN, DROPPED = "grn", "grn, dropped after training"
AGGREGATION = ["grn_avg", "grn_l1"]
NORMALISATION = ["grn_standardise", "grn_inverse_sum"]
PARTS = ["grn_no_residual", "affine", "times_g"]
OTHERS = ["lrn", "bn", "ln", "se", "cbam"]
ARMS = {GRN: V2, "none": PLAIN, **{name: response(name) for name in [*AGGREGATION, *NORMALISATION, *PARTS, *OTHERS]}}
QUICK = [GRN, "se"]


# %% What the comparison answers
def answer_of(comparison: cl.Comparison) -> str:
    """Every other response against GRN, by rank, and by the probe where it was taken."""
    return told(comparison, ("effective_rank", PROBE))


# %% Train what is missing, drop GRN, compare, write the page
if __name__ == "__main__":
    with command(NAME, __doc__) as asked:
        arms = {arm: ARMS[arm] for arm in QUICK} if asked.quick else ARMS
        study = study_of(asked, title=TITLE, baseline=GRN, arms=arms)
        trained = carry_out(study, asked)
        dropped = [
            measured(cl.load_model(run, response="none"), run, asked.data, arm=DROPPED, sites=study.sites)
            for run in trained.folders[GRN]
        ]
        comparison = cl.compare({**tables_of(trained), DROPPED: dropped}, baseline=GRN)
        values = seed_values(comparison, ["effective_rank", "dead_channels", PROBE])
        note = (
            "Mean ± standard deviation over seeds (their number); rank and dead channels over the last third of depth."
        )
        sections = [Section(heading="Responses", note=note, table=by_arm(values))]
        answer = answer_of(comparison)
        write_page(asked, comparison.metrics, trained.folders, title=TITLE, answer=answer, sections=sections)
