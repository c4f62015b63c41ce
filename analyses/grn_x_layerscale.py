"""Question  What do GRN and LayerScale, alone and together, do to the features that FCMAE learns?
Method    2 x 2 {GRN, none} x {LayerScale 1e-6, none}: V1 is none with LayerScale, V2 is GRN without, so that V1 against
          V2 changes two things. The pool's runs at seven steps; block outputs, activations and responses of unmasked
          test images. One primary test a headline metric, over the last third of depth at the last step.
Cost      The pool: 12 runs of about 6 CPU minutes.
Result    LayerScale takes 7.4 [6.2, 8.6] of 48 to 96 dimensions from late blocks (called); GRN does nothing that can be
          seen, -0.12 [-0.40, 0.16], nor to what features are worth. No channel is dead in any arm. Page: reports/.
"""

from __future__ import annotations

import collapse_lab as cl
from analyses.command import command
from analyses.page import write_report
from analyses.pool import ARMS, FACTORS, carry_out, study_of
from analyses.words import PROBE, told

NAME = "grn_x_layerscale"
TITLE = "GRN x LayerScale under FCMAE"


# %% What the comparison answers
def answer_of(comparison: cl.Comparison) -> str:
    """Both main effects and their interaction, on rank, dead channels and what the features are worth."""
    return told(comparison, ("effective_rank", "dead_channels", PROBE))


# %% Train what is missing, compare, write the page
if __name__ == "__main__":
    with command(NAME, __doc__) as asked:
        study = study_of(asked, title=TITLE, baseline="V1", arms=ARMS, factors=FACTORS, over_training=True)
        comparison = carry_out(study, asked)
        write_report(asked, comparison, title=TITLE, answer=answer_of(comparison))
