"""Question  How alike are the channels of a layer, from the first to the last, under V1 supervised, V1 FCMAE, V2 FCMAE
          and ViT MAE (the paper's Fig. 4)?
Method    The mean cosine distance of all pairs of channels of an image, averaged over unmasked test images: as the
          paper defines it (a zero channel counts as diverse), and over live channels alone. The paper does not say
          which tensor it looked at, so here are three: block outputs, activations, responses (a ViT has no response; of
          V1 it is the activation). Depth counts the sites of a kind, from 0 to 1. The paper by eye: V2 FCMAE .41-.49
          throughout, V1 FCMAE from .48 to .19 at the end, V1 supervised .49 to .26, ViT MAE .49 to .35.
Cost      The pool's V1 and V2, and 6 runs more of 6 to 10 CPU minutes.
Result    Late activations of V1 supervised are the most alike: V1 FCMAE lies .079 [.059, .099] above. V2 FCMAE and V1
          FCMAE do not differ, -.013 [-.027, .001]; block outputs of all ConvNeXts are equal. Page: reports/.
"""

from __future__ import annotations

import pandas as pd

from analyses.command import command
from analyses.draw import curves
from analyses.page import Section, write_page
from analyses.pool import BLOCKS, SUPERVISED, V1, V2, carry_out, study_of, vit, with_objective
from analyses.readings import by_arm, means_of
from analyses.words import told_values

NAME = "cosine_distance_depth"
TITLE = "Cosine distance of channels through depth"
METRICS = ("channel_cosine_distance_paper", "channel_cosine_distance_live")
KINDS = ("block", "act", "response")
LAST = 2 / 3
CONVNEXTS = {"V1 supervised": with_objective(V1, SUPERVISED), "V1 FCMAE": V1, "V2 FCMAE": V2}


# %% The curves: one value an arm, seed, kind of site, depth and metric
def through_depth(tables: pd.DataFrame) -> pd.DataFrame:
    """Columns arm, seed, site, kind, depth, metric, value; depth from 0 to 1 among the sites of a kind."""
    rows = tables[tables.metric.isin(METRICS) & (tables.positions == "sampled:8")].reset_index(drop=True)
    last = rows.site.str.rpartition(".")[2]
    rows = rows.assign(kind=last.where(last.isin(KINDS), "block"))
    order = rows.groupby(["arm", "seed", "kind", "metric"]).depth
    place, most = order.rank(method="first") - 1, order.transform("count") - 1
    depth = (place / most.clip(lower=1)).where(most > 0, 1.0)
    return rows.assign(depth=depth)[["arm", "seed", "site", "kind", "depth", "metric", "value"]]


def late_means(curve: pd.DataFrame) -> pd.DataFrame:
    """Columns arm, seed, metric (with its kind), value: means over the last third of depth."""
    late = curve[curve.depth >= LAST].assign(metric=curve.metric + " at " + curve.kind)
    return means_of(late, "arm", "seed", "metric")


# %% What they answer
def answer_of(late: pd.DataFrame) -> str:
    """V2 against V1, and against what the paper says of supervised V1, at every tensor and by both metrics."""
    pairs = [("V2 FCMAE", "V1 FCMAE"), ("V1 FCMAE", "V1 supervised"), ("V2 FCMAE", "ViT MAE")]
    return told_values(late, pairs)


# %% Train what is missing, collect, write the page
if __name__ == "__main__":
    with command(NAME, __doc__) as asked:
        vit_mae = {"ViT MAE": vit(asked)}
        convnexts = carry_out(study_of(asked, title=TITLE, baseline="V1 FCMAE", arms=CONVNEXTS), asked)
        vits = carry_out(study_of(asked, title=TITLE, baseline="ViT MAE", arms=vit_mae, sites=BLOCKS), asked)
        curve = through_depth(pd.concat([convnexts.metrics, vits.metrics]))
        late = late_means(curve)
        drawn = [
            (
                f"{metric}: mean over images and seeds; bands are the range of the seeds.",
                curves(own, x="depth", x_label="depth", panel="kind"),
            )
            for metric, own in curve.groupby("metric", sort=False)
        ]
        sections = [
            Section(heading="Through depth", note=".5 is orthogonal, 0 is a copy.", figures=drawn),
            Section(
                heading="Last third of depth",
                note="Mean ± standard deviation over seeds (their number).",
                table=by_arm(late),
            ),
        ]
        runs = {**convnexts.folders, **vits.folders}
        write_page(asked, curve, runs, title=TITLE, answer=answer_of(late), sections=sections)
