"""Two processes that capture together return what one would; none is left waiting."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import multiprocessing

from collapse_lab.capture.ranks import Ranks, joined, meeting, share_of
from collapse_lab.capture.store import Capture, load_capture
from collapse_lab.findings.table import capture
from tests.capture.same import assert_same_capture
from tests.capture.small import LAYOUT, SITES, Small, images

WORLD = 2
BATCHES = images(90).split(10)
REPEATING = [*BATCHES[:8], BATCHES[1], BATCHES[8]]  # one batch comes to rank 1, then to rank 0


def captured(batches: Any, **settings: Any) -> Capture:
    asked = {"sites": SITES, "layout": LAYOUT, "keep_rows": 30, "keep_maps": 3, **settings}
    return capture(Small(), batches, **asked)


def other_seeds(rank: int) -> Capture:
    return captured(share_of(BATCHES, rank, WORLD), seed=rank)


def failing(rank: int) -> Iterator[Any]:
    yield BATCHES[rank]
    if rank == 1:
        raise OSError("the disk went away")


def interrupted(rank: int, folder: Path) -> Capture:
    """Rank 1 breaks off; both go on, rank 0 from its end and rank 1 from its last saving."""
    saving: Any = {"save_to": folder, "save_every": 1}
    with pytest.raises((OSError, RuntimeError)):
        captured(failing(rank), **saving)
    assert len(list(folder.iterdir())) == WORLD
    return captured(share_of(BATCHES, rank, WORLD), **saving)


def broken_sum(rank: int) -> Capture:
    def broken(*_: object) -> dict[str, list[float]]:
        raise ArithmeticError("no number")

    from collapse_lab.capture.hooks import observe

    return observe(Small(), share_of(BATCHES, rank, WORLD), sites=["conv"], summarise=broken)


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


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The captures and errors of two processes, by name and rank."""
    folder = tmp_path_factory.mktemp("ranks")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    multiprocessing.spawn(work, args=(port, folder), nprocs=WORLD)
    return folder


@pytest.mark.parametrize("rank", range(WORLD))
@pytest.mark.parametrize("name", ["shares", "alone", "resumed"])
def test_every_rank_returns_what_one_process_gives(results: Path, name: str, rank: int):
    found = load_capture(results / name / str(rank))
    assert found.replicates
    assert_same_capture(captured(BATCHES), found)


def test_groups_are_kept_of_all_ranks(results: Path):
    found = load_capture(results / "shares" / "1")
    assert found.account.images == 90
    assert sum(found.held["conv"].counts.values()) == 90


def test_a_rank_may_capture_for_itself(results: Path):
    assert_same_capture(captured(BATCHES[1::2]), load_capture(results / "apart" / "1"))


def test_an_image_that_came_to_two_ranks_is_counted_as_repeated(results: Path):
    found = load_capture(results / "repeating" / "0")
    assert (found.facts["images"], found.facts["repeated_images"]) == (100, 10)
    assert found["conv"].n_images == 100


def test_the_folder_of_savings_is_gone_when_all_ranks_are_done(results: Path):
    assert not (results / "saved").exists()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("failing", ("RuntimeError: rank 1 could not capture its images: OSError: the disk", "OSError: the disk went")),
        ("seeds", ("ValueError: captures of different settings are not one capture: seed: 0 and 1",) * 2),
        ("nothing", ("ValueError: nothing was captured: there was no batch",) * 2),
        ("sum", ("ArithmeticError: no number", "RuntimeError: rank 0 could not sum up the capture: ArithmeticError")),
    ],
)
def test_an_error_of_one_rank_is_one_of_all(results: Path, name: str, words: tuple[str, ...]):
    for rank, said in enumerate(words):
        found = torch.load(results / f"errors-{rank}.pt")[name]
        assert found.startswith(said)


def test_shares_are_disjoint_and_all():
    shares = [list(share_of(range(11), rank, 3)) for rank in range(3)]
    assert shares[1] == [1, 4, 7, 10]
    assert sorted(sum(shares, [])) == list(range(11))


def test_one_process_alone_joins_nobody(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with joined() as found, meeting() as ranks:
        assert (found, ranks) == ((0, 1), Ranks())
