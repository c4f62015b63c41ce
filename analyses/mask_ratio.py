"""Question  How does the share of removed cells change what FCMAE learns?
Method    V2 at ratios of .25, .5, .6 (the paper's, and the pool's), .75 and .9; on a 4 x 4 grid 12, 8, 6, 4 and 1 cells
          are left. Rank of unmasked test images over the last third of depth, and a linear probe. The paper finds .5 to
          .7 best after fine-tuning (a figure without numbers).
Cost      The pool's V2, and 12 runs more of about 5 CPU minutes.
Result    Not run.
"""

from __future__ import annotations

import collapse_lab as cl
from analyses.command import command
from analyses.page import write_report
from analyses.pool import V2, carry_out, study_of, with_objective
from analyses.words import PROBE, told

NAME = "mask_ratio"
TITLE = "How much FCMAE removes"

# %% Arms
PAPER = "ratio .6"
RATIOS = {"ratio .25": 0.25, "ratio .5": 0.5, "ratio .75": 0.75, "ratio .9": 0.9}
ARMS = {PAPER: V2, **{arm: with_objective(V2, {"mask_ratio": ratio}) for arm, ratio in RATIOS.items()}}
QUICK = [PAPER, "ratio .5"]


# %% What the comparison answers
def answer_of(comparison: cl.Comparison) -> str:
    """Every other ratio against the paper's, by the probe and by rank."""
    return told(comparison, (PROBE, "effective_rank"))


# %% Train what is missing, compare, write the page
if __name__ == "__main__":
    with command(NAME, __doc__) as asked:
        arms = {arm: ARMS[arm] for arm in QUICK} if asked.quick else ARMS
        study = study_of(asked, title=TITLE, baseline=PAPER, arms=arms)
        comparison = carry_out(study, asked)
        write_report(asked, comparison, title=TITLE, answer=answer_of(comparison))
