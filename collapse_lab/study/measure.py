"""What a study wants of a finished run, beside what others have measured there."""

from __future__ import annotations

from collapse_lab.data.source import Images, open_images
from collapse_lab.runs import Run
from collapse_lab.study.probing import probe_step
from collapse_lab.study.tables import GROUPS, capture_step, gather, write_step
from collapse_lab.study.wanted import Wanted, places_of
from collapse_lab.train.checkpoint import prune_checkpoints
from collapse_lab.train.config import Config, SaveConfig


def measure_run(run: Run, config: Config, wanted: Wanted) -> None:
    """Measure what is lacking; what is there already is not made again, and stays.

    The last step's capture is kept whole and its metrics have intervals over images; of the others the tables are kept,
    without. Images without labels are not probed.
    """
    test = open_images(config.data.uri, "test", config.data.size)
    for step in wanted.lacking(run, config):
        _measure(run, config, step, test, wanted)
    missing = wanted.unprobed(run, config) if test.classes else []
    if missing:
        train = open_images(config.data.uri, "train", config.data.size)
        probe_step(run, config, wanted.captures[-1], train, test, sites=missing, kinds=wanted.probes)
    gather(run)


def prune(run: Run, wanted: Wanted) -> None:
    """Delete the checkpoints that this study does not keep, but the last."""
    last = max(run.checkpoints())
    prune_checkpoints(run, last, SaveConfig(keep=1, at=tuple(step for step in wanted.kept if step != last)))


def _measure(run: Run, config: Config, step: int, test: Images, wanted: Wanted) -> None:
    """One pass for all that is wanted of a step and all that is there: a table's sites are in the order they fire."""
    there = places_of(run, step)
    whole = step == wanted.captures[-1] or step in run.captures()
    captured = capture_step(
        run,
        config,
        step,
        test,
        sites=[*wanted.sites, *sorted({site for site, _ in there})],
        positions=list(dict.fromkeys([*wanted.positions, *sorted({policy for _, policy in there})])),
        groups=GROUPS if whole else 0,
    )
    write_step(run, step, captured, whole=whole)
