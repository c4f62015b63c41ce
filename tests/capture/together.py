"""What each of two processes does that capture together. Imports little: every process does so anew."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from collapse_lab.capture.store import Capture
from collapse_lab.findings.replicates import without_each
from collapse_lab.ranks import joined, share_of
from tests.capture.small import LAYOUT, SITES, Small, images, observe

WORLD = 2
BATCHES = images(90).split(10)
REPEATING = [*BATCHES[:8], BATCHES[1], BATCHES[8]]  # one batch comes to rank 1, then to rank 0


def captured(batches: Any, **settings: Any) -> Capture:
    asked = {"sites": SITES, "layout": LAYOUT, "keep_rows": 30, "keep_maps": 3, "summarise": without_each, **settings}
    return observe(Small(), batches, **asked)


def other_seeds(rank: int) -> Capture:
    return captured(share_of(BATCHES, rank, WORLD), seed=rank)


def failing(rank: int) -> Iterator[Any]:
    yield from BATCHES[rank:6:WORLD]
    if rank == 1:
        raise OSError("the disk went away")


def interrupted(rank: int, folder: Path) -> Capture:
    """Rank 1 breaks off; both go on, rank 0 from its end and rank 1 from its last saving."""
    saving: Any = {"save_to": folder, "save_every": 2}
    with pytest.raises((OSError, RuntimeError)):
        captured(failing(rank), **saving)
    assert len(list(folder.iterdir())) == WORLD
    return captured(share_of(BATCHES, rank, WORLD), **saving)


def broken_sum(rank: int) -> Capture:
    def broken(*_: object) -> dict[str, list[float]]:
        raise ArithmeticError("no number")

    return captured(share_of(BATCHES, rank, WORLD), summarise=broken)


def told(case: Callable[[], Capture]) -> str:
    try:
        case()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "no error"


def work(rank: int, port: int, folder: Path) -> None:
    """What each of the processes does; runs in a process of its own."""
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(WORLD), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    with joined() as found:
        assert found == (rank, WORLD)
        share = partial(share_of, rank=rank, world=WORLD)
        made = {
            "shares": captured(share(BATCHES), keep_groups=True),
            "alone": captured(BATCHES if rank == 1 else []),
            "apart": captured(share(BATCHES), across_ranks=False),
            "repeating": captured(share(REPEATING)),
            "resumed": interrupted(rank, folder / "saved"),
        }
        errors = {
            "failing": told(lambda: captured(failing(rank))),
            "seeds": told(lambda: other_seeds(rank)),
            "nothing": told(lambda: captured([])),
            "sum": told(lambda: broken_sum(rank)),
        }
    for name, each in made.items():
        each.save(folder / name / str(rank))
    torch.save(errors, folder / f"errors-{rank}.pt")
