"""What the runs of a study will see: their images are opened once, and what does not fit is refused before any run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from collapse_lab.capture.sites import match_sites
from collapse_lab.data.source import Images, open_images
from collapse_lab.study.blank import encoder_of
from collapse_lab.study.jobs import Job
from collapse_lab.train.loop import try_out
from collapse_lab.train.resolve import Resolved, require_labels, resolve


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A job's configuration with every number known, and the fingerprint of its training images."""

    config: Resolved
    fingerprint: str


def seen_by(jobs: Sequence[Job]) -> list[Seen]:
    """Of each job; raises ValueError naming the arm of one that its images, its network or its sites refuse.

    Every source is read once, whatever the number of jobs.
    """
    splits: dict[tuple[str, int], tuple[Images, Images]] = {}
    fingerprints: dict[tuple[str, int], str] = {}
    checked: dict[str, Job] = {}
    found = []
    for job in jobs:
        source = job.config.data.uri, job.config.data.size
        if source not in splits:
            train, test = (open_images(source[0], split, source[1]) for split in ("train", "test"))
            splits[source], fingerprints[source] = (train, test), train.fingerprint()
        try:
            if job.arm not in checked:
                _require_fit(job)
            config = _resolved(job, *splits[source])
        except (ValueError, LookupError) as error:
            raise ValueError(f"the arm {job.arm!r}: {error.args[0]}") from None
        checked[job.arm] = job
        found.append(Seen(config=config, fingerprint=fingerprints[source]))
    return found


def _require_fit(job: Job) -> None:
    """One pass without values, and the sites; seeds of one arm need no second look."""
    try_out(job.config)
    match_sites(encoder_of(job.config), [*job.wanted.sites, *job.wanted.probe_sites])
    beyond = [step for step in job.wanted.captures if step > (job.config.steps or 0)]
    if beyond:
        raise ValueError(f"captures at {beyond} lie beyond its {job.config.steps} steps")


def _resolved(job: Job, train: Images, test: Images) -> Resolved:
    config = resolve(job.config, images=len(train), classes=len(train.classes))
    require_labels(config, train, test if config.eval.every else None)
    return config
