"""The arms of a study against each other, from the runs that there are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from collapse_lab.capture.sites import match_sites, matches_path
from collapse_lab.findings.compare import SCORES, Comparison, compare
from collapse_lab.findings.scores import metrics_of
from collapse_lab.findings.table import read_table
from collapse_lab.study.blank import encoder_of
from collapse_lab.study.jobs import Job, jobs_of
from collapse_lab.study.plan import Study
from collapse_lab.study.pool import located


def runs_of(study: Study, runs: Path | str) -> dict[str, list[Path]]:
    """Arm -> the folders of its finished and measured runs, by seed, wherever below `runs` or the study's pool.

    An arm without any has an empty list. The images are opened, as runs are known by them too; raises what `run_study`
    raises before any run.
    """
    return folders_of(study, [job for job in located_jobs(study, runs) if job.finished()])


def located_jobs(study: Study, runs: Path | str) -> list[Job]:
    """The jobs of a study, each in the folder of its run."""
    return located(jobs_of(study, Path(runs)), [Path(folder) for folder in study.pool])


def folders_of(study: Study, jobs: Sequence[Job]) -> dict[str, list[Path]]:
    """Arm -> the folders of these jobs, in the order of the study's arms."""
    return {arm: [job.run.path for job in jobs if job.arm == arm] for arm in study.arms}


def compare_jobs(study: Study, jobs: Sequence[Job]) -> Comparison:
    """The comparison of finished jobs, from what the study asked for alone: what others measured changes no number."""
    folders = folders_of(study, jobs)
    without = [arm for arm, paths in folders.items() if not paths]
    if without:
        raise ValueError(f"there is no finished run of: {', '.join(without)}; run the study first")
    tables = {arm: [table_of(job) for job in jobs if job.arm == arm] for arm in study.arms}
    factors = {arm: changes.factors for arm, changes in study.arms.items() if changes.factors}
    comparison = compare(tables, baseline=study.baseline, factors=factors, at=study.captures[-1])
    return replace(comparison, folders={arm: tuple(paths) for arm, paths in folders.items()})


def table_of(job: Job) -> pd.DataFrame:
    """The rows of a job's run at the steps, sites and positions that the study asked for.

    Depth goes from 0 for the first of these sites to 1 for the last, as in a capture of them alone.
    """
    table, wanted = read_table(job.run.metrics), job.wanted
    table = table[table.step.isin(wanted.captures)]
    score = table.metric.isin(SCORES)
    order = table[~score].sort_values("depth", kind="stable").site.unique()
    sites = _chosen(job, wanted.sites, order)
    depth = {site: place / max(1, len(sites) - 1) for place, site in enumerate(sites)}
    measured = ~score & table.site.isin(sites) & table.positions.isin(wanted.positions)
    probed = table.metric.isin(metrics_of(wanted.probes))
    probed &= table.site.isin(["", *_chosen(job, wanted.probe_sites, table[score].site.unique())])
    part = table[measured | probed]
    return part.assign(arm=job.arm, depth=part.site.map(depth).fillna(part.depth))


def _chosen(job: Job, patterns: Sequence[str], sites: Iterable[str]) -> list[str]:
    """Those of some sites that the patterns choose in the job's network, in their own order."""
    names = match_sites(encoder_of(job.config), patterns)
    return [site for site in sites if any(matches_path(name, site) for name in names)]
