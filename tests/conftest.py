"""What holds for every test."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.pictures import finished_study

Once = Callable[[str, Callable[[Path], object]], Path]


@pytest.fixture(scope="session", autouse=True)
def _one_thread_a_process() -> None:
    """Tests run in as many processes as there are cores; more threads would only fight."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Once:
    """once(name, build): the folder of this name, which `build` fills for every process, whichever asks first."""
    own = tmp_path_factory.getbasetemp()
    shared = own if worker_id == "master" else own.parent

    def built(name: str, build: Callable[[Path], object]) -> Path:
        folder, finished = shared / name, shared / f"{name}.finished"
        with (shared / f"{name}.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not finished.exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                build(folder)
                finished.touch()
        return folder

    return built


@pytest.fixture(scope="session")
def study_runs(once: Once) -> Path:
    """The runs of a small finished study, for reading."""
    return once("study", finished_study) / "runs"
