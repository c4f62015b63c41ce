"""Nested values: laid over each other, changed by name, and written as TOML."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from typing import Any

RIVALS = {"steps": "epochs", "optim.lr": "optim.base_lr", "optim.warmup": "optim.warmup_epochs"}
"""Pairs that say one thing in two ways."""


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Nested values with nested changes laid over them; neither is changed."""
    result = {name: merged(value, {}) if isinstance(value, dict) else value for name, value in base.items()}
    for name, value in changes.items():
        inside = result.get(name)
        result[name] = merged(inside, value) if isinstance(inside, dict) and isinstance(value, dict) else value
    return result


def laid_over(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`merged`, where saying a thing in one way takes away the other way in which `base` says it (see RIVALS)."""
    kept = merged(base, {})
    make_way(kept, list(_leaves(changes)))
    return merged(kept, changes)


def make_way(values: dict[str, Any], names: list[str]) -> None:
    """Take out of `values` what the dotted `names`, which will be put there, say in another way."""
    for one, other in [*RIVALS.items(), *((other, one) for one, other in RIVALS.items())]:
        if one in names and other not in names:
            *sections, last = other.split(".")
            inside: Any = values
            for section in sections:
                inside = inside.get(section) if isinstance(inside, dict) else None
            if isinstance(inside, dict):
                inside.pop(last, None)


def to_toml(values: dict[str, Any], path: str = "") -> str:
    """Nested values of numbers, texts, flags and lists as TOML; None cannot be said in TOML and is left out."""
    inside = {name: value for name, value in values.items() if isinstance(value, dict)}
    plain = [f"{name} = {_toml(value)}" for name, value in values.items() if name not in inside and value is not None]
    tables = [f"\n[{path}{name}]\n{to_toml(value, f'{path}{name}.')}".rstrip() for name, value in inside.items()]
    return "\n".join(plain + tables) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return '"' + "".join(char if char.isprintable() else f"\\U{ord(char):08x}" for char in escaped) + '"'
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return repr(value)


def put(values: dict[str, Any], path: list[str], value: Any) -> None:
    """Set one value by its path; raises ValueError where a value stands in the way of a section."""
    for name in path[:-1]:
        values = values.setdefault(name, {})
        if not isinstance(values, dict):
            raise ValueError(f"--set {'.'.join(path)}: {name} is a value, not a section")
    values[path[-1]] = value


def as_value(text: str) -> Any:
    """What a text says in TOML, else the text itself."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _leaves(values: dict[str, Any], path: str = "") -> Iterator[str]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{path}{name}.")
        else:
            yield path + name
