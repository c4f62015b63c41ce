"""How many runs of a study fit beside each other."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from collapse_lab.study import limits
from collapse_lab.study.jobs import jobs_of
from collapse_lab.study.limits import LIBRARIES, Limits, Load
from tests.pictures import small_study

ONE = Load(threads=1, memory=100)


@pytest.mark.parametrize(
    ("load", "beside", "fits"),
    [
        (ONE, 0, True),
        (ONE, 1, True),
        (ONE, 2, True),
        (ONE, 3, False),  # of 3 at once
        (Load(threads=2, memory=0), 2, True),
        (Load(threads=3, memory=0), 2, False),  # of 4 cores
        (Load(threads=9, memory=0), 0, True),  # alone it has them all
        (Load(threads=1, memory=300), 2, True),
        (Load(threads=1, memory=301), 2, False),  # of 500 bytes
    ],
)
def test_a_run_starts_only_within_number_cores_and_memory(load, beside, fits):
    assert Limits(at_once=3, cores=4, memory=500).fits(load, [ONE] * beside) is fits


def test_runs_share_the_cores_where_their_configuration_says_no_threads():
    job = jobs_of(small_study(Path("pictures")), Path("runs"))[0]
    free = SimpleNamespace(config=job.config.model_copy(update={"threads": 0}))
    assert Limits(at_once=2, cores=8, memory=None).threads(free) == 4
    assert Limits(at_once=3, cores=2, memory=None).threads(free) == 1
    assert Limits(at_once=2, cores=8, memory=None).threads(job) == 1


def test_memory_is_estimated_once_an_arm_and_a_run_beyond_the_limit_is_refused(monkeypatch):
    asked = []
    monkeypatch.setattr(
        limits, "rehearse", lambda config: asked.append(config) or SimpleNamespace(memory={"weights": 10**9})
    )
    jobs = jobs_of(small_study(Path("pictures")), Path("runs"))
    monkeypatch.setattr(limits, "_measuring", lambda job: 10**6)
    loads = Limits(at_once=2, cores=2, memory=2 * 10**9).loads(jobs)
    assert {load.memory for load in loads} == {10**9 + LIBRARIES}
    assert len(asked) == 2
    with pytest.raises(ValueError, match=r"'plain' takes about 1\.60 GB, the limit is 1\.00 GB"):
        Limits(at_once=2, cores=2, memory=10**9).loads(jobs)


def test_measuring_takes_the_matrices_of_every_site_policy_and_group():
    job = jobs_of(small_study(Path("pictures")), Path("runs"))[0]
    matrices = sum(2 * 16 * 8 * channels**2 for channels in (64, 64, 64, 256, 256, 256))  # blocks and activations
    assert matrices < limits._measuring(job) < 4 * matrices


def test_a_limit_is_one_or_more():
    with pytest.raises(ValueError, match="memory_limit is 1 or more, got 0"):
        Limits.of(at_once=1, cores=None, memory=0)
