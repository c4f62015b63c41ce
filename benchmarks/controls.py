"""Whether the diagnosis tells networks that collapse by design from their twins, which differ in one setting.

SimSiam without its stop-gradient comes to one embedding for all images, VICReg without its covariance term to
embeddings of few directions; the twins keep theirs. All train on 1,000 digits alike, in seconds, and are judged at the
embedding (the projector's output in eval mode) of the 797 test digits, without labels. SimSiam compares directions
alone, so its embeddings are judged at unit length, as its paper measures them: their lengths are left to chance, and
vary even where all point one way. The thresholds are the published ones.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.claims import Claim, Result, main
from collapse_lab.data.source import normalise, open_images
from collapse_lab.findings.diagnose import diagnose
from collapse_lab.findings.table import analyze
from collapse_lab.stats.accumulate import stats_of
from collapse_lab.train.config import Config, make_config
from collapse_lab.train.loop import train
from collapse_lab.train.restore import load_objective

SEEDS, QUICK_SEEDS = range(20, 30), range(20, 22)
"""Steps, rates and widths were chosen on seeds 0 to 10; these had not been looked at."""
PROCESSES = 2
SECONDS = 25
METRICS = ("variance_share", "effective_rank", "effective_rank_null_share", "starved_directions", "embedding_std")
TRAINING: dict[str, Any] = {
    "threads": 1,
    "device": "cpu",
    "log_every": 1000,
    "save": {"every": 1000},
    "model": {"name": "convnext_digits", "response": "grn", "layer_scale": "none", "widths": [8, 16, 32]},
    "data": {"uri": "digits", "size": 16, "batch": 128},
    "optim": {"warmup": 20, "weight_decay": 0.0, "betas": [0.9, 0.999]},
}
VIEWS: dict[str, Any] = {"crop": [0.5, 1.0], "flip": False, "jitter": 0.4}
SIMSIAM = {"name": "simsiam", "projector_dim": 256, "predictor_dim": 64, "output_norm": False, **VIEWS}
# The paper's covariance weight of 1 is for 8,192 channels, over which the term sums; these are 16.
VICREG = {"name": "vicreg", "expander_dim": 64, "embedding_dim": 16, "covariance": 25.0, **VIEWS}


@dataclass(frozen=True, kw_only=True)
class Control:
    """One arm: what it learns, for how long, which `kind` is to be found at its embedding, or, of a twin, is not."""

    claim: str
    kind: str
    collapses: bool
    objective: dict[str, Any]
    steps: int
    lr: float
    unit_length: bool = field(default=False)

    def config(self, seed: int, out: str) -> Config:
        """The run of one seed."""
        optim = {**TRAINING["optim"], "lr": self.lr}
        settings = {**TRAINING, "optim": optim, "objective": self.objective, "steps": self.steps}
        return make_config({**settings, "seed": seed, "out": out})

    def right(self, kinds: Sequence[str]) -> bool:
        """Whether these findings are what the arm was made for."""
        return (self.kind in kinds) == self.collapses


def _pair(name: str, kind: str, switch: dict[str, Any], objective: dict[str, Any], **training: Any) -> list[Control]:
    """A network that collapses by one switch, and its twin with everything else alike."""
    return [
        Control(claim=f"{name}_{ending}", kind=kind, collapses=bool(change), objective=objective | change, **training)
        for ending, change in (("collapse_caught", switch), ("twin_clean", {}))
    ]


CONTROLS = [
    *_pair("simsiam", "complete_collapse", {"stop_gradient": False}, SIMSIAM, steps=100, lr=4e-3, unit_length=True),
    *_pair("vicreg", "dimensional_collapse", {"covariance": 0.0}, VICREG, steps=80, lr=1e-3),
]


def judge(embedding: Tensor) -> dict[str, Any]:
    """(N, D) embeddings of N images -> `kinds` found, notes among them, and what some METRICS read."""
    table = analyze(stats_of(embedding, layout="image channel"))
    read = dict(zip(table.metric, table.value, strict=True))
    return {"kinds": [each.kind for each in diagnose(table)], **{name: float(read[name]) for name in METRICS}}


def trained(seed: int, control: Control) -> Tensor:
    """The embeddings of the test digits after training."""
    with tempfile.TemporaryDirectory() as folder:
        config = control.config(seed, f"{folder}/run")
        objective, _ = load_objective(train(config))
    images = open_images(config.data.uri, "test", config.data.size).image
    with torch.no_grad():
        embedding: Tensor = objective.embedding(normalise(images, config.data.mean, config.data.std))
    return F.normalize(embedding, dim=1) if control.unit_length else embedding


def run(place: tuple[int, int]) -> dict[str, Any]:
    """(control, seed) -> its line of the table. Seconds are of the processor, so that neighbours do not count."""
    torch.set_num_threads(1)
    number, seed = place
    began = time.process_time()
    embedding = trained(seed, CONTROLS[number])
    facts = {"claim": CONTROLS[number].claim, "seed": seed, "seconds": round(time.process_time() - began, 1)}
    found = judge(embedding)
    return {**facts, "right": CONTROLS[number].right(found["kinds"]), **found}


def shown(runs: Sequence[dict[str, Any]]) -> str:
    """A line a control: all that was found in it, in how many runs, and the median of what was read."""
    lines = []
    for control in CONTROLS:
        own = [each for each in runs if each["claim"] == control.claim]
        found = Counter(kind for each in own for kind in each["kinds"])
        kinds = ", ".join(f"{kind} {count}" for kind, count in found.most_common()) or "nothing"
        values = ", ".join(f"{name} {statistics.median(each[name] for each in own):.3g}" for name in METRICS)
        lines.append(f"{control.claim}: of {len(own)} runs found {kinds}\n    medians: {values}")
    return "\n".join(lines)


def measure(quick: bool) -> Result:
    """A claim a control; what was found in every run stands beside them."""
    places = [(number, seed) for seed in (QUICK_SEEDS if quick else SEEDS) for number in range(len(CONTROLS))]
    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn")) as pool:
        runs = [_told(each) for each in pool.map(run, places)]
    print(shown(runs), end="\n\n")
    share = partial(_share, runs)
    claims = [
        Claim(name=each.claim, value=share(each.claim), unit="share", target=0.9, better="higher") for each in CONTROLS
    ]
    slowest = max(each["seconds"] for each in runs)
    seconds = Claim(name="controls_run_seconds", value=slowest, unit="s", target=SECONDS, better="lower")
    return Result(claims=[*claims, seconds], tables={"runs": runs})


def _told(each: dict[str, Any]) -> dict[str, Any]:
    found = ", ".join(each["kinds"]) or "nothing"
    print(f"{each['claim']}, seed {each['seed']}, {each['seconds']} s: {found}", flush=True)
    return each


def _share(runs: Sequence[dict[str, Any]], claim: str) -> float:
    return statistics.mean(each["right"] for each in runs if each["claim"] == claim)


if __name__ == "__main__":
    main(measure)
