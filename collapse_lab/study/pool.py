"""Which folder a run of a study lies in: that of any run with its configuration and its images, else one of its own."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from collapse_lab.runs import Run
from collapse_lab.study.jobs import Job
from collapse_lab.study.seen import seen_by
from collapse_lab.train.resolve import completed

DIGITS = 8
"""Of a key, behind the name of a folder that another configuration has taken."""


def located(jobs: Sequence[Job], pool: Iterable[Path] = ()) -> list[Job]:
    """The jobs, each in the folder of the run that it is, wherever below the study's own folder or `pool` that lies.

    Of several runs of one key a finished one is taken, else that which went furthest. A run that there is none of gets
    the folder ARM-seedN, or ARM-seedN-KEY where another configuration has that. Raises ValueError for two arms that
    are one configuration, and what `seen_by` raises of the data.
    """
    data = seen_by(jobs)
    known = known_runs({*(job.run.path.parent for job in jobs), *pool})
    placed: list[Job] = []
    taken: dict[str, Job] = {}
    for job, seen in zip(jobs, data, strict=True):
        key = key_of(seen.config.identity(), seen.fingerprint)
        if key in taken:
            raise ValueError(
                f"the arms {taken[key].arm!r} and {job.arm!r} are one configuration; leave one of them out"
            )
        taken[key] = job
        path = known[key].path if key in known else _own(job, key)
        placed.append(replace(job, config=job.config.model_copy(update={"out": str(path)})))
    return placed


def key_of(identity: Mapping[str, Any], fingerprint: str) -> str:
    """A run's key: SHA-256 of what decides its weights, as hexadecimal digits."""
    text = json.dumps([identity, fingerprint], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def known_runs(folders: Iterable[Path]) -> dict[str, Run]:
    """Key -> the best run of it in these folders; a record that cannot be read is passed over with a warning."""
    found: dict[str, tuple[tuple[bool, int], Run]] = {}
    for path in sorted(record.parent for folder in folders for record in folder.glob("*/run.json")):
        run = Run(path)
        try:
            record = run.read()
            key = key_of(completed(record["config"]), record["data"]["fingerprint"])
        except (ValueError, KeyError) as error:
            warnings.warn(f"{path} is passed over: its record cannot be read ({error})", stacklevel=2)
            continue
        worth = (record.get("status") == "finished", int(record.get("step") or 0))
        if key not in found or worth > found[key][0]:
            found[key] = worth, run
    return {key: run for key, (_, run) in found.items()}


def _own(job: Job, key: str) -> Path:
    path = job.run.path
    return path.with_name(f"{path.name}-{key[:DIGITS]}") if job.run.exists() else path
