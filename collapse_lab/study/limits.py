"""How many runs fit beside each other: processor cores and memory."""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from collapse_lab.capture.batches import Seen
from collapse_lab.capture.budget import Wish, plan
from collapse_lab.capture.scout import survey
from collapse_lab.capture.sites import match_sites
from collapse_lab.study.blank import encoder_of
from collapse_lab.study.jobs import Job
from collapse_lab.study.tables import GROUPS
from collapse_lab.train.rehearse import rehearse

LIBRARIES = 600_000_000
"""Bytes of a process beside what it holds: 0.39 GB when torch and scikit-learn are loaded, and what is wasted."""


@dataclass(frozen=True, kw_only=True)
class Load:
    """What a run takes: threads, and bytes (0: not asked)."""

    threads: int
    memory: int


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Runs at once, the threads of all of them, and their bytes of memory together (None: no limit)."""

    at_once: int
    cores: int
    memory: int | None

    @staticmethod
    def of(at_once: int, cores: int | None, memory: int | None) -> Limits:
        """`cores` without a word are those that this process may use; raises ValueError for a limit below 1."""
        chosen = len(os.sched_getaffinity(0)) if cores is None else cores
        for name, value in (("at_once", at_once), ("cores", chosen), ("memory_limit", memory)):
            if value is not None and value < 1:
                raise ValueError(f"{name} is 1 or more, got {value}")
        return Limits(at_once=at_once, cores=chosen, memory=memory)

    def threads(self, job: Job) -> int:
        """What its configuration says, else its share of the cores."""
        return job.config.threads or max(1, self.cores // self.at_once)

    def fits(self, load: Load, beside: Sequence[Load]) -> bool:
        """Whether a run may start beside those under way; alone one always may, with threads beyond the cores too."""
        if not beside:
            return True
        threads = load.threads + sum(each.threads for each in beside)
        memory = load.memory + sum(each.memory for each in beside)
        return len(beside) < self.at_once and threads <= self.cores and (self.memory is None or memory <= self.memory)

    def loads(self, jobs: Sequence[Job]) -> list[Load]:
        """What each job takes. Memory is estimated once an arm, and only where it is limited.

        Raises ValueError for a run that needs more memory than there may be in all.
        """
        found: dict[str, int] = {}
        for job in jobs:
            if self.memory is not None and job.arm not in found:
                found[job.arm] = _memory(job)
                if found[job.arm] > self.memory:
                    raise ValueError(
                        f"a run of the arm {job.arm!r} takes about {found[job.arm] / 1e9:.2f} GB, the limit is "
                        f"{self.memory / 1e9:.2f} GB; raise it, or take a smaller batch"
                    )
        return [Load(threads=self.threads(job), memory=found.get(job.arm, 0)) for job in jobs]


def _memory(job: Job) -> int:
    """Of training or of measuring, whichever takes more; a process does one after the other."""
    return LIBRARIES + max(sum(rehearse(job.config).memory.values()), _measuring(job))


def _measuring(job: Job) -> int:
    """Bytes that the statistics of the last step take, the only ones apart by groups of images."""
    config, wanted = job.config, job.wanted
    black = torch.zeros(1, 3, config.data.size, config.data.size)
    image = Seen(image=black, id=torch.zeros(1, dtype=torch.int64), label=None, removed=None)
    # Whatever its values: shapes alone are looked at.
    model = copy.deepcopy(encoder_of(config)).to_empty(device="cpu").eval()
    places = survey(model, match_sites(model, wanted.sites), image)
    return plan(places, Wish(policies=wanted.positions, groups=GROUPS)).memory
