"""What `train --monitor` asks for; all that can be refused is refused before the training begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from collapse_lab.cli import output

if TYPE_CHECKING:
    from torch import Tensor

    from collapse_lab.findings.alarm import Alert
    from collapse_lab.train.config import Config
    from collapse_lab.train.loop import State


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The options as they were given: `rules` only warn, `fail_on` stop as well."""

    every: int
    sites: Sequence[str]
    images: int
    rules: Sequence[str]
    fail_on: Sequence[str]
    tensorboard: bool

    @staticmethod
    def of(
        monitor: bool,
        every: int | None,
        sites: Sequence[str] | None,
        images: int | None,
        rules: Sequence[str] | None,
        fail_on: Sequence[str] | None,
        tensorboard: bool,
    ) -> Asked | None:
        """None where no option asks for a monitor; what is not given is as the help says."""
        if not monitor and all(given is None for given in (every, sites, images, rules, fail_on)):
            return None
        return Asked(
            every=50 if every is None else every,
            sites=sites or ["kind:block"],
            images=128 if images is None else images,
            rules=rules or [],
            fail_on=fail_on or [],
            tensorboard=tensorboard,
        )

    def words(self) -> list[str]:
        """All rules, those of `fail_on` with their stop."""
        return [*self.rules, *(text if text.rstrip().endswith("stop") else f"{text}, stop" for text in self.fail_on)]


class Monitoring:
    """A monitor of the run in `config.out`, which begins at the first step of its training."""

    def __init__(self, config: Config, asked: Asked) -> None:
        """Raises what `cl.monitor` raises for these options and this configuration; writes nothing yet."""
        from collapse_lab.findings.monitor import monitor
        from collapse_lab.train.build import build
        from collapse_lab.train.resolve import resolve

        known = resolve(config, images=config.data.batch, classes=config.model.classes or 2)
        untrained = build(known.model, known.objective, known.seed).encoder
        self.watch = monitor(
            untrained,  # until the training has built its own
            sites=asked.sites,
            images=probe_images(config, asked.images),
            every=asked.every,
            rules=asked.words(),
            untrained=untrained,
            run=config.out,
            tensorboard=Path(config.out) / "tensorboard" if asked.tensorboard else None,
        )

    def __call__(self, state: State) -> bool:
        """After a step of the training; True stops it."""
        self.watch.model = state.model
        stop = self.watch(state.step)
        for alert in self.watch.new:
            output.human().print(f"collapse-lab: alert {alert.state}: {alert.text}", markup=False)
        return stop

    def finish(self, path: Path) -> None:
        """Of a run that was finished before, and so took no step, measure what it came to."""
        from collapse_lab.runs import Run
        from collapse_lab.train.load import load_step

        if not self.watch.began:
            run = Run(path)
            step = max(run.checkpoints())
            self.watch.model = load_step(run, step)
            self.watch(step)

    def fired(self) -> list[Alert]:
        """The alerts that stop the training, and are on."""
        return self.watch.stops


def probe_images(config: Config, count: int) -> dict[str, Tensor]:
    """One batch of the run's own test images, as its model takes them: the same for every run on these images."""
    from collapse_lab.data.source import normalise, open_images

    images = open_images(config.data.uri, "test", config.data.size)
    chosen = images.batch(images.sample(count, seed=0))
    pixels = normalise(chosen.image, config.data.mean, config.data.std)
    return {"image": pixels, "label": chosen.label, "id": chosen.id}
