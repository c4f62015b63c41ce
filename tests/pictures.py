"""Small pictures with something to learn, and a study of seconds on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from collapse_lab.study.jobs import jobs_of
from collapse_lab.study.plan import Study
from collapse_lab.study.work import work

TESTED = 66  # just enough for intervals over images


def write_pictures(folder: Path, *, train: int = 24, test: int = TESTED) -> Path:
    """Two classes, stripes along either axis, 16 x 16, in train/ and test/."""
    random = np.random.default_rng(0)
    for split, count in (("train", train), ("test", test)):
        for place in range(count):
            label = place % 2
            wave = np.sin(np.arange(16) * random.uniform(0.5, 2.0) + random.uniform(0, 6))
            grey = np.broadcast_to(wave if label else wave[:, None], (16, 16)) + random.normal(0, 0.2, (16, 16))
            path = folder / split / f"class{label}" / f"{place:03}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.uint8(np.clip(grey * 60 + 128, 0, 255))).save(path)
    return folder


def small_study(data: Path, *, seeds: tuple[int, ...] = (0, 1, 2), captures: tuple[int, ...] = (0, 2)) -> Study:
    """GRN or not, two steps each."""
    return Study.model_validate(
        {
            "name": "small",
            "title": "A <b>small</b> study",
            "baseline": "plain",
            "seeds": seeds,
            "captures": captures,
            "sites": ("stages.2.blocks.*", "stages.2.blocks.*.act"),
            "config": {
                "steps": captures[-1],
                "threads": 1,
                "device": "cpu",
                "data": {"uri": str(data), "size": 16, "batch": 8},
                "model": {"response": "none", "layer_scale": "none"},
                "objective": {"decoder_dim": 8},
                "optim": {"lr": 1e-3},
                "save": {"keep": 1},
            },
            "arms": {
                "plain": {"factors": {"GRN": False}},
                "GRN": {"factors": {"GRN": True}, "config": {"model": {"response": "grn"}}},
            },
        }
    )


def finished_study(folder: Path) -> Path:
    """The folder of the runs of a small study, each trained and measured in this process."""
    study = small_study(write_pictures(folder / "pictures"))
    for job in jobs_of(study, folder / "runs"):
        work(job)
    return folder / "runs"
