"""What holds for every test."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest
import torch

from tests.pictures import finished_study


@pytest.fixture(scope="session", autouse=True)
def _one_thread_a_process() -> None:
    """Tests run in as many processes as there are cores; more threads would only fight."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def study_runs(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The runs of a small finished study, for reading: built once, whichever process asks first."""
    own = tmp_path_factory.getbasetemp()
    shared = own if worker_id == "master" else own.parent
    with (shared / "study.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (shared / "study" / "finished").exists():
            finished_study(shared / "study")
            (shared / "study" / "finished").touch()
    return shared / "study" / "runs"
