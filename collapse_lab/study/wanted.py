"""What a study wants measured of a run, and what of it the run's tables do not have yet."""

from __future__ import annotations

from dataclasses import dataclass

from collapse_lab.capture.sites import match_sites, matches_path
from collapse_lab.findings.table import read_table
from collapse_lab.runs import Run
from collapse_lab.study.blank import encoder_of
from collapse_lab.study.plan import Study
from collapse_lab.study.probing import unprobed_sites
from collapse_lab.study.tables import measured_steps
from collapse_lab.train.config import Config


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Steps, sites (patterns) and position policies; the capture of the last step is kept whole, with intervals.

    `probes` are made of the last map at the last step, and at `probe_sites`; the checkpoints of the steps `kept` stay.
    """

    captures: tuple[int, ...]
    sites: tuple[str, ...]
    positions: tuple[str, ...]
    probes: tuple[str, ...]
    probe_sites: tuple[str, ...]
    kept: tuple[int, ...]

    @staticmethod
    def of(study: Study) -> Wanted:
        return Wanted(
            captures=study.captures,
            sites=study.sites,
            positions=study.positions,
            probes=study.probes,
            probe_sites=study.probe_sites,
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

    def unprobed(self, run: Run, config: Config) -> list[str]:
        """The sites, "" for the last map, where a score is missing."""
        return unprobed_sites(run, config, self.captures[-1], self.probe_sites, self.probes)

    def unkept(self, run: Run, config: Config) -> list[int]:
        """The steps that are to be measured or probed and whose weights are not there (yet, or any longer)."""
        there = {0, *run.checkpoints()}  # the initial values follow from the seed
        steps = self.lacking(run, config)
        if self.labelled(run) and self.unprobed(run, config):
            steps.append(self.captures[-1])
        return sorted(set(steps) - there)

    @staticmethod
    def labelled(run: Run) -> bool:
        """Whether the run's images have classes: those of others are not probed."""
        return run.exists() and bool(run.read().get("data", {}).get("classes"))

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
