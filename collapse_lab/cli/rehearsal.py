"""collapse-lab train --dry-run"""

from __future__ import annotations

from typing import TYPE_CHECKING

from collapse_lab.cli import output

if TYPE_CHECKING:
    from collapse_lab.train.config import Config
    from collapse_lab.train.resolve import Resolved


def show(config: Config, json: bool) -> None:
    """The resolved configuration, and what a run of it would take."""
    from collapse_lab.train.nested import to_toml
    from collapse_lab.train.rehearse import rehearse

    found = rehearse(config)
    values = found.config.model_dump(mode="json")
    facts = {name: value for name, value in vars(found).items() if name != "config"}
    if json:
        output.print_json("dry run", config=values, **facts)
        return
    print(to_toml(values))
    ranks, parts = found.ranks, found.parts
    batch = " x ".join(map(str, found.shape))
    rows = [
        ("learning rate", _rates(found.config)),
        ("parameters", f"{found.parameters:,}"),
        ("images", f"{found.images:,}"),
        ("first batch", f"{batch}, {parts} part(s) a step on each of {ranks} process(es)"),
        *((f"memory: {name}", _size(size)) for name, size in found.memory.items()),
        ("memory in all", f"{_size(sum(found.memory.values()))} a process on {found.device}, libraries apart"),
    ]
    output.print_table("a run of this configuration", ("what", "value"), rows)


def _rates(config: Resolved) -> str:
    """The peak and when it is reached, or how far a run gets that ends before."""
    lr, warmup, steps = config.optim.lr, config.optim.warmup, config.steps
    if warmup < steps:
        return f"{lr:.3g} after {warmup} of {steps} steps, then down to {config.optim.min_lr:.3g}"
    return f"up to {config.rate(steps - 1):.3g} of {lr:.3g}: the run ends in its warm-up of {warmup} steps"


def _size(size: int) -> str:
    return f"{size / 1e6:,.1f} MB" if size < 1e9 else f"{size / 1e9:,.2f} GB"
