"""Run folders: no half-written file, no second writer, no lost fact."""

from __future__ import annotations

import fcntl
import json
import multiprocessing
import resource
import signal
from contextlib import contextmanager
from pathlib import Path

import pytest

from collapse_lab.runs import Run, checksum, environment, write_atomically, write_json, write_text


def test_a_writer_that_fails_leaves_the_old_file_and_no_rest(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def fail(part: Path) -> None:
        part.write_text("half")
        raise KeyError("broken")

    with pytest.raises(KeyError):
        write_atomically(path, fail)
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]


@contextmanager
def files_no_larger_than(size: int):
    """A disk that is full, as far as this process can tell."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_said_and_harms_nothing_old(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with (
        files_no_larger_than(100),
        pytest.raises(OSError, match=r"cannot write .*a.txt: File too large; check free space"),
    ):
        write_text(path, "x" * 10_000)
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    write_text(tmp_path / "file", "")
    with pytest.raises(OSError, match=r"cannot write .*file/a.txt"):
        write_text(tmp_path / "file" / "a.txt", "")
    with (
        pytest.raises(OSError, match=r"cannot make the run folder .*choose another place"),
        Run(tmp_path / "file").locked(),
    ):
        pass


def hold(path: Path, ready) -> None:
    with Run(path).locked():
        ready.set()
        signal.pause()


def test_the_lock_refuses_a_second_process_and_dies_with_its_owner(tmp_path):
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    owner = context.Process(target=hold, args=(tmp_path, ready))
    owner.start()
    try:
        assert ready.wait(60)
        with pytest.raises(RuntimeError, match=r"another process is working on"), Run(tmp_path).locked():
            pass
    finally:
        owner.kill()
        owner.join()
    with Run(tmp_path).locked():
        pass


def test_facts_are_added_to_those_known(tmp_path):
    run = Run(tmp_path / "run")
    run.update(a=1, b=1)
    run.update(b=2)
    assert run.read() == {"a": 1, "b": 2}
    assert run.name == "run"


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"is not a run folder: it has no run.json"):
        Run(tmp_path).read()
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(ValueError, match=r"is not JSON"):
        Run(tmp_path).read()


def test_checkpoints_and_finished_captures_are_listed_by_step(tmp_path):
    run = Run(tmp_path)
    for step in (300, 20, 1_000_000_000):
        write_text(run.checkpoint(step), "")
        write_json(run.capture(step) / "capture.json", {})
    run.capture(7).mkdir()  # not finished
    (tmp_path / "checkpoints" / ".step-00000001.pt.123.part").touch()  # a dead writer's
    assert list(run.checkpoints()) == list(run.captures()) == [20, 300, 1_000_000_000]
    assert run.checkpoints()[20].name == "step-00000020.pt"


def test_the_checksum_is_sha_256(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    assert checksum(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_the_environment_is_plain_data_with_versions_commit_and_command():
    facts = json.loads(json.dumps(environment()))
    assert set(facts) == {"versions", "git", "command"}
    assert {"python", "torch", "numpy"} <= set(facts["versions"])


def test_a_run_is_what_it_says_only_while_somebody_works_on_it(tmp_path):
    run = Run(tmp_path)
    run.update(status="running")
    assert not run.held()
    with run.locked():
        assert run.held()
        assert run.status() == "running"
    assert run.status() == "interrupted"
    run.update(status="finished")
    assert run.status() == "finished"


def test_looking_at_a_lock_does_not_refuse_who_wants_it(tmp_path, monkeypatch):
    (tmp_path / ".lock").touch()
    looking = (tmp_path / ".lock").open()
    fcntl.flock(looking, fcntl.LOCK_SH)
    waits = []
    monkeypatch.setattr("time.sleep", lambda seconds: waits.append(seconds) or (seconds > 0.1 and looking.close()))
    with Run(tmp_path).locked():
        assert waits == [0.0, 0.05, 0.2]
