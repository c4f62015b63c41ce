"""Question  Which decoder should FCMAE have: what does a larger one cost, and does it leave better features?
Method    V2 with four decoders: one ConvNeXt block (the paper's choice, and the pool's), four, two Transformer blocks,
          a UNet without skip connections. Loss on the test images (masks equal at every step), seconds of training (of
          one machine, and of whatever else it did), linear probe, rank over the last third of depth. The paper: 83.7
          (one block, 7.7 h), 83.7 (four), 83.4 (Transformer, 8.5 h), 83.5 (UNet without skips, 12.9 h).
Cost      The pool's V2, and 9 runs more of 6 to 9 CPU minutes.
Result    Not run.
"""

from __future__ import annotations

import pandas as pd

from analyses.command import command
from analyses.page import Section, write_page
from analyses.pool import V2, carry_out, study_of, with_objective
from analyses.readings import by_arm, last_logged, seconds_of, seed_values, values_of
from analyses.words import PROBE, told_values

NAME = "decoder_choice"
TITLE = "Decoders of FCMAE"

# %% Arms
PAPER = "one block"
ARMS = {
    PAPER: V2,
    "four blocks": with_objective(V2, {"decoder_depth": 4}),
    "Transformer": with_objective(V2, {"decoder": "transformer", "decoder_depth": 2}),
    "UNet without skips": with_objective(V2, {"decoder": "unet"}),
}
MEASURES = {"test_loss": lambda run: last_logged(run, "test_loss"), "seconds": seconds_of}


# %% What the values answer
def answer_of(values: pd.DataFrame) -> str:
    """Every other decoder against one block: probe, loss and time."""
    others = [arm for arm in dict.fromkeys(values.arm) if arm != PAPER]
    return told_values(values, [(arm, PAPER) for arm in others], (PROBE, *MEASURES))


# %% Train what is missing, collect, write the page
if __name__ == "__main__":
    with command(NAME, __doc__) as asked:
        comparison = carry_out(study_of(asked, title=TITLE, baseline=PAPER, arms=ARMS), asked)
        runs = comparison.folders
        values = pd.concat([values_of(runs, MEASURES), seed_values(comparison, [PROBE, "effective_rank"])])
        note = "Mean ± standard deviation over seeds (number of seeds)."
        table = Section(heading="Decoders", note=note, table=by_arm(values))
        metrics = pd.concat([comparison.metrics, values_of(runs, MEASURES)])
        write_page(asked, metrics, runs, title=TITLE, answer=answer_of(values), sections=[table])
