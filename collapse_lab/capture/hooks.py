"""One pass of images through a model, its sites read by hooks that are always taken off again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from collapse_lab.capture.batches import Seen, first_image, read_batches
from collapse_lab.capture.budget import WIDEST, Budget, plan
from collapse_lab.capture.firing import Firing, Tap, run_model, watching
from collapse_lab.capture.layouts import Layout
from collapse_lab.capture.parts import tensor_at
from collapse_lab.capture.scout import Place, scout
from collapse_lab.capture.store import Capture, Maps, Replicates
from collapse_lab.shapes import Features, as_features
from collapse_lab.stats.accumulate import Accumulator
from collapse_lab.stats.held import whole_of, without_each_group
from collapse_lab.stats.layer import LayerStats
from collapse_lab.stats.moments import Accumulation
from collapse_lab.stats.positions import sampled_count

FEWEST_IMAGES = 64
"""Below, leave-one-group-out values are not taken: no interval can be trusted."""

Summary = Callable[[LayerStats, Sequence[LayerStats], Sequence[int]], Mapping[str, list[float]]]
"""(all images, all but each group, the groups' sizes) -> the values of each metric without each group."""


def observe(
    model: nn.Module,
    batches: Iterable[Any],
    *,
    sites: Iterable[str],
    positions: Sequence[str] = ("sampled:8", "pooled"),
    seed: int = 0,
    groups: int = 16,
    keep_rows: int = 0,
    keep_maps: int = 0,
    layout: Layout = None,
    memory_limit: int | None = None,
    accumulation: Accumulation = "float64",
    on_budget: Callable[[Budget], object] | None = None,
    summarise: Summary | None = None,
    estimate: Summary | None = None,
) -> Capture:
    """The statistics of every site and position policy, from one pass in evaluation mode.

    `summarise` is given the statistics of all images, those of all images but each group's, and the groups' sizes; its
    values, one a group, are kept as replicates and the groups dropped. Of sites wider than WIDEST, `estimate` is given
    shells instead (`Accumulator.left_out`). `keep_rows` rows a site, and all positions of
    `keep_maps` images, are kept. `memory_limit` bytes are kept to, and `on_budget` is told before the pass what it
    takes: see `budget.plan`. `accumulation` "float32" sums each block's products in float32, whose floor is recorded.
    Model mode and hooks are restored whatever happens. One image goes ahead of the pass:
    what `scout` refuses is refused before it. Raises ValueError as well for no images, or a module that does not run
    equally often in every batch.
    """
    if min(groups, keep_rows, keep_maps) < 0:
        raise ValueError(
            f"groups (under 2: no intervals), keep_rows and keep_maps are 0 or more, "
            f"got {groups}, {keep_rows} and {keep_maps}"
        )
    positions = (positions,) if isinstance(positions, str) else tuple(positions)
    for policy in positions:
        sampled_count(policy)
    repeats: Counter[int] = Counter()
    # Neither inference_mode, even where the caller is in it: what the model or the images' source caches on the way,
    # and what the capture holds, may be needed in training later.
    with torch.inference_mode(mode=False), torch.no_grad():
        seen = read_batches(batches, repeats)
        first = next(seen, None)
        if first is None:
            raise ValueError("nothing was captured: there was no batch, or no image in it")
        places = scout(model, sites, first_image(first), layout)
        budget = plan(places, positions, groups=max(1, groups), keep=keep_rows, limit=memory_limit)
        if on_budget is not None:
            on_budget(budget)
        watch = _Watch(
            model, places, positions, budget, seed=seed, keep=keep_rows, maps=keep_maps, accumulation=accumulation
        )
        with watching(model, watch.taps(), watch.take) as fired:
            for batch in chain([first], seen):
                fired.clear()
                watch.batch = batch
                run_model(model, batch)
                watch.check(fired)
        return watch.capture(repeats, summarise, estimate)


class _Watch:
    """The state of one pass: an accumulator a site, and what the batch under way is."""

    def __init__(
        self,
        model: nn.Module,
        places: Sequence[Place],
        positions: Sequence[str],
        budget: Budget,
        *,
        seed: int,
        keep: int,
        maps: int,
        accumulation: Accumulation,
    ) -> None:
        self.model, self.places, self.positions, self.seed = model, places, tuple(positions), seed
        self.maps, self.budget = Maps.none(maps), budget
        self.batch: Seen
        self.accumulators = {
            place.name: Accumulator(
                self.positions,
                seed=seed,
                groups=budget.groups,
                keep=keep,
                wide=place.channels > WIDEST,
                matrix=place.name not in budget.diagonal,
                accumulation=accumulation,
            )
            for place in places
        }
        self.at: dict[Tap, list[Place]] = {}
        for place in places:
            self.at.setdefault((place.site.path, place.site.before), []).append(place)

    def taps(self) -> list[Tap]:
        """The chosen modules alone."""
        return list(self.at)

    def take(self, firing: Firing) -> None:
        """Take in what one call of one module gives to its sites."""
        for place in self.at[firing.path, firing.before]:
            if firing.call >= place.calls:
                raise _called(place, f"{firing.call + 1} times or more")
            if place.site.call in (None, firing.call):
                self._update(place, tensor_at(firing.value, place.site))

    def check(self, fired: Mapping[Tap, int]) -> None:
        """Raise where a module ran less often than in the first pass."""
        for tap, (place, *_) in self.at.items():
            if fired[tap] != place.calls:
                raise _called(place, f"{fired[tap]} times")

    def _update(self, place: Place, tensor: Tensor) -> None:
        site, layout = place.name, str(place.layout)
        try:
            features = as_features(tensor.detach(), layout)
        except ValueError as error:
            raise ValueError(f"site {site!r}: {error}") from None
        if len(features) != len(self.batch.id):
            raise ValueError(
                f"site {site!r} gives {len(features)} images for a batch of {len(self.batch.id)}: "
                f"its layout {layout!r} does not fit"
            )
        self.accumulators[site].update(
            features, self.batch.id, visible=self._visible(features), labels=self.batch.label
        )
        self.maps = self.maps.take(site, features, self.batch.id)

    def _visible(self, features: Features) -> Tensor | None:
        """(N, P): visible cells come first at a site of a masked pass, filled up to the most that an image has."""
        if self.batch.removed is None:
            return None
        kept = (~self.batch.removed).sum(dim=1).to(features.device)
        most = max(1, int(kept.max()))
        cell, over = divmod(features.shape[1], most)
        if over:
            raise ValueError(
                f"a site gives {features.shape[1]} positions for {most} visible cells: it does not hold visible "
                f"positions only, and removed ones are not data; choose a site inside the encoder"
            )
        return torch.arange(features.shape[1], device=features.device) < (kept * cell)[:, None]

    def capture(self, repeats: Counter[int], summarise: Summary | None, estimate: Summary | None) -> Capture:
        """Everything that was seen, on the CPU, the groups reduced to replicates."""
        stats, replicates = {}, {}
        images = repeats.total()
        for site, accumulator in self.accumulators.items():
            held = accumulator.held()
            enough = images >= FEWEST_IMAGES and accumulator.groups > 1
            summary = estimate if accumulator.wide else summarise
            for policy in self.positions:
                whole = stats[site, policy] = whole_of(held, policy)
                if summary is not None and enough:
                    left_out, sizes = without_each_group(held, policy)
                    replicates[site, policy] = Replicates(values=summary(whole, left_out, sizes), sizes=sizes)
        facts = {
            "model": type(self.model).__name__,
            "architecture": getattr(self.model, "architecture", None),
            "images": images,
            "repeated_images": images - len(repeats),
            "seed": self.seed,
            "groups": self.budget.groups,
            "given_up": list(self.budget.notes),
            "layouts": {place.name: place.layout for place in self.places},
            "shapes": {place.name: list(place.shape) for place in self.places},
        }
        return Capture(stats, replicates=replicates, maps=self.maps, facts=facts)


def _called(place: Place, times: str) -> ValueError:
    return ValueError(
        f"site {place.name!r}: {place.site.path} ran {times} in a pass, but {place.calls} times for the first image; "
        f"the number of calls must not depend on the batch"
    )
