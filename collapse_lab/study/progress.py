"""How far a study is: what each of its runs is doing, and all of them together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from collapse_lab.runs import read_lines
from collapse_lab.study.jobs import CAPTURE_COST, Job
from collapse_lab.study.tables import measured_steps

State = Literal["finished", "training", "measuring", "waiting", "failed"]


@dataclass(frozen=True, kw_only=True)
class RunState:
    """One run: its last logged step, loss and images a second; NaN of what was not logged."""

    arm: str
    seed: int
    run: str
    state: State
    step: int
    steps: int
    loss: float
    images_per_second: float


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a study is: runs finished, of all; work done, of all; what failed, with its error; and each run."""

    finished: int
    runs: int
    done: float
    cost: float
    failed: Mapping[str, str]
    states: Sequence[RunState]


class Board:
    """The states of a study's runs while they are worked off; only those under way are read again."""

    def __init__(self, jobs: Sequence[Job], finished: Sequence[Job]) -> None:
        self._jobs = list(jobs)
        self._alive: list[Job] = []
        self._finished = list(finished)
        self._failed: dict[str, str] = {}
        self._known = {job.run.path: _read(job, "finished" if job in finished else "waiting") for job in jobs}

    @property
    def failed(self) -> dict[str, str]:
        """Run -> error; a run goes by its folder's name, by its path where a study has two of that name."""
        return dict(self._failed)

    def start(self, job: Job) -> None:
        self._alive.append(job)

    def end(self, job: Job, error: str | None) -> None:
        """A run is over, well or with an error."""
        self._alive.remove(job)
        if error is None:
            self._finished.append(job)
        else:
            self._failed[self._name(job)] = error
        self._known[job.run.path] = _read(job, "finished" if error is None else "failed")

    def finished(self) -> list[Job]:
        """The jobs that are done, in the order of the study."""
        return [job for job in self._jobs if job in self._finished]

    def progress(self) -> Progress:
        for job in self._alive:
            state = _read(job, "training")
            self._known[job.run.path] = state
        states = list(self._known.values())
        return Progress(
            finished=len(self._finished),
            runs=len(self._jobs),
            done=sum(map(self._done, self._jobs)),
            cost=sum(job.cost for job in self._jobs),
            failed=self.failed,
            states=states,
        )

    def _name(self, job: Job) -> str:
        alone = sum(each.run.name == job.run.name for each in self._jobs) == 1
        return job.run.name if alone else str(job.run.path)

    def _done(self, job: Job) -> float:
        """Steps and captures behind it, in steps."""
        if job in self._finished:
            return job.cost
        captured = len(set(measured_steps(job.run)) & set(job.wanted.captures))
        return min(job.cost, self._known[job.run.path].step + CAPTURE_COST * captured)


def _read(job: Job, state: State) -> RunState:
    lines = read_lines(job.run.log)
    last = lines[-1] if lines else {}
    steps = job.config.steps or 0
    step = int(last.get("step", 0))
    return RunState(
        arm=job.arm,
        seed=job.seed,
        run=job.run.name,
        state="measuring" if state == "training" and step >= steps else state,
        step=step,
        steps=steps,
        loss=_number(lines, "loss"),
        images_per_second=_number(lines, "images_per_second"),
    )


def _number(lines: Sequence[Mapping[str, float | None]], name: str) -> float:
    value = next((line[name] for line in reversed(lines) if line.get(name) is not None), None)
    return float("nan") if value is None else value
