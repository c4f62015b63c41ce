"""A study as data: arms that change a configuration, seeds, and when and where to look."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from collapse_lab.runs import Run, read_lines
from collapse_lab.study.tables import POSITIONS, SITES, measured_steps
from collapse_lab.train.config import Config, make_config
from collapse_lab.train.nested import laid_over
from collapse_lab.train.resolve import as_recorded, completed

CAPTURE_COST = 20
"""A capture counts as so many steps in the progress."""


class Arm(BaseModel):
    """What an arm changes in the study's configuration, and its place in a factorial (or none)."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    config: dict[str, Any] = {}
    factors: dict[str, bool] = {}


class Study(BaseModel):
    """A question as data: a base configuration, arms that change it, seeds, and when and where to look."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str = Field(pattern=r"[\w-]+")
    title: str
    baseline: str
    seeds: tuple[int, ...] = Field(min_length=1)
    captures: tuple[int, ...] = Field(min_length=1, description="steps, ascending; the last one is compared")
    sites: tuple[str, ...] = SITES
    positions: tuple[str, ...] = POSITIONS
    config: dict[str, Any] = {}
    arms: dict[str, Arm]


@dataclass(frozen=True, kw_only=True)
class Job:
    """One run of a study."""

    arm: str
    seed: int
    config: Config
    captures: tuple[int, ...]
    sites: tuple[str, ...]
    positions: tuple[str, ...]
    factors: dict[str, bool]

    @property
    def run(self) -> Run:
        return Run(Path(self.config.out))

    def finished(self) -> bool:
        """Trained with this very configuration, and measured at every step."""
        record = self.run.read() if self.run.exists() else {}
        if record.get("status") != "finished" or record.get("measured") != self.asked():
            return False
        return completed(record.get("config", {})) == as_recorded(self.config, record).identity()

    def asked(self) -> dict[str, Any]:
        """What is measured, as run.json records it."""
        return {"captures": list(self.captures), "sites": list(self.sites), "positions": list(self.positions)}

    def done(self) -> float:
        """Steps and captures behind it, in steps."""
        if self.finished():
            return self.cost()
        steps = read_lines(self.run.log)
        return (steps[-1]["step"] if steps else 0) + CAPTURE_COST * len(measured_steps(self.run))

    def cost(self) -> float:
        return (self.config.steps or 0) + CAPTURE_COST * len(self.captures)


def read_study(path: Path) -> Study:
    """A study from a TOML file; raises ValueError naming what is wrong, FileNotFoundError where there is none."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no study {path}; give a TOML file")
    try:
        study = Study.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        raise ValueError(f"{path} is not a study: {error}") from None
    if study.baseline not in study.arms:
        raise ValueError(f"the baseline {study.baseline!r} is not an arm; arms: {', '.join(study.arms)}")
    return study


def jobs_of(study: Study, folder: Path) -> list[Job]:
    """One job an arm and seed, in `folder`; raises ValueError for a configuration that is refused."""
    names = {arm: re.sub(r"[^\w-]+", "-", arm).strip("-").lower() for arm in study.arms}
    if len(set(names.values())) < len(names):
        raise ValueError(f"two arms would share a folder: {', '.join(names.values())}")
    jobs = []
    for seed in study.seeds:
        for arm, changes in study.arms.items():
            own = {"seed": seed, "out": str(folder / f"{names[arm]}-seed{seed}"), "save": {"at": list(study.captures)}}
            values = laid_over(laid_over(study.config, changes.config), own)
            if values.get("epochs") is not None:
                raise ValueError(f"the arm {arm!r} is said in epochs; a study counts in steps, as its captures do")
            jobs.append(
                Job(
                    arm=arm,
                    seed=seed,
                    config=make_config(values),
                    captures=study.captures,
                    sites=study.sites,
                    positions=study.positions,
                    factors=changes.factors,
                )
            )
    return jobs
