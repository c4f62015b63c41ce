"""The runs of a study in processes of their own: started as there is room, stopped with the study."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import torch
from threadpoolctl import threadpool_limits

from collapse_lab.parent import when_parent_ends
from collapse_lab.study.jobs import Job
from collapse_lab.study.limits import Limits, Load
from collapse_lab.study.measure import measure_run, prune
from collapse_lab.study.progress import Board, Progress
from collapse_lab.train.loop import OnStep, State, train

POLL = 0.5
NEEDED = ("sklearn.linear_model", "sklearn.pipeline", "sklearn.preprocessing")
"""What measuring imports beside this module; read once, before the processes part."""


@dataclass(frozen=True, kw_only=True)
class Worker:
    """A process at work on a job."""

    job: Job
    load: Load
    process: ForkServerProcess


def work(job: Job) -> None:
    """Train and measure one run, going on where it stands.

    The study that trains a run writes its arm into run.json, and decides which checkpoints stay; one that finds it
    finished leaves both as they are.
    """
    own, run = not job.trained(), job.run
    names = {"arm": job.arm, "factors": job.factors, "study": job.study}
    train(job.config, on_step=_at_first(lambda: run.update(**names)) if own else None)
    if own:
        run.update(**names)
    measure_run(run, job.config, job.wanted)
    if run.read().get("study") == job.study:
        prune(run, job.wanted)


def _at_first(act: Callable[[], object]) -> OnStep:
    """Called after every step, acts once: a run that is stopped then knows its arm already."""
    acted = False

    def on_step(_: State) -> None:
        nonlocal acted
        if not acted:
            acted = True
            act()

    return on_step


def work_off(pending: Sequence[Job], limits: Limits, board: Board) -> Iterator[Progress]:
    """Keep as many processes busy as the limits allow; yields a few times a second. Leaving early stops them.

    A run that another process works on is left until that one lets go of it.
    """
    # Forked from a server that only imported: a fork of this process would copy the locks of torch's threads.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, *NEEDED])
    alive: list[Worker] = []
    waiting = list(zip(pending, limits.loads(pending), strict=True))
    try:
        while waiting or alive:
            for job, load in list(waiting):
                if limits.fits(load, [worker.load for worker in alive]) and not job.run.held():
                    waiting.remove((job, load))
                    process = context.Process(target=work_alone, args=(job, load.threads), name=job.run.name)
                    process.start()
                    alive.append(Worker(job=job, load=load, process=process))
                    board.start(job)
            yield board.progress()
            time.sleep(POLL)
            for worker in [each for each in alive if not each.process.is_alive()]:
                worker.process.join()
                alive.remove(worker)
                board.end(worker.job, _why(worker.job, worker.process.exitcode))
    finally:
        for worker in alive:
            worker.process.terminate()  # the run finishes its step and saves
        for worker in alive:
            worker.process.join()


def work_here(pending: Sequence[Job], board: Board) -> Iterator[Progress]:
    """One run after another in this process; yields before each."""
    for job in pending:
        board.start(job)
        yield board.progress()
        try:
            work(job)
        except Exception as error:
            board.end(job, f"{type(error).__name__}: {error}")
        else:
            board.end(job, None)


def work_alone(job: Job, threads: int) -> None:
    """In a process of its own: an error is left for the parent beside the run, without a traceback on the screen."""
    _end_with_parent()
    # Of torch and of every BLAS, in measuring as well: processes that share cores wait for each other's threads.
    torch.set_num_threads(threads)
    threadpool_limits(threads)
    note = _note(job)
    note.unlink(missing_ok=True)
    try:
        work(job)
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except Exception as error:
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(f"{type(error).__name__}: {error}", encoding="utf-8")
        raise SystemExit(1) from None


def _end_with_parent() -> None:
    """When the study's process is killed, finish the step, save and stop."""
    when_parent_ends(lambda: os.kill(os.getpid(), signal.SIGTERM))


def _note(job: Job) -> Path:
    """Beside the run: a folder's name may hold a dot."""
    return job.run.path.with_name(f"{job.run.path.name}.error")


_OUTSIDE = "out of memory, or stopped from outside"
_BEFORE = "it did not begin: a script that calls run_study does so under `if __name__ == '__main__':`"


def _why(job: Job, code: int | None) -> str | None:
    """What went wrong; None for nothing."""
    if not code:
        return None
    note = _note(job)
    if code == 1 and note.is_file():
        why = note.read_text(encoding="utf-8")
        note.unlink()
        return why
    return f"its process ended with {code} ({_BEFORE if code == 1 else _OUTSIDE})"
