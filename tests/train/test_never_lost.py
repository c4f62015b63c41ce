"""Whatever ends a process, the run goes on to the same bits."""

from __future__ import annotations

import errno
import random
import signal
import time
import warnings
from pathlib import Path

import pytest
import torch

from collapse_lab.data.source import Images
from collapse_lab.runs import Run, read_lines
from collapse_lab.train import checkpoint
from collapse_lab.train.loop import train
from tests.train.killed import LONG, context, die_at_flush, go_on
from tests.train.runs import final_state, tiny


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory) -> Path:
    """The long run that nothing interrupts; only read it."""
    return train(tiny(tmp_path_factory.mktemp("unbroken") / "run", **LONG))


def assert_same(one: Path, other: Path) -> None:
    states = final_state(one), final_state(other)
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    logs = [[(line["step"], line["loss"]) for line in read_lines(Run(path).log)] for path in (one, other)]
    assert logs[0] == logs[1]


def ended(target, *arguments) -> int:
    process = context.Process(target=target, args=arguments)
    process.start()
    process.join(120)
    return process.exitcode


def test_a_process_killed_while_it_writes_loses_no_more_than_its_last_steps(unbroken, tmp_path):
    out = tmp_path / "run"
    for number in (5, 16):
        assert ended(die_at_flush, number, out) == -signal.SIGKILL
        assert Run(out).read()["status"] in ("created", "running")
        assert Run(out).status() == "interrupted"
    assert 0 < list(Run(out).checkpoints())[-1] < LONG["steps"]
    assert ended(go_on, out) == 0
    assert_same(out, unbroken)
    assert not list(out.rglob("*.part"))


def newest(out: Path) -> int:
    return max(Run(out).checkpoints(), default=-1)


@pytest.mark.slow
def test_twenty_kills_at_random_moments_end_in_the_same_bits(unbroken, tmp_path):
    out, moments, stood = tmp_path / "run", random.Random(0), []
    while len(stood) < 20:
        process = context.Process(target=go_on, args=(out,))
        process.start()
        target = newest(out) + moments.choice([0, 1, 2, 5])
        while newest(out) < target and process.is_alive():
            time.sleep(0.001)
        process.join(moments.uniform(0, 0.05))  # of a step, or of a checkpoint that is being written
        if process.exitcode == 0:  # it came to its end: once more from the start
            assert_same(out, unbroken)
            out = tmp_path / f"run-{len(stood)}"
            continue
        process.kill()
        process.join()
        stood.append(newest(out))
    assert len(set(stood)) > 5, "the kills must meet the run at work"
    assert ended(go_on, out) == 0
    assert_same(out, unbroken)


@pytest.mark.parametrize(
    "changes",
    [
        {"compute": {"accumulate": 2}},
        {"compute": {"precision": "bf16"}},
        {"compute": {"precision": "float64"}},
        {"compute": {"recompute": True}},
        {"optim": {"clip": 0.1}},
        {"optim": {"ema": 0.9}, "compute": {"precision": "bf16", "accumulate": 2}},
        {"model": {"response": "bn"}},
    ],
    ids=str,
)
def test_resuming_is_bit_exact_however_steps_are_computed(changes, tmp_path):
    train(tiny(tmp_path / "unbroken", **changes))
    train(tiny(tmp_path / "run", **changes), on_step=lambda state: state.step == 4)
    train(tiny(tmp_path / "run", **changes))
    assert_same(tmp_path / "run", tmp_path / "unbroken")


class Full:
    """A disk that takes so many more bytes."""

    def __init__(self, size: int) -> None:
        self.left = size

    def write(self, file, data) -> int:
        if len(data) > self.left:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.left -= len(data)
        return file.write(data)


def test_a_full_disk_stops_the_run_with_its_cause_and_the_last_checkpoint_whole(tmp_path, monkeypatch):
    disk = Full(2_500_000)  # a checkpoint takes a third of it
    monkeypatch.setattr(checkpoint, "write_some", disk.write)
    with pytest.raises(OSError, match=r"cannot write .*step-0000000\d.pt: No space left on device") as stopped:
        train(tiny(tmp_path / "run", save={"every": 1}))
    assert stopped.value.errno == errno.ENOSPC
    run = Run(tmp_path / "run")
    assert (run.read()["status"], run.read()["error"][:7]) == ("interrupted", "OSError")
    saved = checkpoint.newest_checkpoint(run)
    assert saved is not None
    assert saved["step"] > 0
    monkeypatch.undo()
    train(tiny(tmp_path / "run", save={"every": 1}))
    train(tiny(tmp_path / "unbroken"))
    assert_same(tmp_path / "run", tmp_path / "unbroken")


def test_a_folder_that_became_read_only_stops_the_run_and_names_the_file(tmp_path, monkeypatch):
    def protect(state):
        if state.step == 4:
            real = Path.open

            def refuse(self, mode="r", *rest, **more):
                if "r" not in mode:
                    raise OSError(errno.EROFS, "Read-only file system")
                return real(self, mode, *rest, **more)

            monkeypatch.setattr(Path, "open", refuse)

    with pytest.raises(OSError, match=r"cannot write .*run/.*: Read-only file system; check"):
        train(tiny(tmp_path / "run"), on_step=protect)
    monkeypatch.undo()
    assert list(Run(tmp_path / "run").checkpoints()) == [0, 3]
    assert Run(tmp_path / "run").status() == "interrupted"  # nothing could be written into run.json
    train(tiny(tmp_path / "run"))
    train(tiny(tmp_path / "unbroken"))
    assert_same(tmp_path / "run", tmp_path / "unbroken")


def test_images_that_vanish_stop_the_run_and_it_goes_on_when_they_are_back(tmp_path, monkeypatch):
    def vanish(state):
        if state.step == 4:

            def gone(self, indices):
                raise FileNotFoundError("there is no file images.bin any more; mount it again")

            monkeypatch.setattr(Images, "stored", gone)

    with pytest.raises(FileNotFoundError, match="mount it again"):
        train(tiny(tmp_path / "run"), on_step=vanish)
    monkeypatch.undo()
    assert Run(tmp_path / "run").read()["error"].startswith("FileNotFoundError: there is no file images.bin")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        train(tiny(tmp_path / "run"))
    train(tiny(tmp_path / "unbroken"))
    assert_same(tmp_path / "run", tmp_path / "unbroken")


def test_every_nth_checkpoint_stays_beside_the_newest(tmp_path):
    run = Run(train(tiny(tmp_path / "run", steps=12, save={"every": 3, "keep": 2, "keep_every": 5})))
    assert list(run.checkpoints()) == [0, 5, 9, 10, 12]
