"""One pass of images through a model, its sites read by hooks that are always taken off again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from collapse_lab.capture.batches import Seen, read_batches
from collapse_lab.capture.sites import Layout, layout_of, match_sites
from collapse_lab.capture.store import Capture, Maps, Replicates
from collapse_lab.shapes import Features, as_features
from collapse_lab.stats.accumulate import Accumulator
from collapse_lab.stats.held import whole_of, without_each_group
from collapse_lab.stats.layer import LayerStats
from collapse_lab.stats.positions import sampled_count

FEWEST_IMAGES = 64
"""Below, leave-one-group-out values are not taken: no interval can be trusted."""

WIDEST = 1024
"""Sites with more channels are wide: 16 matrices of 8 MB a policy fit in memory, of 75 MB they do not."""

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
    summarise: Summary | None = None,
    estimate: Summary | None = None,
) -> Capture:
    """The statistics of every site and position policy, from one pass in evaluation mode.

    `summarise` is given the statistics of all images, those of all images but each group's, and the groups' sizes; its
    values, one a group, are kept as replicates and the groups dropped. Of sites wider than WIDEST, `estimate` is given
    shells instead (`Accumulator.left_out`). `keep_rows` rows a site, and all positions of
    `keep_maps` images, are kept. Model mode and hooks are restored whatever happens. Raises LookupError for an unknown
    site, ValueError for an unknown layout, a site that does not fire or fires twice, or no images.
    """
    if hasattr(model, "_orig_mod"):
        raise ValueError(
            "a compiled module runs past hooks set later; give the module it was compiled from (._orig_mod)"
        )
    if min(groups, keep_rows, keep_maps) < 0:
        raise ValueError(
            f"groups (under 2: no intervals), keep_rows and keep_maps are 0 or more, "
            f"got {groups}, {keep_rows} and {keep_maps}"
        )
    positions = (positions,) if isinstance(positions, str) else tuple(positions)
    for policy in positions:
        sampled_count(policy)
    names = match_sites(model, sites)
    watch = _Watch(
        model, names, positions, seed=seed, groups=max(1, groups), keep=keep_rows, maps=keep_maps, layout=layout
    )
    repeats: Counter[int] = Counter()
    # Not inference_mode: what the model or the images' source caches on the way may be needed in training later.
    with watching(model, names, watch.take), torch.no_grad():
        for batch in read_batches(batches, repeats):
            watch.begin(batch)
            watch.run(batch)
    if not repeats:
        raise ValueError("nothing was captured: there was no batch, or no image in it")
    return watch.capture(repeats, summarise, estimate)


@contextmanager
def watching(model: nn.Module, sites: Sequence[str], take: Callable[[str, Any], None]) -> Iterator[None]:
    """Call `take(site, output)` whenever a site fires, in evaluation mode; restore mode and hooks on leaving."""
    modes = {module: module.training for module in model.modules()}
    handles = []
    try:
        for site in sites:
            hook = partial(lambda name, _module, _inputs, output: take(name, output), site)
            handles.append(model.get_submodule(site).register_forward_hook(hook))
        model.eval()
        yield
    finally:
        for handle in handles:
            handle.remove()
        for module, training in modes.items():
            module.training = training


class _Watch:
    """The state of one pass: an accumulator a site, and what the batch under way is."""

    def __init__(
        self,
        model: nn.Module,
        sites: Sequence[str],
        positions: Sequence[str],
        *,
        seed: int,
        groups: int,
        keep: int,
        maps: int,
        layout: Layout,
    ) -> None:
        self.model, self.sites, self.positions, self.layout = model, sites, tuple(positions), layout
        self.seed, self.maps = seed, Maps.none(maps)
        self.groups, self.keep = groups, keep
        self.accumulators: dict[str, Accumulator] = {}
        self.order: list[str] = []
        self.layouts: dict[str, str] = {}
        self.shapes: dict[str, list[int]] = {}
        self.fired: Counter[str] = Counter()
        parameter = next(model.parameters(), None)
        self.device = torch.device("cpu") if parameter is None else parameter.device

    def begin(self, batch: Seen) -> None:
        self.batch = batch
        self.fired.clear()

    def run(self, batch: Seen) -> None:
        """Send the batch through the model: `forward_masked` where cells are removed, else a plain call."""
        images = batch.image.to(self.device)
        if batch.removed is None:
            self.model(images)
        else:
            masked = getattr(self.model, "forward_masked", None)
            if not callable(masked):
                raise ValueError(f"the batch has removed cells, but {type(self.model).__name__} has no forward_masked")
            masked(images, batch.removed.to(self.device))
        silent = [site for site in self.sites if not self.fired[site]]
        if silent:
            raise ValueError(f"these sites never fired in a forward pass: {', '.join(silent[:5])}; leave them out")

    def take(self, site: str, output: Any) -> None:
        """Take in one output of one site."""
        self.fired[site] += 1
        if self.fired[site] > 1:
            raise ValueError(f"site {site!r} fired twice in one pass (a shared module); capture modules that run once")
        if not isinstance(output, Tensor):
            raise TypeError(f"site {site!r} gives a {type(output).__name__}, not a tensor; choose a module inside it")
        if not output.is_floating_point():
            raise TypeError(f"site {site!r} gives {output.dtype}, not floating-point features; choose another module")
        if site not in self.layouts:
            self.layouts[site] = layout_of(self.model, site, tuple(output.shape), self.layout)
            self.shapes[site] = list(output.shape[1:])
            self.order.append(site)
        try:
            features = as_features(output.detach(), self.layouts[site])
        except ValueError as error:
            raise ValueError(f"site {site!r}: {error}") from None
        if len(features) != len(self.batch.id):
            raise ValueError(
                f"site {site!r} gives {len(features)} images for a batch of {len(self.batch.id)}: "
                f"its layout {self.layouts[site]!r} does not fit"
            )
        if site not in self.accumulators:
            self.accumulators[site] = Accumulator(
                self.positions, seed=self.seed, groups=self.groups, keep=self.keep, wide=features.shape[2] > WIDEST
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
        enough = images >= FEWEST_IMAGES and self.groups > 1
        for site in self.order:
            held = self.accumulators[site].held()
            summary = estimate if self.accumulators[site].wide else summarise
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
            "layouts": self.layouts,
            "shapes": self.shapes,
        }
        return Capture(stats, replicates=replicates, maps=self.maps, facts=facts)
