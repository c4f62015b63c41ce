"""Question  What do the channels of V1 and V2 look like after the activation of the expansion MLP (the paper's Fig. 3)?
Method    64 channels of every block as small squares, for one unmasked test image, drawn by its identity; one scale a
          block (1st to 99th percentile of what is shown), so that dead and saturated channels look flat. Beside them
          the shares of dead and saturated channels over all test images. The picture is of the first seed.
Cost      The pool's V1 and V2.
Result    No channel is dead or saturated over the test images in any block of either: 0 [0, 0] points of difference.
          For one image V1 shows more flat squares in its late blocks. Page: reports/.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

import collapse_lab as cl
from analyses.command import command
from analyses.draw import panels_of
from analyses.page import Section, write_page
from analyses.pool import V1, V2, carry_out, study_of
from analyses.readings import by_arm, means_of, pixels_of
from analyses.words import told_values

NAME = "feature_maps"
TITLE = "Feature maps after the activation"
SHOWN, SIDE = 64, 8
COUNTED = ("dead_channels", "saturated_channels")


# %% From a run and an image to a picture
def maps_of(run: Path, image: Tensor) -> dict[str, Tensor]:
    """Site -> (H, W, C) of one image (1, 3, side, side), after every activation."""
    captured = cl.capture(cl.load_model(run), [image], sites=["kind:act"], keep_maps=1)
    side = {site: round(values.shape[1] ** 0.5) for site, values in captured.maps.values.items()}
    return {site: values[0].unflatten(0, (side[site], -1)) for site, values in captured.maps.values.items()}


def mosaic(values: Tensor) -> Tensor:
    """The first 64 channels of (H, W, C), 8 x 8, each with a margin of NaN; fewer where there are fewer."""
    squares = torch.nn.functional.pad(values[..., :SHOWN].permute(2, 0, 1), (0, 1, 0, 1), value=torch.nan)
    missing = -len(squares) % SIDE
    squares = torch.cat([squares, torch.full((missing, *squares.shape[1:]), torch.nan)])
    return torch.cat([torch.cat(list(row), dim=1) for row in squares.split(SIDE)])


def picture(maps: dict[str, Tensor]) -> Figure:
    """One panel a block."""
    figure, axes = panels_of(len(maps), columns=4)
    for (site, values), axis in zip(maps.items(), axes, strict=True):
        whole = mosaic(values)
        low, high = torch.nanquantile(whole, torch.tensor([0.01, 0.99])).tolist()
        axis.imshow(whole.numpy(), cmap="viridis", vmin=low, vmax=high, interpolation="nearest")
        axis.set_title(f"{site}: {low:.2g} to {high:.2g}", loc="left", fontsize=7)
        axis.set_axis_off()
    return figure


# %% What is counted beside it
def counted(metrics: pd.DataFrame) -> pd.DataFrame:
    """Columns arm, seed, site, metric, value: shares of dead and saturated channels after each activation."""
    chosen = metrics.metric.isin(COUNTED) & (metrics.positions == "sampled:8")
    return metrics[chosen][["arm", "seed", "site", "metric", "value"]]


def answer_of(shares: pd.DataFrame) -> str:
    """V2 against V1, averaged over all blocks."""
    means = means_of(shares, "arm", "seed", "metric")
    return f"Means over all blocks: {told_values(means, [('V2', 'V1')])}"


# %% Train what is missing, draw, write the page
if __name__ == "__main__":
    with command(NAME, __doc__) as asked:
        study = study_of(asked, title=TITLE, baseline="V1", arms={"V1": V1, "V2": V2}, sites=["kind:act"])
        comparison = carry_out(study, asked)
        first = {arm: own[0] for arm, own in comparison.folders.items()}
        drawn = [
            (f"{arm}, first seed", picture(maps_of(run, pixels_of(run, asked.data)))) for arm, run in first.items()
        ]
        shares = counted(comparison.metrics)
        note = "Share of the channels over all test images: mean ± standard deviation over seeds (their number)."
        tables = [
            Section(heading=str(arm), note=note, table=by_arm(own, "site"))
            for arm, own in shares.groupby("arm", sort=False)
        ]
        sections = [Section(heading="One image", figures=drawn), *tables]
        write_page(asked, shares, comparison.folders, title=TITLE, answer=answer_of(shares), sections=sections)
