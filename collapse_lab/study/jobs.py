"""The runs that a study consists of: one an arm and seed, each in a folder."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from collapse_lab.runs import Run
from collapse_lab.study.plan import Arm, Study
from collapse_lab.study.wanted import Wanted
from collapse_lab.train.config import Config, make_config
from collapse_lab.train.methods import for_objective
from collapse_lab.train.nested import laid_over
from collapse_lab.train.resolve import as_recorded, completed

CAPTURE_COST = 20
"""A capture counts as so many steps in the progress."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One run of a study, and what is wanted of it."""

    study: str
    arm: str
    seed: int
    config: Config
    wanted: Wanted
    factors: dict[str, bool]

    @property
    def run(self) -> Run:
        return Run(Path(self.config.out))

    @property
    def cost(self) -> int:
        """Steps and captures, in steps."""
        return (self.config.steps or 0) + CAPTURE_COST * len(self.wanted.captures)

    def trained(self) -> bool:
        """Whether the run in its folder is finished, and of this very configuration."""
        record = self.run.read() if self.run.exists() else {}
        if record.get("status") != "finished":
            return False
        return completed(record.get("config", {})) == as_recorded(self.config, record).identity()

    def finished(self) -> bool:
        """Trained with this very configuration, and measured at every step and site."""
        if not self.trained() or self.wanted.lacking(self.run, self.config):
            return False
        return not (self.wanted.labelled(self.run) and self.wanted.unprobed(self.run, self.config))


def jobs_of(study: Study, folder: Path) -> list[Job]:
    """One job an arm and seed, in `folder`; raises ValueError for a configuration that is refused, naming its arm."""
    names = {arm: re.sub(r"[^\w-]+", "-", arm).strip("-").lower() for arm in study.arms}
    if len(set(names.values())) < len(names):
        shared = [arm for arm in names if list(names.values()).count(names[arm]) > 1]
        raise ValueError(f"two arms would share a folder: {', '.join(map(repr, shared))}; call one of them otherwise")
    empty = [arm for arm, name in names.items() if not name]
    if empty:
        raise ValueError(f"the arm {empty[0]!r} gives no name of a folder; use letters or numbers")
    own = [key for key in ("seed", "out") if key in study.config]
    if own:
        raise ValueError(f"config.{own[0]} is not for a study to say: seeds are listed in 'seeds', folders are its own")
    return [
        _job(study, arm, changes, seed, folder / f"{names[arm]}-seed{seed}")
        for seed in study.seeds
        for arm, changes in study.arms.items()
    ]


def _job(study: Study, arm: str, changes: Arm, seed: int, out: Path) -> Job:
    own = {"seed": seed, "out": str(out), "save": {"at": list(study.captures)}}
    theirs = changes.config.get("objective")
    base = for_objective(study.config, theirs.get("name") if isinstance(theirs, dict) else None)
    values = laid_over(laid_over(base, changes.config), own)
    if values.get("epochs") is not None:
        raise ValueError(f"the arm {arm!r} is said in epochs; a study counts in steps, as its captures do")
    try:
        config = make_config(values)
    except (ValueError, LookupError) as error:
        raise ValueError(f"the arm {arm!r}: {error.args[0]}") from None
    return Job(study=study.name, arm=arm, seed=seed, config=config, wanted=Wanted.of(study), factors=changes.factors)
