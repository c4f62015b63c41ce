"""Question  Are networks found to have collapsed that are built to collapse, and their twins found not to?
Method    SimSiam without its stop-gradient, which comes to one embedding for all images, and VICReg without its
          covariance term, which comes to few directions, each beside its twin with nothing removed; the pool's V2.
          `cl.diagnose`, with published thresholds, of the projector's output for the unmasked test images, and of the
          encoder's blocks. The benchmark of the same name has ten seeds, on digits, and claims; this looks further in.
Cost      12 runs of 8 to 15 CPU minutes (two views cost double).
Result    Not run.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import torch

import collapse_lab as cl
from analyses.command import command
from analyses.onset import onsets_of
from analyses.page import Section, write_page
from analyses.pool import UNCROPPED, V2, Changes, carry_out, study_of, with_objective
from analyses.readings import batches_of, record_of

NAME = "positive_controls"
TITLE = "Networks that are built to collapse"

# %% Arms, and what is expected of each embedding
HIDDEN: Changes = {"name": "simsiam", "projector_dim": 256, "predictor_dim": 64, "output_norm": False}
# The paper's covariance weight of 1 is for 8,192 channels, over which the term sums; these are 16.
FEW: Changes = {"name": "vicreg", "expander_dim": 64, "embedding_dim": 16, "covariance": 25.0}
OBJECTIVES: dict[str, Changes] = {
    "SimSiam": HIDDEN,
    "SimSiam without stop-gradient": {**HIDDEN, "stop_gradient": False},
    "VICReg": FEW,
    "VICReg without covariance": {**FEW, "covariance": 0.0},
}
DECAYLESS: Changes = {"optim": {"weight_decay": 0.0, "betas": [0.9, 0.999]}}
ARMS = {arm: {**with_objective(V2, objective), **UNCROPPED, **DECAYLESS} for arm, objective in OBJECTIVES.items()}
LOOKED_FOR = {arm: "complete_collapse" if "SimSiam" in arm else "dimensional_collapse" for arm in ARMS}


# %% The embedding of a run
@torch.inference_mode()
def embedding_of(run: Path, data: str, *, unit_length: bool) -> cl.LayerStats:
    """Statistics of the projector's output for all test images, as they are and not as two views.

    SimSiam compares directions alone and leaves lengths to chance, so its embeddings are judged at unit length.
    """
    objective: Any
    objective, _ = cl.load_objective(run)
    batches = list(batches_of(run, data))
    embedded = torch.cat([objective.embedding(batch["image"]) for batch in batches])
    embedded = torch.nn.functional.normalize(embedded) if unit_length else embedded
    return cl.stats_of(embedded, layout="image channel", ids=torch.cat([batch["id"] for batch in batches]))


def judged(runs: cl.Comparison, data: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(metrics of every embedding; arm, seed, kind looked for, whether it is found, and all faults that are)."""
    tables, rows = [], []
    for arm, own in runs.folders.items():
        for run in own:
            stats = embedding_of(run, data, unit_length="SimSiam" in arm)
            table = cl.analyze(stats).assign(arm=arm, seed=record_of(run)["seed"], run=run.name)
            faults = [finding.kind for finding in cl.diagnose(table) if finding.fault]
            tables.append(table)
            rows.append(
                {
                    "arm": arm,
                    "seed": record_of(run)["seed"],
                    "looked for": LOOKED_FOR[arm],
                    "found": LOOKED_FOR[arm] in faults,
                    "all faults": ", ".join(faults) or "none",
                }
            )
    return pd.concat(tables, ignore_index=True), pd.DataFrame(rows)


# %% What the verdicts answer
def answer_of(verdicts: pd.DataFrame) -> str:
    """Arm by arm in how many seeds the kind was found that was looked for."""
    said = [
        f"{arm}: {own['looked for'].iloc[0]} in {int(own.found.sum())} of {len(own)} seeds"
        for arm, own in verdicts.groupby("arm", sort=False)
    ]
    return "; ".join(said) + "."


# %% Train what is missing, judge, write the page
if __name__ == "__main__":
    with command(NAME, __doc__) as asked:
        comparison = carry_out(study_of(asked, title=TITLE, baseline="SimSiam", arms=ARMS), asked)
        metrics, verdicts = judged(comparison, asked.data)
        inside = onsets_of(comparison.folders).drop(columns=["seeds", "of"])
        sections = [
            Section(heading="At the embedding", table=verdicts),
            Section(heading="Inside the encoder, at the last step", table=inside),
        ]
        write_page(asked, metrics, comparison.folders, title=TITLE, answer=answer_of(verdicts), sections=sections)
