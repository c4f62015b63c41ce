"""A run folder: its paths, run.json, atomic writes, checksums and the lock. Knows nothing of models."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, TextIO

ASKING = (0.0, 0.05, 0.2)
"""Seconds before each try to get a lock: who only looks whether it is free has it for a moment."""

PACKAGES = ("torch", "numpy", "scipy", "scikit-learn", "pandas", "collapse-lab")


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary neighbour, flush it to the disk, then rename: a reader never sees half a file.

    When anything fails the file that was there before is unharmed. Raises OSError naming the file and the cause.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(part)
        _flush(part)
        part.replace(path)
        _flush(path.parent)  # the new name itself must survive a power cut
    except OSError as error:
        what = f"cannot write {path}: {error.strerror or error}; check free space and permissions, nothing old is lost"
        raise OSError(error.errno, what) from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    write_atomically(path, lambda part: part.write_text(text, encoding="utf-8"))


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=2, sort_keys=True, default=str) + "\n")


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Every whole object of a file that holds one a line; a line that an interruption tore is left out."""
    records = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return records


def checksum(path: Path) -> str:
    """SHA-256 of a file, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def is_full(error: BaseException) -> bool:
    """Whether a write failed for want of room: of the disk, a quota, or the largest size that a file may have."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def environment() -> dict[str, Any]:
    """Versions, commit and command: what a reader needs to repeat a run."""
    versions = {"python": sys.version.split()[0]}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:  # run from source, not installed
            continue
    command = [Path(sys.argv[0]).name, *sys.argv[1:]]
    return {"versions": versions, "git": _commit(), "command": command}


def _commit() -> str | None:
    """The commit of the source this runs from, -dirty when changed; None outside a checkout of its own."""
    root = Path(__file__).parents[1]
    if not (root / ".git").exists():  # installed: a repository further up is somebody else's
        return None
    ask = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        answer = subprocess.run(ask, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() or None


@dataclass(frozen=True)
class Run:
    """One run folder and the names inside it (design: run.json, config.toml, log.jsonl, checkpoints, captures)."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.resolve().name

    @property
    def config(self) -> Path:
        return self.path / "config.toml"

    @property
    def log(self) -> Path:
        return self.path / "log.jsonl"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.parquet"

    @property
    def series(self) -> Path:
        return self.path / "series.parquet"

    def checkpoint(self, step: int) -> Path:
        return self.path / "checkpoints" / f"step-{step:08d}.pt"

    def capture(self, step: int) -> Path:
        return self.path / "captures" / f"step-{step:08d}"

    def checkpoints(self) -> dict[int, Path]:
        """Step -> file, ascending; whether a file is whole is for its reader to check."""
        return _by_step((self.path / "checkpoints").glob("step-*.pt"))

    def captures(self) -> dict[int, Path]:
        """Step -> folder of every finished capture, ascending (capture.json is written last)."""
        return _by_step(path.parent for path in (self.path / "captures").glob("step-*/capture.json"))

    def read(self) -> dict[str, Any]:
        """run.json; raises FileNotFoundError with what was expected."""
        path = self.path / "run.json"
        if not path.is_file():
            raise FileNotFoundError(
                f"{self.path} is not a run folder: it has no run.json (make one with 'collapse-lab train')"
            )
        try:
            record: dict[str, Any] = read_json(path)
        except json.JSONDecodeError as error:
            raise ValueError(
                f"{path} is not JSON ({error}); restore it, or delete the folder and train again"
            ) from None
        return record

    def status(self) -> str:
        """What became of it; "interrupted" too where run.json says otherwise, but nobody works on it any more."""
        status: str = self.read().get("status", "unknown")
        return "interrupted" if status in ("created", "running") and not self.held() else status

    def held(self) -> bool:
        """Whether a process works on it now."""
        try:
            with (self.path / ".lock").open("r") as file:
                return not _locked(file, fcntl.LOCK_SH)  # let go of at once
        except FileNotFoundError:
            return False

    def exists(self) -> bool:
        return (self.path / "run.json").is_file()

    def update(self, **facts: Any) -> None:
        """Write these facts into run.json, keeping the others; only the holder of the lock may."""
        known = self.read() if self.exists() else {}
        write_json(self.path / "run.json", {**known, **facts})

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run against a second writer; the lock is the kernel's and dies with its owner.

        Raises RuntimeError where another process has it, OSError where the folder cannot be made.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            file = (self.path / ".lock").open("a")
        except OSError as error:
            what = f"cannot make the run folder {self.path}: {error.strerror}; choose another place with --out"
            raise OSError(error.errno, what) from error
        with file:
            if not any(_locked(file, fcntl.LOCK_EX, wait) for wait in ASKING):
                raise RuntimeError(f"another process is working on {self.path}; wait for it or use another --out")
            yield


def _locked(file: TextIO, kind: int, wait: float = 0.0) -> bool:
    time.sleep(wait)
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _by_step(paths: Iterator[Path]) -> dict[int, Path]:
    found = {int(path.stem.removeprefix("step-")): path for path in paths}
    return dict(sorted(found.items()))
