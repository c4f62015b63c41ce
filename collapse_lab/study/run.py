"""Arms x seeds: what is missing is run, each run in a process of its own; what is done is used as it is."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from collapse_lab.findings.compare import Comparison
from collapse_lab.study.compared import compare_jobs, folders_of, located_jobs
from collapse_lab.study.jobs import Job
from collapse_lab.study.limits import Limits
from collapse_lab.study.plan import Study
from collapse_lab.study.progress import Board, Progress
from collapse_lab.study.work import work_here, work_off


class FailedRunsWarning(UserWarning):
    """Runs of a study failed, and its arms are compared without them."""


def run_study(
    study: Study,
    runs: Path | str,
    *,
    at_once: int = 2,
    cores: int | None = None,
    memory_limit: int | None = None,
    on_progress: Callable[[Progress], object] = lambda _: None,
) -> Comparison:
    """Run what is missing, `at_once` runs at a time at most, and compare the arms.

    A finished run of the same configuration and images is used wherever it lies below `runs` or the study's pool,
    whatever its arm was called; what the study wants measured and it lacks is added. Runs start as long as their
    threads stay within `cores` (those of this process) and their estimated memory within `memory_limit` bytes.
    `at_once` 0 runs one after another in this process, without limits: small runs are done sooner than processes start.
    `on_progress` is called a few times a second. A stop by hand stops the runs after their step, and the next call goes
    on from there.

    A run that fails does not stop the others: it is warned of (FailedRunsWarning) with its error, and the arms are
    compared without it, those that have no run left out. Raises RuntimeError with the errors where the baseline has no
    run left, or nothing that it could be compared with. Before any run: ValueError for a configuration
    that is refused, images that do not fit, runs that did not keep a step that is to be measured, or a memory limit
    below what one run takes.
    """
    jobs = located_jobs(study, runs)
    finished = [job for job in jobs if job.finished()]
    pending = [job for job in jobs if job not in finished]
    _require_steps(pending)
    board = Board(jobs, finished)
    limits = Limits.of(at_once, cores, memory_limit) if at_once else None
    for progress in work_off(pending, limits, board) if limits else work_here(pending, board):
        on_progress(progress)
    on_progress(board.progress())
    return compare_jobs(_told(study, jobs, board), board.finished())


def _told(study: Study, jobs: Sequence[Job], board: Board) -> Study:
    """The study of the arms that have a run; what failed is warned of, or RuntimeError where nothing is to compare."""
    if not board.failed:
        return study
    listed = "; ".join(f"{name}: {why}" for name, why in board.failed.items())
    note = f"{len(board.failed)} of {len(jobs)} runs failed, the others are kept: {listed}"
    without = [arm for arm, paths in folders_of(study, board.finished()).items() if not paths]
    left = {arm: own for arm, own in study.arms.items() if arm not in without}
    lost = f"; no run is left of: {', '.join(without)}" if without else ""
    if study.baseline in without or len(left) < min(2, len(study.arms)):
        raise RuntimeError(f"{note}{lost}; nothing can be compared")
    warnings.warn(note + lost, FailedRunsWarning, stacklevel=3)
    if without:  # what is left of a factorial is none
        left = {arm: own.model_copy(update={"factors": {}}) for arm, own in left.items()}
    return study.model_copy(update={"arms": left})


def _require_steps(pending: Sequence[Job]) -> None:
    for job in pending:
        reached = job.run.read().get("step", 0) if job.run.exists() else 0
        gone = [step for step in job.wanted.unkept(job.run, job.config) if step <= reached]
        if gone:
            raise ValueError(
                f"{job.run.path} is at step {reached} and has not kept its steps {gone}, which are to be measured (it "
                f"has {list(job.run.checkpoints())}); take other captures, or other --runs, where it is trained anew"
            )
