"""What a study wants measured of a run, and what of it the run's tables do not have yet."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import nn

from collapse_lab.capture.sites import match_sites, matches_path
from collapse_lab.findings.table import read_table
from collapse_lab.runs import Run
from collapse_lab.study.plan import Study
from collapse_lab.study.tables import measured_steps
from collapse_lab.train.build import build
from collapse_lab.train.config import Config
from collapse_lab.train.resolve import resolve


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Steps, sites (patterns) and position policies; the capture of the last step is kept whole, with intervals."""

    captures: tuple[int, ...]
    sites: tuple[str, ...]
    positions: tuple[str, ...]
    kept: tuple[int, ...]

    @staticmethod
    def of(study: Study) -> Wanted:
        return Wanted(
            captures=study.captures,
            sites=study.sites,
            positions=study.positions,
            kept=study.captures if study.checkpoints == "all" else study.captures[-1:],
        )

    def lacking(self, run: Run, config: Config) -> list[int]:
        """The steps whose tables lack a site or a policy, or, of the last, are not from a whole capture.

        The tables themselves are asked, not a note of who measured: any study's captures serve.
        """
        names = match_sites(encoder_of(config), self.sites)
        steps = [step for step in self.captures if not self._covered(run, step, names)]
        last = self.captures[-1]
        if last not in steps and last not in run.captures():
            steps.append(last)
        return steps

    def unkept(self, run: Run, config: Config) -> list[int]:
        """Of a finished run: the steps that are lacking and whose weights are gone."""
        there = {0, *run.checkpoints()}  # the initial values follow from the seed
        return [step for step in self.lacking(run, config) if step not in there]

    def _covered(self, run: Run, step: int, names: list[str]) -> bool:
        found = places_of(run, step)
        return all(
            any(policy == known and matches_path(name, site) for site, known in found)
            for name in names
            for policy in self.positions
        )


def places_of(run: Run, step: int) -> set[tuple[str, str]]:
    """(site, positions) of every row in the table of a step; empty where there is none."""
    if step not in measured_steps(run):
        return set()
    table = read_table(run.capture(step) / "metrics.parquet")
    return set(table[["site", "positions"]].drop_duplicates().itertuples(index=False, name=None))


def encoder_of(config: Config) -> nn.Module:
    """The encoder of a configuration without values: its sites can be asked for before there is a run."""
    return _encoder(config.model_copy(update={"out": "", "seed": 0}))


@lru_cache(maxsize=64)
def _encoder(config: Config) -> nn.Module:
    resolved = resolve(config, images=config.data.batch, classes=config.model.classes or 2)
    with torch.device("meta"):
        return build(resolved.model, resolved.objective, seed=0).encoder
