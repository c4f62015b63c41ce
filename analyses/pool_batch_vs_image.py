"""Question  What does it do that the official sparse code takes GRN's norms over the whole batch, not over each image?
Method    V2 with GRN of an image (the pool's, and the paper's formula) and with GRN pooled over the batch of 128, as
          the official pre-training does. The latter is measured as it was trained (batches of 512 unmasked images),
          and, as the official code goes on from there, with GRN of an image in its place, same weights. Rank over the
          last third of depth; how far the last map moves by the switch, |f' - f| / |f|.
Cost      The pool's V2, and 3 runs more of about 6 CPU minutes.
Result    Not run.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import torch

import collapse_lab as cl
from analyses.command import command
from analyses.page import Section, write_page
from analyses.pool import V2, carry_out, study_of
from analyses.readings import batches_of, by_arm, measured, seed_values, tables_of, values_of
from analyses.words import PROBE, mean_of, told

NAME = "pool_batch_vs_image"
TITLE = "GRN over the batch or over each image"

# %% Arms
IMAGE, BATCH, SWITCHED = "GRN of an image", "GRN of the batch", "trained on the batch, read by image"
ARMS = {IMAGE: V2, BATCH: {"model": {"response": "grn_batch", "layer_scale": "none"}}}
MOVED = "relative change of the last map"


# %% The official switch: the same weights, another function
@torch.inference_mode()
def moved_by_switch(run: Path, data: str) -> float:
    """|f' - f| / |f| of the last map, norms over all test images; f in batches of 512, f' image by image."""
    models: list[Any] = [cl.load_model(run), cl.load_model(run, response="grn")]
    change = size = 0.0
    for each in batches_of(run, data):
        before, after = (model.forward_features(each["image"]).double() for model in models)
        change += (after - before).square().sum().item()
        size += before.square().sum().item()
    return float((change / size) ** 0.5)


# %% What the comparison answers
def answer_of(comparison: cl.Comparison, moved: pd.DataFrame) -> str:
    """Training by batch against by image, the switch against no switch, and how far features move."""
    return f"{told(comparison, ['effective_rank'])} The switch: {MOVED} {mean_of(moved, MOVED)}."


# %% Train what is missing, switch, compare, write the page
if __name__ == "__main__":
    with command(NAME, __doc__) as asked:
        study = study_of(asked, title=TITLE, baseline=IMAGE, arms=ARMS)
        trained = carry_out(study, asked)
        runs = trained.folders
        other = [
            measured(cl.load_model(run, response="grn"), run, asked.data, arm=SWITCHED, sites=study.sites)
            for run in runs[BATCH]
        ]
        moved = values_of({SWITCHED: runs[BATCH]}, {MOVED: lambda run: moved_by_switch(run, asked.data)})
        comparison = cl.compare({**tables_of(trained), SWITCHED: other}, baseline=IMAGE)
        values = pd.concat([seed_values(comparison, ["effective_rank", "dead_channels", PROBE]), moved])
        note = (
            "Mean ± standard deviation over seeds (their number); rank and dead channels over the last third of depth."
        )
        sections = [Section(heading="GRN by batch and by image", note=note, table=by_arm(values))]
        metrics, answer = pd.concat([comparison.metrics, moved]), answer_of(comparison, moved)
        write_page(asked, metrics, runs, title=TITLE, answer=answer, sections=sections)
