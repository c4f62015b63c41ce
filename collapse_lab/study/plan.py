"""A study as data: arms that change a configuration, seeds, and when and where to look."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from collapse_lab.findings.contrast import factorial
from collapse_lab.findings.scores import PROBES
from collapse_lab.registry import Registry, nearest
from collapse_lab.stats.positions import sampled_count
from collapse_lab.study.tables import POSITIONS, SITES

FOLDER = Path(__file__).parent
"""Where the studies lie that come with the package."""


class Arm(BaseModel):
    """What an arm changes in the study's configuration, and its place in a factorial (or none)."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    config: dict[str, Any] = {}
    factors: dict[str, bool] = {}


class Study(BaseModel):
    """A question as data: a base configuration, arms that change it, seeds, and when and where to look.

    A run is known by its configuration and its images, not by its name: runs in the study's own folder and in those of
    `pool` are used whatever arm of whatever study made them. `checkpoints` says what a finished run keeps for studies
    to come: its last step, or "all" of `captures`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str = Field(pattern=r"^\w[\w-]*$")
    title: str
    baseline: str
    seeds: tuple[int, ...] = Field(min_length=1)
    captures: tuple[int, ...] = Field(min_length=1, description="steps, ascending; the last one is compared")
    sites: tuple[str, ...] = SITES
    positions: tuple[str, ...] = POSITIONS
    probes: tuple[str, ...] = Field(
        default=("linear",), description="names in PROBES, of the last map at the last step"
    )
    probe_sites: tuple[str, ...] = Field(default=(), description="where besides")
    pool: tuple[str, ...] = Field(default=(), description="folders whose runs are used as well")
    checkpoints: Literal["last", "all"] = "last"
    config: dict[str, Any] = {}
    arms: dict[str, Arm]

    @field_validator("probes")
    @classmethod
    def _known(cls, kinds: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [kind for kind in kinds if kind not in PROBES]
        if unknown:
            raise ValueError(f"no probe is called {unknown[0]!r}{nearest(unknown[0], PROBES)}")
        return kinds

    @field_validator("seeds")
    @classmethod
    def _each_once(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(seeds)) < len(seeds):
            raise ValueError(f"expected every seed once, got {list(seeds)}")
        return seeds

    @field_validator("positions")
    @classmethod
    def _policies(cls, positions: tuple[str, ...]) -> tuple[str, ...]:
        for policy in positions:
            sampled_count(policy)
        return positions

    @field_validator("captures")
    @classmethod
    def _ascending(cls, steps: tuple[int, ...]) -> tuple[int, ...]:
        if list(steps) != sorted(set(steps)) or steps[0] < 0:
            raise ValueError(f"expected steps from 0, ascending, each once; got {list(steps)}")
        return steps


def studies() -> Registry[Path]:
    """Name -> file of the studies that come with the package."""
    return Registry("study", {path.stem: path for path in sorted(FOLDER.glob("*.toml"))})


def read_study(path: Path | str) -> Study:
    """A study from a TOML file, or one that comes with the package by its name; a file that is there is meant first.

    Raises ValueError naming what is wrong, with the nearest known key, FileNotFoundError where there is no file,
    LookupError for an unknown name, with the nearest one.
    """
    file = _found(Path(path))
    try:
        study = Study.model_validate(tomllib.loads(file.read_text(encoding="utf-8")))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{file} is not a study: {error}") from None
    except ValidationError as error:
        raise ValueError(f"{file} is not a study: {'; '.join(_faults(error))}") from None
    if study.baseline not in study.arms:
        raise ValueError(f"the baseline {study.baseline!r} is not an arm{nearest(study.baseline, study.arms)}")
    factorial({name: arm.factors for name, arm in study.arms.items() if arm.factors})  # raises before a run is made
    return study


def _found(path: Path) -> Path:
    if path.is_file():
        return path
    if path.suffix == ".toml" or len(path.parts) != 1:
        raise FileNotFoundError(f"there is no study {path}; give a TOML file, or one of: {', '.join(studies())}")
    return studies()[path.name]


def _faults(error: ValidationError) -> Iterator[str]:
    for fault in error.errors():
        names = [str(part) for part in fault["loc"]]
        name = ".".join(names)
        if fault["type"] == "extra_forbidden":
            known = Study.model_fields if len(names) == 1 else Arm.model_fields
            yield f"unknown key {name!r}{nearest(names[-1], known)}"
        elif fault["type"] == "missing":
            yield f"{name} is missing"
        elif fault["type"] == "value_error":
            yield f"{name} = {fault['input']!r}: {fault['ctx']['error']}"
        else:
            yield f"{name} = {fault['input']!r}: {fault['msg'].lower()}"
