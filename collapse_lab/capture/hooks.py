"""One pass of images through a model, its sites read by hooks that are always taken off again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import torch
from torch import nn

from collapse_lab.capture.batches import Seen, first_image, read_batches
from collapse_lab.capture.budget import Wish, plan
from collapse_lab.capture.ending import Ending, summed_up
from collapse_lab.capture.firing import run_model, watching
from collapse_lab.capture.saved import Saving, skip_done
from collapse_lab.capture.scout import Place, scout
from collapse_lab.capture.settings import Settings
from collapse_lab.capture.store import Capture
from collapse_lab.capture.taken import Taken
from collapse_lab.capture.watch import Watch
from collapse_lab.ranks import meeting

PLAIN, NOTHING_MORE = Settings(), Ending()


def observe(
    model: nn.Module,
    batches: Iterable[Any],
    *,
    sites: Iterable[str] = (),
    places: Sequence[Place] = (),
    settings: Settings = PLAIN,
    ending: Ending = NOTHING_MORE,
) -> Capture:
    """The statistics of every site and position policy, from one pass in evaluation mode.

    `ending.summarise` is given the statistics of all images, those of all images but each group's, and the groups'
    sizes; its values, one a group, are kept as replicates and the groups dropped, unless they are to be kept for
    merging. Of wide sites (`Budget.wide`) `ending.estimate` is given shells instead (`without_each_group`).
    `settings.keep_rows` rows a site, and all positions of `keep_maps` images, are kept. `memory_limit` bytes are kept
    to, and `on_budget` is told before the pass what it takes: see `budget.plan`. `accumulation` "float32" sums each
    block's products in float32, whose floor is recorded. Model mode and hooks are restored whatever happens. One image
    goes ahead of the pass: what `scout` refuses is refused before it; with `places`, which `scout` found in a model of
    this make before, none does. Raises ValueError as well for no images, or a module that does not run equally often in
    every batch.

    With `save_to`, a folder, the pass is saved there after every `save_every` batches, and one of the same settings
    that was interrupted goes on from its last saving, to the same result: the batches that are done are read again, not
    run. The folder is emptied when the pass ends well. Raises ValueError for other settings or other images.

    Where torch.distributed is initialised every rank must call this, each with its own batches (see `ranks.share_of`),
    and returns the capture of all; not so with `across_ranks=False`. Nothing is exchanged while images pass. For the
    result to be that of one process to 1e-12 (float64) the batches must be whole ones of one size. An image that came
    to two ranks is counted among the repeated ones and, other than in one process, has the same identity both times.
    Where one rank fails all raise.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"the model must be an nn.Module, got {type(model).__name__}")
    # Neither inference_mode, even where the caller is in it: what the model or the images' source caches on the way,
    # and what the capture holds, may be needed in training later.
    with torch.inference_mode(mode=False), torch.no_grad(), meeting(settings.across_ranks) as ranks:
        saving = None
        if settings.save_to is not None:
            saving = Saving(settings.save_to, every=settings.save_every, rank=ranks.rank, world=ranks.world)
        fingerprint = ending.keep_groups or saving is not None or ranks.world > 1

        def watching_from(first: Seen) -> Watch:
            found = places or scout(model, sites, first_image(first), settings.layout)
            wish = Wish(
                policies=settings.positions,
                groups=max(1, settings.groups),
                keep=settings.keep_rows,
                keep_groups=ending.keep_groups,
                saved=saving is not None,
            )
            budget = plan(found, wish, settings.memory_limit)
            if settings.on_budget is not None:
                settings.on_budget(budget)
            return Watch(model, found, budget, settings, fingerprint=fingerprint)

        taken = ranks.attempt(lambda: _pass(model, batches, watching_from, saving), "capture its images")
        capture = summed_up(taken, ranks, ending)
        if saving is not None:
            saving.clear()
        return capture


def _pass(
    model: nn.Module, batches: Iterable[Any], watching_from: Callable[[Seen], Watch], saving: Saving | None
) -> Taken | None:
    """What one pass takes in, None where no image comes; the first batch says what there is to watch."""
    times: Counter[int] = Counter()
    seen = read_batches(batches, times)
    first = next(seen, None)
    return None if first is None else _run(model, watching_from(first), chain([first], seen), times, saving)


def _run(
    model: nn.Module, watch: Watch, batches: Iterator[Seen], times: Mapping[int, int], saving: Saving | None
) -> Taken:
    """Every batch through the model, from the first that is not done already; `times` counts images as they come."""
    done, before = 0, None if saving is None else saving.load(watch.facts)
    if before is not None:
        watch.take_in(before)
        skip_done(batches, before.account, times)
        done = before.account.batches
    with watching(model, watch.taps(), watch.take) as fired:
        for batch in batches:
            fired.clear()
            watch.batch = batch
            run_model(model, batch)
            watch.check(fired)
            done += 1
            if saving is not None:
                saving.after(watch.taken(done, times))
    return watch.taken(done, times)
