"""The configuration that all analyses start from, and the runs that they share: see pool.toml."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import collapse_lab as cl
from analyses.command import Asked

Changes = Mapping[str, Any]
"""What an arm changes in the configuration, section by section."""

BASE: dict[str, Any] = tomllib.loads(Path(__file__).with_name("pool.toml").read_text(encoding="utf-8"))
STEPS: int = BASE["config"]["steps"]
CAPTURES: tuple[int, ...] = tuple(BASE["captures"])
SITES: tuple[str, ...] = tuple(BASE["sites"])
ARMS: dict[str, Changes] = {arm: changes.get("config", {}) for arm, changes in BASE["arms"].items()}
FACTORS: dict[str, dict[str, bool]] = {arm: changes["factors"] for arm, changes in BASE["arms"].items()}
V1, V2, PLAIN = ARMS["V1"], ARMS["V2"], ARMS["V1 without LayerScale"]

SUPERVISED: Changes = {"name": "supervised", "label_smoothing": 0.1}
SIMSIAM: Changes = {"name": "simsiam", "projector_dim": 128, "predictor_dim": 32}
VICREG: Changes = {"name": "vicreg", "expander_dim": 256, "embedding_dim": 256}
UNCROPPED: Changes = {"data": {"crop": "none", "flip": False}}
"""For what makes views of its own, and for images that a crop or a mirror makes into others."""
BLOCKS = ("kind:block", "kind:act")
"""The kinds of sites that a ViT has too."""

QUICK_STEPS = 2
QUICK: Changes = {
    "steps": QUICK_STEPS,
    "device": "cpu",
    "log_every": 1,
    "model": {"name": "convnext_digits", "widths": [4, 8, 16]},
    "objective": {"decoder_dim": 8},
    "data": {"size": 16, "batch": 32},
    "optim": {"warmup": 0},
}
QUICK_SITES = {"kind:block": "*.blocks.2", "kind:act": "*.blocks.2.act", "kind:response": "*.blocks.2.response"}
"""The same kinds of sites, at one block."""


def study_of(
    asked: Asked,
    *,
    title: str,
    baseline: str,
    arms: Mapping[str, Changes],
    factors: Mapping[str, Mapping[str, bool]] | None = None,
    sites: Sequence[str] = SITES,
    over_training: bool = False,
    steps: int = STEPS,
    data: str = "",
    seeds: Sequence[int] = (),
) -> cl.Study:
    """A study whose arms change the base configuration; measured at the last step, or at the pool's over training.

    `data` and `seeds` are those that were asked for, unless it says others.
    """
    config = _laid_over(BASE["config"], {"steps": steps, "data": {"uri": data or asked.data}})
    captures = CAPTURES if over_training else (steps,)
    if asked.quick:
        config = _laid_over(config, QUICK)
        captures = (0, QUICK_STEPS) if over_training else (QUICK_STEPS,)
        sites = [QUICK_SITES.get(site, site) for site in sites]
    return cl.Study.model_validate(
        {
            "name": asked.name,
            "title": title,
            "baseline": baseline,
            "seeds": tuple(seeds) or asked.seeds,
            "captures": captures,
            "checkpoints": BASE["checkpoints"] if over_training else "last",
            "sites": tuple(sites),
            "config": config,
            "arms": {
                arm: {"config": dict(changes), "factors": dict((factors or {}).get(arm, {}))}
                for arm, changes in arms.items()
            },
        }
    )


def carry_out(study: cl.Study, asked: Asked) -> cl.Comparison:
    """Train and measure what is missing, telling how far it is, and compare the arms.

    A second call goes on where the first one stopped. Arms of the pool are measured at the pool's steps first, whoever
    asks for them: a finished run keeps its last step alone, so that could not be made up for later.
    """
    pool = study_of(asked, title=BASE["title"], baseline=BASE["baseline"], arms=ARMS, over_training=True)
    wanted = [own.config for own in study.arms.values()]
    shared = {arm: own for arm, own in pool.arms.items() if own.config in wanted}
    if shared and study.config == pool.config and study.captures != pool.captures:
        first = {"arms": shared, "baseline": next(iter(shared)), "seeds": study.seeds}
        _run(pool.model_copy(update=first), asked)
    return _run(study, asked)


def _run(study: cl.Study, asked: Asked) -> cl.Comparison:
    """A quick study trains in this process, one run after another."""
    told: list[int] = []

    def tell(progress: Any) -> None:
        if progress.finished not in told:
            told.append(progress.finished)
            print(f"{study.name}: {progress.finished} of {progress.runs} runs", flush=True)

    return cl.run_study(study, asked.runs, at_once=0 if asked.quick else asked.at_once, on_progress=tell)


def vit(asked: Asked) -> Changes:
    """MAE with a ViT of patches of 4 pixels, as wide as the last stage of the pool's networks."""
    width, depth = ([12], 3) if asked.quick else ([96], 6)
    unsaid = {"response": "published", "layer_scale": "published"}
    decoder = {"decoder_dim": 12 if asked.quick else 64, "decoder_depth": 2, "decoder_heads": 4}
    return {
        "model": {"name": "vit_tiny", "patch": 4, "widths": width, "depth": depth, **unsaid},
        "objective": {"name": "mae", **decoder},
    }


def by_family(arms: Mapping[str, Changes]) -> list[dict[str, Changes]]:
    """ConvNeXts and ViTs apart: they have no site in common, so each family is a study of its own."""
    vits = [arm for arm, changes in arms.items() if changes.get("model", {}).get("name", "").startswith("vit")]
    families = [{arm: own for arm, own in arms.items() if (arm in vits) is chosen} for chosen in (False, True)]
    return [family for family in families if family]


def with_objective(changes: Changes, objective: Changes) -> Changes:
    """The same network, learning something else."""
    return {**changes, "objective": objective}


def _laid_over(base: Changes, changes: Changes) -> dict[str, Any]:
    result = dict(base)
    for name, value in changes.items():
        inside = result.get(name)
        result[name] = _laid_over(inside, value) if isinstance(inside, dict) and isinstance(value, dict) else value
    return result
