"""Question  Are features that FCMAE learns worth more than raw pixels, principal components, Fourier magnitudes, or an
          untrained network?
Method    Linear, k-NN, SVM and k-means on each, of the same images: methods that learn nothing on three splits of all
          images, as large as training and test set; networks (the pool's V1 and V2, the last map averaged over
          positions, unmasked) on the training and test set themselves, three seeds of training.
Cost      The pool's V1 and V2, and about fifteen minutes of probes.
Result    Not by a linear probe: Fourier magnitudes 38.8 % (38.4 to 39.3 over three splits), V2 38.3 (38.1 to 38.5 over
          three seeds), V1 37.9, components 37.3, pixels 36.7, untrained 33.6. By SVM pixels (38.9) and Fourier (39.9)
          lie above V2 (37.6), by k-NN components and Fourier. k-means finds most in V2 (NMI .118, pixels .094).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

import collapse_lab as cl
from analyses.command import command
from analyses.page import Section, write_page
from analyses.pool import V1, V2, carry_out, study_of
from analyses.readings import batches_of, by_arm, record_of
from analyses.words import mean_of

NAME = "classical_baselines"
TITLE = "Learnt features beside methods that learn nothing"
KINDS = ("linear", "knn", "svm", "kmeans")
COLUMNS = ["arm", "seed", "metric", "value", "low", "high", "n_images"]


# %% Features of networks
@torch.inference_mode()
def features_of(model: Any, run: Path, data: str, split: str) -> tuple[Tensor, Tensor]:
    """(N, C) the last map averaged over positions, and labels (N,)."""
    batches = list(batches_of(run, data, split))
    features = [model.forward_features(batch["image"]).mean(dim=(2, 3)) for batch in batches]
    return torch.cat(features), torch.cat([batch["label"] for batch in batches])


def untrained(run: Path) -> nn.Module:
    """The run's network with the weights that it began with: they follow from its seed."""
    record = record_of(run)
    model = {name: record["config"]["model"][name] for name in ("name", "response", "layer_scale", "widths")}
    scale = None if model["layer_scale"] == "none" else model["layer_scale"]
    return cl.build_model(
        **{**model, "layer_scale": scale, "widths": tuple(model["widths"])}, seed=record["seed"]
    ).eval()


def probed(model: nn.Module, run: Path, data: str, arm: str) -> pd.DataFrame:
    train, test = (features_of(model, run, data, split) for split in ("train", "test"))
    return cl.probe(train, test, KINDS).assign(arm=arm, seed=record_of(run)["seed"])[COLUMNS]


# %% Methods that learn nothing, on splits of all images
def methods(data: str, size: int, seeds: tuple[int, ...]) -> pd.DataFrame:
    both = [cl.open_images(data, split, size) for split in ("train", "test")]
    batches = [each.batch(torch.arange(len(each))) for each in both]
    images, labels = (torch.cat([getattr(batch, name) for batch in batches]) for name in ("image", "label"))
    share = len(both[1]) / len(images)
    return cl.baselines(images, labels, seeds=seeds, kinds=KINDS, test_share=share).rename(columns={"method": "arm"})[
        COLUMNS
    ]


# %% What the scores answer
def answer_of(values: pd.DataFrame) -> str:
    """Every score of everything, with the range over seeds; what seeds mean differs, so nothing is paired."""
    said = [
        f"{metric}: " + ", ".join(f"{arm} {mean_of(rows, str(metric))}" for arm, rows in own.groupby("arm", sort=False))
        for metric, own in values.groupby("metric", sort=False)
    ]
    return "; ".join(said) + "."


# %% Train what is missing, probe, write the page
if __name__ == "__main__":
    with command(NAME, __doc__) as asked:
        runs = carry_out(study_of(asked, title=TITLE, baseline="V1", arms={"V1": V1, "V2": V2}), asked).folders
        learnt = [
            probed(cl.load_model(run), run, asked.data, f"{arm}, FCMAE") for arm, own in runs.items() for run in own
        ]
        drawn = [probed(untrained(run), run, asked.data, "V2, untrained") for run in runs["V2"]]
        size = record_of(runs["V2"][0])["config"]["data"]["size"]
        values = pd.concat([methods(asked.data, size, asked.seeds), *drawn, *learnt], ignore_index=True)
        note = "Mean ± standard deviation over seeds (their number): of the split, or of training."
        sections = [Section(heading="Scores", note=note, table=by_arm(values))]
        write_page(asked, values, runs, title=TITLE, answer=answer_of(values), sections=sections)
