"""Configurations that come with the package, by name: train/recipes/*.toml."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from collapse_lab.registry import Registry
from collapse_lab.train.nested import laid_over

FOLDER = Path(__file__).parent / "recipes"
"""The recipes; in it `bases`, what several of them share."""


def recipes() -> Registry[Path]:
    """Name -> file, by name."""
    return Registry("recipe", {path.stem: path for path in sorted(FOLDER.glob("*.toml"))})


def about(path: Path) -> str:
    """The comments that a recipe opens with: what it is, its source, its command and the reported result."""
    lines = path.read_text(encoding="utf-8").splitlines()
    opening = next((place for place, line in enumerate(lines) if not line.startswith("#")), len(lines))
    return "\n".join(line.removeprefix("#").strip() for line in lines[:opening])


def read_recipe(path: Path) -> dict[str, Any]:
    """The values of a TOML file, or of a recipe by its name; a file that is there is meant before a recipe.

    `base = "NAME"` in it names a recipe, or one of `recipes/bases`, over which it is laid. Raises FileNotFoundError for
    a file that is not there, LookupError for an unknown recipe, with the nearest one.
    """
    values = _read(_found(path))
    base = values.pop("base", None)
    if base is None:
        return values
    shared = FOLDER / "bases" / f"{base}.toml"
    return laid_over(read_recipe(shared if shared.is_file() else recipes()[str(base)]), values)


def _found(path: Path) -> Path:
    if path.is_file():
        return path
    if path.suffix == ".toml" or len(path.parts) != 1:
        raise FileNotFoundError(
            f"there is no configuration file {path}; give a TOML file, such as a run's config.toml, "
            f"or the name of a recipe (see 'collapse-lab list recipes')"
        )
    return recipes()[path.name]


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path} is not TOML: {error}") from None
