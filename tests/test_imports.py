"""The law of the house: imports point down, and from the module that defines the name."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = "collapse_lab"
SOURCE = Path(__file__).parents[1] / PACKAGE

BOTTOM = {"shapes", "registry", "runs", "draws", "ranks", "events", "parent", "markup"}
MAY_IMPORT: dict[str, set[str]] = {
    # The making column.
    "models": {"registry", "shapes", "runs", "draws"},  # runs for writing a file of weights atomically
    "objectives": {"models", "registry", "draws"},
    "data": {"registry", "runs", "draws", "parent"},
    "train": {"objectives", "data", "models", "registry", "runs", "draws", "ranks", "events"},
    # The looking column.
    "stats": {"shapes", "draws"},
    "metrics": {"stats", "registry", "draws"},
    "capture": {
        "stats",
        "shapes",
        "registry",
        "runs",
        "draws",
        "ranks",
        "markup",
    },  # the registry for the nearest name of a site
    "findings": {"metrics", "capture", "stats", "registry", "runs", "draws", "events", "markup"},
    "report": {"findings", "metrics", "capture", "stats", "runs", "draws", "registry"},
    # Who sees both.
    "study": {
        "train",
        "capture",
        "stats",
        "findings",
        "report",
        "data",
        "registry",
        "runs",
        "draws",
        "ranks",
        "parent",
    },
    **{room: set() for room in BOTTOM},
}
MAY_IMPORT["cli"] = set(MAY_IMPORT)
FACES = {"", "__main__"}  # the package's lazy table of public names, and its entry point


def modules() -> dict[str, Path]:
    """Dotted name -> file, for every module of the package."""
    files = sorted(SOURCE.rglob("*.py"))
    return {".".join(file.relative_to(SOURCE.parent).with_suffix("").parts): file for file in files}


def imported(text: str, known: set[str]) -> Iterator[str]:
    """Every module of the package that this source imports, wherever in it; NAME:WHAT for a name of an `__init__`."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == PACKAGE)
        elif isinstance(node, ast.ImportFrom) and node.level:
            yield "." * node.level + (node.module or "")
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == PACKAGE:
            for alias in node.names:
                inside = f"{node.module}.{alias.name}"
                is_module = inside in known or f"{inside}.__init__" in known
                is_package = f"{node.module}.__init__" in known
                yield inside if is_module else f"{node.module}:{alias.name}" if is_package else str(node.module)


def room_of(name: str) -> str:
    """The room a dotted name lies in: its second part; "" for the package's own `__init__`."""
    parts = name.partition(":")[0].split(".")
    return parts[1] if len(parts) > 1 and parts[1] != "__init__" else ""


def faults(name: str, text: str, known: set[str]) -> list[str]:
    """What breaks the law in one module."""
    room, found = room_of(name), []
    if room in FACES:
        return []
    if room not in MAY_IMPORT:
        return [f"{name}: the room {room!r} is not in the table"]
    for other in imported(text, known):
        if other.startswith("."):
            found.append(f"{name} imports {other!r} relatively")
        elif ":" in other or other == PACKAGE:
            found.append(f"{name} imports {other}, a name of a package's __init__; import the module that defines it")
        elif (target := room_of(other)) != room and target not in MAY_IMPORT[room]:
            found.append(f"{name} imports {other}, and {room} may not import {target}")
    return found


def test_imports_point_down():
    known = modules()
    found = [fault for name, file in known.items() for fault in faults(name, file.read_text("utf-8"), set(known))]
    assert found == []


def test_the_table_itself_has_no_cycle():
    left = {room: set(below) for room, below in MAY_IMPORT.items()}
    while left:
        bottom = {room for room, below in left.items() if not below & set(left) - {room}}
        assert bottom, f"a cycle among {sorted(left)}"
        left = {room: below for room, below in left.items() if room not in bottom}


KNOWN = {f"{PACKAGE}.{name}" for name in ("__init__", "draws", "stats", "models.__init__", "models.grid", "train.loop")}


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        ("metrics.spectrum", "from collapse_lab.models.grid import Grid", "metrics may not import models"),
        ("models.grid", "def late():\n    import collapse_lab.train.loop", "models may not import train"),
        ("models.grid", "if TYPE_CHECKING:\n    from collapse_lab.train import loop", "models may not import train"),
        ("train.loop", "from collapse_lab.models import build_model", "a name of a package's __init__"),
        ("train.loop", "from collapse_lab import capture", "a name of a package's __init__"),
        ("train.loop", "import collapse_lab", "a name of a package's __init__"),
        ("train.loop", "from .optim import adamw", "relatively"),
        ("draws", "from collapse_lab.stats import LayerStats", "draws may not import stats"),
        ("utils.misc", "", "the room 'utils' is not in the table"),
    ],
)
def test_a_planted_violation_is_found(name, text, fault):
    (found,) = faults(f"{PACKAGE}.{name}", text, KNOWN)
    assert fault in found


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("train.loop", "import torch\nfrom collapse_lab import draws\nfrom collapse_lab.models.grid import Grid"),
        ("models.grid", "from collapse_lab.models import grid"),
        ("__init__", "from collapse_lab.train.loop import train"),
        ("cli.train", "from collapse_lab.train.loop import train"),
    ],
)
def test_what_the_table_allows_is_allowed(name, text):
    assert faults(f"{PACKAGE}.{name}", text, KNOWN) == []


def test_the_law_is_held_against_real_modules():
    assert {f"{PACKAGE}.models.grid", f"{PACKAGE}.train.loop"} <= set(modules())


ANALYSES = Path(__file__).parents[1] / "analyses"


def private_uses(text: str) -> list[str]:
    """What a file outside the package takes from it beside the public names: `import collapse_lab as cl` is the way."""
    found = []
    for node in ast.walk(ast.parse(text)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        found += [name for name in names if name.startswith(f"{PACKAGE}.") or (name == PACKAGE and not _plain(node))]
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "cl":
            found += [] if node.attr in public_names() else [f"cl.{node.attr}"]
    return found


def _plain(node: ast.AST) -> bool:
    return isinstance(node, ast.Import) and [alias.asname for alias in node.names] == ["cl"]


def public_names() -> set[str]:
    import collapse_lab

    return set(collapse_lab.__all__)


def test_analyses_use_the_public_api_alone():
    files = sorted(ANALYSES.glob("*.py"))
    assert len(files) > 16
    assert {file.name: used for file in files if (used := private_uses(file.read_text("utf-8")))} == {}


@pytest.mark.parametrize(
    "text",
    [
        "from collapse_lab.stats.layer import LayerStats",
        "import collapse_lab.runs",
        "from collapse_lab import capture",
        "import collapse_lab",
        "import collapse_lab as cl\ncl.runs.Run",
    ],
)
def test_a_private_use_in_an_analysis_is_found(text):
    assert private_uses(text)
