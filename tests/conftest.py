"""What holds for every test."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def _one_thread_a_process() -> None:
    """Tests run in as many processes as there are cores; more threads would only fight."""
    torch.set_num_threads(1)
