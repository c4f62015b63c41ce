"""From a run's checkpoints to its tables: captures at chosen steps, metrics and series."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from collapse_lab.capture.store import Capture
from collapse_lab.data.source import Images, normalise
from collapse_lab.findings.table import analyze, capture, read_table, series_table, write_table
from collapse_lab.ranks import joined, share_of
from collapse_lab.runs import Run
from collapse_lab.study.asked import PLAIN, Asked, forget_parts
from collapse_lab.train.config import Config
from collapse_lab.train.load import load_step

BATCH = 512
GROUPS = 16
SITES = ("kind:block", "kind:act", "kind:response")
POSITIONS = ("sampled:8", "pooled")


def batches(images: Images, config: Config) -> Iterator[dict[str, Tensor]]:
    """The images as a model of this configuration takes them, with labels and identities."""
    for batch in images.batches(BATCH):
        pixels = normalise(batch.image, config.data.mean, config.data.std)
        yield {"image": pixels, "label": batch.label, "id": batch.id}


def capture_step(
    run: Run,
    config: Config,
    step: int,
    images: Images,
    *,
    sites: Sequence[str] = SITES,
    positions: Sequence[str] = POSITIONS,
    groups: int = GROUPS,
    asked: Asked = PLAIN,
    averaged: Path | None = None,
) -> Capture:
    """The encoder of one step, on whole images; where torch.distributed is initialised the ranks share the batches.

    Its weights as they were trained, or, for a capture that is to lie in the folder `averaged`, their running average.
    """
    model = load_step(run, step, averaged=averaged is not None).to(device())
    settings = asked.settings(averaged or run.capture(step))
    facts = {"size": config.data.size, "mean": list(config.data.mean), "std": list(config.data.std)}
    with joined() as (rank, world):
        seen = share_of(batches(images, config), rank, world)
        captured = capture(model, seen, sites=sites, positions=positions, groups=groups, facts=facts, **settings)
    captured.facts |= {"skipped_images": list(images.skipped), "averaged": averaged is not None}
    return captured


def write_step(run: Run, step: int, captured: Capture, *, whole: bool, rows_dtype: str | None = None) -> None:
    """The capture's tables into the run's folder, with statistics and rows where it is kept `whole`."""
    folder, where = run.capture(step), origin(run, step)
    write_table(series_table(captured).assign(**where), folder / "series.parquet")
    write_table(analyze(captured).assign(**where), folder / "metrics.parquet")
    if whole:
        captured.save(folder, rows_dtype=rows_dtype)
        forget_parts(folder)


def measured_steps(run: Run) -> list[int]:
    """Steps that have their tables, ascending."""
    return sorted(_step(path) for path in (run.path / "captures").glob("step-*/metrics.parquet"))


def gather(run: Run) -> Path:
    """Join the tables of all steps, and the rows of probes where there are any, into the run's metrics and series."""
    steps = measured_steps(run)
    if not steps:
        raise FileNotFoundError(f"{run.path} has no capture; make one with 'collapse-lab capture {run.path}'")
    parts = [read_table(run.capture(step) / "metrics.parquet") for step in steps]
    parts += [read_table(path) for path in [probe_path(run)] if path.is_file()]
    write_table(pd.concat([read_table(run.capture(step) / "series.parquet") for step in steps]), run.series)
    named = {name: value for name, value in origin(run, 0).items() if name != "step"}  # of now: a folder may be renamed
    return write_table(pd.concat(parts, ignore_index=True).assign(**named), run.metrics)


def origin(run: Run, step: int) -> dict[str, Any]:
    """The columns that say where a row comes from."""
    record = run.read()
    return {"run": run.name, "arm": record.get("arm", run.name), "seed": record["seed"], "step": step}


def device() -> torch.device:
    """The GPU, of several processes on one machine each its own, or the CPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


def probe_path(run: Run) -> Path:
    return run.path / "captures" / "probe.parquet"


def _step(path: Path) -> int:
    return int(path.parent.name.removeprefix("step-"))
