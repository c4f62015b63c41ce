"""Two processes that capture together return what one would; none is left waiting."""

from __future__ import annotations

import socket
from itertools import chain
from pathlib import Path

import pytest
import torch
from torch import multiprocessing

from collapse_lab.capture.store import load_capture
from collapse_lab.ranks import Ranks, joined, meeting, share_of
from tests.capture.same import assert_same_capture
from tests.capture.together import BATCHES, WORLD, captured, work
from tests.conftest import Once


@pytest.fixture(scope="module")
def results(once: Once) -> Path:
    """The captures and errors of two processes, by name and rank."""
    return once("capturing ranks", capture_together)


def capture_together(folder: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    multiprocessing.spawn(work, args=(port, folder), nprocs=WORLD)


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
    assert sorted(chain(*shares)) == list(range(11))


def test_one_process_alone_joins_nobody(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with joined() as found, meeting() as ranks:
        assert (found, ranks) == ((0, 1), Ranks())
