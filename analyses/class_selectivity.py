"""Question  Do the channels of V2 answer fewer classes, or more, than those of V1 (the paper's Fig. 7)?
Method    The selectivity index of each channel, (largest class mean - mean of the others) / (their sum), of block
          outputs averaged over positions; unmasked labelled test images; activity is |x|, as block outputs have a sign.
          The paper shows V1 with one mode and V2 with two, V2 less selective in deep layers, without numbers. The
          largest of noisy class means lies high by chance, equally in both arms.
Cost      The pool's V1 and V2.
Result    Equal: the mean index of late blocks differs by .003 [-.006, .012]; both have one mode near .15, and no
          channel lies above .5. Page: reports/.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analyses.command import command
from analyses.draw import COLOURS, curves, panels_of
from analyses.page import Section, write_page
from analyses.pool import V1, V2, carry_out, study_of
from analyses.readings import by_arm, means_of, series_of
from analyses.words import told_values

NAME = "class_selectivity"
TITLE = "Class selectivity of channels"
LAST = 2 / 3
GENERIC, SELECTIVE = 0.1, 0.5
"""Indices below and above which a channel is counted as class-generic and as selective; ours, for want of numbers."""


# %% From channels to sites
def by_site(channels: pd.DataFrame) -> pd.DataFrame:
    """Columns arm, seed, site, depth (0 to 1), metric, value: mean index, and shares of generic and selective channels.

    A channel that is zero on every image has no index and is left out.
    """
    index = channels.dropna(subset="value").groupby(["arm", "seed", "site"], sort=False).value
    shares = {
        "class_selectivity_mean": index.mean(),
        "share of generic channels": index.apply(lambda own: (own < GENERIC).mean()),
        "share of selective channels": index.apply(lambda own: (own > SELECTIVE).mean()),
    }
    table: pd.DataFrame = pd.concat(shares, names=["metric"]).reset_index()
    place = table.groupby(["arm", "seed", "metric"]).cumcount()
    return table.assign(depth=place / place.max() if place.max() else 1.0)


def histograms(channels: pd.DataFrame) -> Figure:
    """The index of all channels of a site, all seeds together, at up to six sites through depth."""
    sites = list(dict.fromkeys(channels.site))
    shown = [
        sites[place] for place in np.unique(np.linspace(0, len(sites) - 1, min(6, len(sites))).round().astype(int))
    ]
    figure, axes = panels_of(len(shown))
    for site, axis in zip(shown, axes, strict=True):
        for place, (arm, own) in enumerate(channels[channels.site == site].groupby("arm", sort=False)):
            edges = np.linspace(0, 1, 26).tolist()
            axis.hist(own.value.dropna(), edges, density=True, histtype="step", color=COLOURS[place], label=arm)
        axis.set_title(site, loc="left", fontsize=9)
        axis.set_xlabel("selectivity index")
    axes[0].legend(fontsize=7)
    return figure


# %% What the index answers
def answer_of(late: pd.DataFrame) -> str:
    """V2 against V1 over the last third of depth."""
    return told_values(late, [("V2", "V1")])


# %% Train what is missing, collect, write the page
if __name__ == "__main__":
    with command(NAME, __doc__) as asked:
        study = study_of(asked, title=TITLE, baseline="V1", arms={"V1": V1, "V2": V2}, sites=["kind:block"])
        runs = carry_out(study, asked).folders
        channels = series_of(runs, NAME)
        channels = channels[(channels.positions == "pooled") & channels.site.str.fullmatch(r".*blocks\.\d+")]
        sites = by_site(channels)
        late = means_of(sites[sites.depth >= LAST], "arm", "seed", "metric")
        depth = curves(sites, x="depth", x_label="depth", panel="metric")
        drawn = [
            ("Densities over channels, seeds together.", histograms(channels)),
            ("Bands are the range of the seeds.", depth),
        ]
        note = (
            f"Generic: index below {GENERIC}; selective: above {SELECTIVE}. Mean ± deviation over seeds (their number)."
        )
        sections = [
            Section(heading="Selectivity of channels", figures=drawn),
            Section(heading="Last third of depth", note=note, table=by_arm(late)),
        ]
        write_page(asked, sites, runs, title=TITLE, answer=answer_of(late), sections=sections)
