"""Question  When does collapse begin: before training, during warm-up, or late?
Method    The pool's four arms at their seven captured steps; the onset of a finding is the first captured step from
          which its rule (`cl.diagnose`, published thresholds) holds to the end. Block outputs, activations and
          responses of unmasked test images. An onset is known no finer than the captured steps.
Cost      The pool: 12 runs of about 6 CPU minutes.
Result    Redundant channels and low rank are found before training, in all arms and seeds; rank falls by 7 to 15 %
          within 75 steps, is back by 300 and rises. The mean comes to dominate late (step 1,000 on), mostly with
          LayerScale: in 5 of 6 runs, else in 1 of 6.
"""

from __future__ import annotations

import pandas as pd

from analyses.command import command
from analyses.draw import curves
from analyses.onset import findings_of, onsets_of
from analyses.page import Section, write_page
from analyses.pool import ARMS, carry_out, study_of
from analyses.readings import Runs, by_arm, means_of

NAME = "collapse_over_training"
TITLE = "When collapse begins"
DRAWN = ("effective_rank", "dead_channels", "variance_share")


# %% What the onsets answer
def answer_of(onsets: pd.DataFrame) -> str:
    """Kind by kind: in how many seeds of each arm it is found at the end, and from which step on."""
    if onsets.empty:
        return "No rule holds at the last step in any arm: nothing collapses that the thresholds would call so."
    said = [
        f"{kind}: " + ", ".join(f"{row.arm} in {row.told}" for row in own.itertuples())
        for kind, own in onsets.groupby("kind", sort=False)
    ]
    return "; ".join(said) + "."


# %% Metrics over the steps, as means over all sites of a kind
def over_steps(runs: Runs) -> pd.DataFrame:
    """Columns arm, seed, step, metric, value: block outputs, and activations for dead channels."""
    parts = [pd.read_parquet(run / "metrics.parquet").assign(arm=arm) for arm, own in runs.items() for run in own]
    table = pd.concat(parts, ignore_index=True)
    after = table.site.str.endswith(".act")
    table = table[((table.metric == "dead_channels") == after) & ~table.site.str.endswith(".response")]
    table = table[table.metric.isin(DRAWN) & (table.positions == "sampled:8")]
    return means_of(table, "arm", "seed", "step", "metric")


# %% Train what is missing, find the onsets, write the page
if __name__ == "__main__":
    with command(NAME, __doc__) as asked:
        study = study_of(asked, title=TITLE, baseline="V1", arms=ARMS, over_training=True)
        runs = carry_out(study, asked).folders
        onsets, steps, found = onsets_of(runs), over_steps(runs), findings_of(runs)
        drawn = [
            (
                "Mean over all sites; bands are the range of the seeds.",
                curves(steps, x="step", x_label="step", panel="metric"),
            )
        ]
        last = steps[steps.step == steps.step.max()]
        sections = [
            Section(heading="Findings at the last step, and since when", table=onsets.drop(columns=["seeds", "of"])),
            Section(heading="Over training", figures=drawn),
            Section(
                heading="At the last step", note="Mean ± standard deviation over seeds (number).", table=by_arm(last)
            ),
            Section(heading="Site by site", note="Severity runs from 0 to 1; onset is a step.", table=found),
        ]
        write_page(asked, steps, runs, title=TITLE, answer=answer_of(onsets), sections=sections)
