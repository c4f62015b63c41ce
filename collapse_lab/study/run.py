"""Arms x seeds: what is missing is run, each run in a process of its own; what is done is used as it is."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import torch
from threadpoolctl import threadpool_limits

from collapse_lab.findings.compare import Comparison, compare
from collapse_lab.runs import Run
from collapse_lab.study.plan import Job, Study, jobs_of
from collapse_lab.study.tables import measure_run
from collapse_lab.train.loop import train

POLL = 0.5


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a study is: runs finished, of all; work done, of all; what failed, with its error."""

    finished: int
    runs: int
    done: float
    cost: float
    failed: dict[str, str]


def run_study(
    study: Study, folder: Path, *, at_once: int = 2, on_progress: Callable[[Progress], None] = lambda _: None
) -> Comparison:
    """Run what is missing, `at_once` runs at a time, and compare the arms.

    A run that fails does not stop the others. Raises RuntimeError naming every failed run with its error; a stop by
    hand stops the runs after their step, and the next call goes on from there.
    """
    jobs = jobs_of(study, folder)
    failed: dict[str, str] = {}
    for alive in _work_off([job for job in jobs if not job.finished()], at_once, failed):
        on_progress(_progress(jobs, alive, failed))
    on_progress(_progress(jobs, [], failed))
    if failed:
        listed = "; ".join(f"{name}: {why}" for name, why in failed.items())
        raise RuntimeError(f"{len(failed)} of {len(jobs)} runs failed, the others are kept: {listed}")
    return compare_study(study, folder)


def compare_study(study: Study, folder: Path) -> Comparison:
    """The comparison of a study whose runs are there."""
    runs: dict[str, list[Path]] = {arm: [] for arm in study.arms}
    for job in jobs_of(study, folder):
        runs[job.arm].append(job.run.path)
    factors = {arm: changes.factors for arm, changes in study.arms.items() if changes.factors}
    return compare(runs, baseline=study.baseline, factors=factors, at=study.captures[-1])


def work(job: Job) -> None:
    """Train and measure one run, going on where it stands; its arm and factors go into run.json."""
    path = train(job.config)
    run = Run(path)
    run.update(arm=job.arm, factors=job.factors)
    measure_run(run, job.config, job.captures, job.sites, job.positions)
    run.update(measured=job.asked())


def _work_off(pending: list[Job], at_once: int, failed: dict[str, str]) -> Iterator[list[Job]]:
    """Keep `at_once` processes busy; yields the jobs under way a few times a second. Leaving early stops them."""
    # Forked from a server that only imported: a fork of this process would copy the locks of torch's threads.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "sklearn.linear_model", "sklearn.pipeline", "sklearn.preprocessing"])
    alive: list[tuple[Job, ForkServerProcess]] = []
    waiting = list(pending)
    try:
        while waiting or alive:
            while waiting and len(alive) < at_once:
                job = waiting.pop(0)
                threads = job.config.threads or max(1, (os.cpu_count() or 1) // at_once)
                process = context.Process(target=_work_alone, args=(job, threads), name=job.run.name)
                process.start()
                alive.append((job, process))
            yield [job for job, _ in alive]
            time.sleep(POLL)
            for job, process in [pair for pair in alive if not pair[1].is_alive()]:
                process.join()
                alive.remove((job, process))
                if process.exitcode:
                    failed[job.run.name] = _why(job, process.exitcode)
    finally:
        for _, process in alive:
            process.terminate()  # the run finishes its step and saves
        for _, process in alive:
            process.join()


def _work_alone(job: Job, threads: int) -> None:
    """In a process of its own: an error is left for the parent beside the run, without a traceback on the screen."""
    _end_with_parent()
    # Of torch and of every BLAS, in measuring as well: processes that share cores wait for each other's threads.
    torch.set_num_threads(threads)
    threadpool_limits(threads)
    note = job.run.path.with_suffix(".error")
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
    """When the study's process is killed, finish the step, save and stop: no run goes on unseen."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def _why(job: Job, code: int) -> str:
    note = job.run.path.with_suffix(".error")
    if code == 1 and note.is_file():
        why = note.read_text(encoding="utf-8")
        note.unlink()
        return why
    return f"its process ended with {code} (out of memory, or stopped from outside)"


def _progress(jobs: list[Job], alive: list[Job], failed: dict[str, str]) -> Progress:
    done = {job.run.name: job.done() for job in jobs}
    finished = sum(job.finished() for job in jobs if job not in alive)
    cost = sum(job.cost() for job in jobs)
    return Progress(finished=finished, runs=len(jobs), done=sum(done.values()), cost=cost, failed=dict(failed))
