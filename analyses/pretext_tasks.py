"""Question  What are the features worth that one network gets from different tasks, and which of them collapse?
Method    The V2 network learns FCMAE (the pool's), to tell four turns apart, to colour grey images, SimSiam, VICReg,
          and to classify; the same steps, batch and optimiser for all, which is the best of none of them. Linear probe
          on the last map, rank over the last third of depth; the page lists faults arm by arm.
Cost      The pool's V2, and 15 runs more of 6 to 15 CPU minutes (two views cost double).
Result    Not run.
"""

from __future__ import annotations

import collapse_lab as cl
from analyses.command import command
from analyses.page import write_report
from analyses.pool import SIMSIAM, SUPERVISED, UNCROPPED, V2, VICREG, carry_out, study_of, with_objective
from analyses.words import PROBE, told

NAME = "pretext_tasks"
TITLE = "One network, six ways to learn"

# %% Arms
MASKED = "FCMAE"
ARMS = {
    MASKED: V2,
    "rotation": with_objective(V2, {"name": "rotation"}),
    "colorization": with_objective(V2, {"name": "colorization"}),
    "SimSiam": {**with_objective(V2, SIMSIAM), **UNCROPPED},
    "VICReg": {**with_objective(V2, VICREG), **UNCROPPED},
    "supervised": with_objective(V2, SUPERVISED),
}
QUICK = [MASKED, "colorization", "VICReg"]


# %% What the comparison answers
def answer_of(comparison: cl.Comparison) -> str:
    """Every other task against FCMAE, by the probe and by rank."""
    return told(comparison, (PROBE, "effective_rank"))


# %% Train what is missing, collect, write the page
if __name__ == "__main__":
    with command(NAME, __doc__) as asked:
        arms = {arm: ARMS[arm] for arm in QUICK} if asked.quick else ARMS
        comparison = carry_out(study_of(asked, title=TITLE, baseline=MASKED, arms=arms), asked)
        write_report(asked, comparison, title=TITLE, answer=answer_of(comparison))
