"""May this configuration work in this folder? A run never mixes two configurations or two data sets."""

from __future__ import annotations

import warnings
from typing import Any

from collapse_lab.data.source import Images
from collapse_lab.runs import Run, now, write_text
from collapse_lab.train.config import Config
from collapse_lab.train.nested import to_toml
from collapse_lab.train.resolve import Resolved, completed


def admit(run: Run, config: Resolved, images: Images) -> bool:
    """Open the folder for this run; True when the run in it is already finished.

    Raises ValueError showing both values where the run there has another configuration or other images.
    """
    fingerprint = images.fingerprint()
    if run.exists():
        record = run.read()
        refuse_another(run, record, config, fingerprint)
        _warn_of_passed(run, int(record.get("step", 0)), config.save.at)
        if record["status"] == "finished":
            return True
    # Also on going on: what does not decide the run (device, save.at, ...) may have changed.
    write_text(run.config, to_toml(config.model_dump(mode="json", exclude={"out"})))
    if not run.exists():
        data = {
            "name": images.name,
            "images": len(images),
            "classes": len(images.classes),
            "fingerprint": fingerprint,
            "skipped": list(images.skipped),
        }
        identity = config.identity()
        run.update(status="created", config=identity, seed=config.seed, steps=config.steps, data=data, created=now())
    return False


def _warn_of_passed(run: Run, step: int, at: tuple[int, ...]) -> None:
    passed = sorted(number for number in set(at) - set(run.checkpoints()) if number < step)
    if passed:
        note = f"{run.path} is at step {step} and has not kept its steps {passed}, which save.at asks for now"
        warnings.warn(f"{note}; train in a new folder to have them", stacklevel=4)


def refuse_another(run: Run, record: dict[str, Any], config: Config, fingerprint: str) -> None:
    """Raise ValueError, showing both values, where run.json is of another configuration or other images."""
    there = record.get("data", {}).get("fingerprint")
    # A run of an older version lacks the keys that came later; they are what it was: the defaults.
    found = _differences(completed(record.get("config", {})), config.identity())
    if there != fingerprint:
        found.append(f"fingerprint of the images = {there!r} there, {fingerprint!r} here")
    if found:
        raise ValueError(
            f"{run.path} holds a run of another configuration ({'; '.join(found)}); use another --out or delete it"
        )


def _differences(there: dict[str, Any], here: dict[str, Any], path: str = "") -> list[str]:
    found = []
    for name in sorted(set(there) | set(here)):
        old, new = there.get(name), here.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            found += _differences(old, new, f"{path}{name}.")
        elif old != new:
            found.append(f"{path}{name} = {old!r} there, {new!r} here")
    return found
