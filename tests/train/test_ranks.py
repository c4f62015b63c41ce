"""Two processes that train together come to what one would; none is left waiting, and any of them can go on."""

from __future__ import annotations

import math
import socket
import warnings
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import multiprocessing

from collapse_lab.runs import Run, read_lines
from collapse_lab.train.loop import train
from tests.conftest import Once
from tests.tolerances import RANKS32, RANKS64
from tests.train.runs import final_state
from tests.train.together import BAD_STEP, LAST_STEP, STEPS, WORLD, config, spoilt, under, work


@pytest.fixture(scope="module")
def results(once: Once) -> Path:
    """The runs of two processes by name, and what each says of its errors. A run that a test lets go on is its own."""
    return once("training ranks", train_together)


def train_together(folder: Path) -> None:
    for rank in range(WORLD):
        (folder / f"pictures-{rank}" / "train").mkdir(parents=True)
        Image.new("RGB", (16, 16), (rank, 0, 0)).save(folder / f"pictures-{rank}" / "train" / "0.png")
    with socket.socket() as one, socket.socket() as other:
        for free in (one, other):
            free.bind(("127.0.0.1", 0))
        ports = one.getsockname()[1], other.getsockname()[1]
    multiprocessing.spawn(work, args=(ports, folder), nprocs=WORLD)


@pytest.fixture(scope="module")
def alone(once: Once) -> Path:
    """The same batches in one process, in float64."""
    return once("one rank", lambda folder: train(config(folder / "run", "float64"))) / "run"


def told(results: Path, name: str) -> list[str]:
    return [torch.load(results / f"rank-{rank}.pt")["errors"][name] for rank in range(WORLD)]


def losses(run: Path) -> list[float]:
    return [line["loss"] for line in read_lines(Run(run).log)]


def assert_same_weights(found: Path, expected: Path) -> None:
    states = final_state(found), final_state(expected)
    assert states[0].keys() == states[1].keys()
    for name, value in states[1].items():
        torch.testing.assert_close(states[0][name], value, rtol=RANKS64, atol=RANKS64 * value.abs().max().item())


@pytest.mark.parametrize("name", ["float64", "parts", "stopped"])
def test_two_ranks_come_to_the_losses_and_weights_of_one_process(results, alone, name):
    assert losses(results / name) == pytest.approx(losses(alone), rel=RANKS64)
    assert len(losses(results / name)) == STEPS
    assert_same_weights(results / name, alone)


def test_in_float32_the_first_losses_agree_to_its_rounding(results, tmp_path):
    run = train(config(tmp_path / "run", steps=10))
    assert losses(results / "float32")[:3] == pytest.approx(losses(run)[:3], rel=RANKS32)


def test_the_caller_of_the_first_rank_sees_every_step_and_no_other_does(results):
    seen = [torch.load(results / f"rank-{rank}.pt")["steps"] for rank in range(WORLD)]
    assert seen == [list(range(1, STEPS + 1)), []]


def test_a_step_that_is_bad_on_one_rank_is_left_out_on_all(results, tmp_path):
    assert told(results, "skipped") == ["no error", "no error"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert under(spoilt, lambda: train(config(tmp_path / "run", "float64", on_nonfinite="skip"))) == "no error"
    assert_same_weights(results / "skipped", tmp_path / "run")
    (line,) = read_lines(results / "skipped" / "nonfinite.jsonl")
    assert (line["step"], line["what"], len(line["ids"])) == (BAD_STEP, "the loss", 8)
    logged = read_lines(Run(results / "skipped").log)
    assert [line["loss"] is None for line in logged] == [step == BAD_STEP for step in range(STEPS)]
    assert logged[-1]["skipped"] == 1


def test_a_step_that_is_bad_on_one_rank_stops_all_alike(results):
    messages = told(results, "bad")
    assert messages[0] == messages[1]
    assert messages[0].startswith("FloatingPointError: the loss of step 3 is not finite")
    assert Run(results / "bad").read()["status"] == "failed"


def test_a_signal_to_one_rank_stops_all_and_one_process_goes_on(results, alone, tmp_path):
    assert told(results, "terminated") == ["SystemExit: 143", "SystemExit: 143"]
    run = Run(results / "terminated")
    record = run.read()
    assert (record["status"], record["step"], record["ranks"]) == ("interrupted", LAST_STEP + 1, 2)
    with pytest.warns(UserWarning, match="began with 2 ranks; with 1 it will not be bit-equal"):
        train(config(run.path, "float64"))
    assert_same_weights(run.path, alone)


def test_a_batch_that_the_ranks_do_not_divide_is_refused_by_all(results):
    for message in told(results, "undivided"):
        assert message.startswith("ValueError: data.batch = 7 images is all ranks' together and is not divided by 2")
    assert not (results / "undivided").exists()


def test_ranks_that_see_different_images_are_refused(results):
    for message in told(results, "other images"):
        assert message.startswith("ValueError: the ranks see 2 different sets of images")


def test_what_the_first_rank_refuses_all_refuse(results):
    here, there = told(results, "another")
    assert here.startswith("ValueError: ")
    assert there.startswith("RuntimeError: rank 0 could not begin: ValueError: ")
    assert "holds a run of another configuration (seed = 0 there, 1 here)" in there


def test_a_rank_that_dies_leaves_none_waiting_and_the_run_resumable(results, alone):
    first, second = told(results, "broken")
    assert second == "FileNotFoundError: the images went away"
    assert first != "no error"
    run = Run(results / "broken")
    assert run.read()["status"] == "failed"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it had failed, and that there were two ranks
        train(config(run.path, "float64"))
    assert_same_weights(run.path, alone)
    assert all(math.isfinite(loss) for loss in losses(run.path))
