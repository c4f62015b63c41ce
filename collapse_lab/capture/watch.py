"""What hooks take in during one pass: each site's features into its accumulator."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from collapse_lab.capture.batches import Seen
from collapse_lab.capture.budget import Budget
from collapse_lab.capture.firing import Firing, Tap
from collapse_lab.capture.maps import Maps
from collapse_lab.capture.parts import tensor_at
from collapse_lab.capture.scout import Place
from collapse_lab.capture.settings import Settings
from collapse_lab.capture.taken import Account, Taken, weights_key
from collapse_lab.shapes import Features, as_features
from collapse_lab.stats.accumulate import Accumulator
from collapse_lab.stats.held import Held
from collapse_lab.stats.scratch import Scratch


class Watch:
    """The state of one pass: an accumulator a site, and what the batch under way is.

    `facts` say what the pass is of, so that another may be known to be its like; with `fingerprint` a hash of the
    model's weights is among them.
    """

    def __init__(
        self, model: nn.Module, places: Sequence[Place], budget: Budget, settings: Settings, *, fingerprint: bool
    ) -> None:
        self.places, self.budget = places, budget
        self.class_tokens: int = getattr(model, "class_tokens", 0)
        self.maps = Maps.none(settings.keep_maps)
        self.batch: Seen
        scratch = Scratch()
        self.accumulators = {
            place.name: Accumulator(
                settings.positions,
                seed=settings.seed,
                groups=budget.groups,
                keep=settings.keep_rows,
                wide=place.name in budget.wide,
                matrix=place.name not in budget.diagonal,
                accumulation=settings.accumulation,
                scratch=scratch,
            )
            for place in places
        }
        asked = {
            "positions": settings.positions,
            "seed": settings.seed,
            "groups": budget.groups,
            "keep_rows": settings.keep_rows,
            "keep_maps": settings.keep_maps,
            "diagonal": budget.diagonal,
            "accumulation": settings.accumulation,
        }
        self.facts = _plain(
            {
                "model": type(model).__name__,
                "architecture": getattr(model, "architecture", None),
                "weights": weights_key(model) if fingerprint else None,
                "sites": [place.name for place in places],
                "layouts": {place.name: place.layout for place in places},
                "channels": {place.name: place.channels for place in places},
                "images": dict(settings.facts),
                **asked,
            }
        )
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
        channels = self.facts["channels"][site]
        if features.shape[2] != channels:
            raise ValueError(
                f"site {site!r} gives {features.shape[2]} channels, and gave {channels} for the first image: their "
                f"number must not depend on the batch"
            )
        self.accumulators[site].update(
            features, self.batch.id, visible=self._visible(features), labels=self.batch.label
        )
        self.maps = self.maps.take(site, features, self.batch.id)

    def _visible(self, features: Features) -> Tensor | None:
        """(N, P): visible cells come first at a site of a masked pass, filled up to the most that an image has.

        Before them stand the class tokens of a model that says it has some, where the site holds these.
        """
        if self.batch.removed is None:
            return None
        kept = (~self.batch.removed).sum(dim=1).to(features.device)
        most = max(1, int(kept.max()))
        before = self.class_tokens if features.shape[1] == self.class_tokens + most else 0
        cell, over = divmod(features.shape[1] - before, most)
        if over:
            raise ValueError(
                f"a site gives {features.shape[1]} positions for {most} visible cells: it does not hold visible "
                f"positions only, and removed ones are not data; choose a site inside the encoder"
            )
        return torch.arange(features.shape[1], device=features.device) < (before + kept * cell)[:, None]

    def take_in(self, taken: Taken) -> None:
        """Go on from what an interrupted pass of the same settings had taken in."""
        for site, held in taken.held.items():
            self.accumulators[site].take_in(held)
        self.maps = taken.maps

    def taken(self, batches: int, times: Mapping[int, int]) -> Taken:
        """Everything so far; what a site holds is read from its device when it is asked for."""
        account = Account(
            settings=self.facts,
            shapes={place.name: list(place.shape) for place in self.places},
            batches=batches,
            times=times,
            given_up=list(self.budget.notes),
        )
        return Taken(account=account, held=_Holding(self.accumulators), maps=self.maps)


class _Holding(Mapping[str, Held]):
    """What each accumulator holds, read anew whenever it is asked for, so that not all sites lie on the CPU at once."""

    def __init__(self, accumulators: Mapping[str, Accumulator]) -> None:
        self._accumulators = accumulators

    def __getitem__(self, site: str) -> Held:
        return self._accumulators[site].held()

    def __iter__(self) -> Iterator[str]:
        return iter(self._accumulators)

    def __len__(self) -> int:
        return len(self._accumulators)


def _plain(facts: Mapping[str, Any]) -> dict[str, Any]:
    """As they come back from a file."""
    plain: dict[str, Any] = json.loads(json.dumps(facts, default=str))
    return plain


def _called(place: Place, times: str) -> ValueError:
    return ValueError(
        f"site {place.name!r}: {place.site.path} ran {times} in a pass, but {place.calls} times for the first image; "
        f"the number of calls must not depend on the batch"
    )
