"""Whether the tests of the metrics notice a wrong metric: a random sample of small changes, each run against them.

A mutant is one module of `metrics/` with one operator, comparison, number, condition or reduction changed; it dies when
a test fails, errs or hangs. Only the tests of that module run: its own file, and the properties of the whole registry.
Mutants are drawn evenly over all places with a stated seed. A survivor is printed with its line: a person says whether
it is the same function in other words, or a hole in the tests.
"""

from __future__ import annotations

import ast
import contextlib
import copy
import importlib.abc
import importlib.machinery
import importlib.util
import io
import multiprocessing
import os
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.claims import Claim, main

ROOT = Path(__file__).parents[1]
MODULES = ("spectrum", "channels", "similarity")
SAMPLE, SEED, SECONDS = 150, 0, 120

SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.Pow: ast.Mult,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.USub: ast.UAdd,
}
NAMES = {"sum": "mean", "mean": "sum", "min": "max", "max": "min", "any": "all", "all": "any", "minimum": "maximum"}


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One change of one module; `text` is the whole of it."""

    module: str
    line: int
    change: str
    text: str


def mutants_of(module: str, source: str) -> list[Mutant]:
    """Every mutant of a module's source."""
    tree = ast.parse(source)
    found = []
    for place, node in enumerate(ast.walk(tree)):
        for change, apply in _changes(node):
            changed = copy.deepcopy(tree)
            apply(next(twin for number, twin in enumerate(ast.walk(changed)) if number == place))
            text = ast.unparse(ast.fix_missing_locations(changed))
            line = getattr(node, "lineno", 0)
            found.append(Mutant(module=module, line=line, change=change, text=text))
    return found


def _changes(node: ast.AST) -> Iterator[tuple[str, Callable[[Any], None]]]:
    """What can be changed at one node: in words, and as a function on its twin in a copy of the tree."""
    if isinstance(node, ast.BinOp | ast.UnaryOp | ast.BoolOp) and type(node.op) in SWAPS:
        other = SWAPS[type(node.op)]
        yield f"{ast.unparse(node)}: {other.__name__}", lambda twin: setattr(twin, "op", other())
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield f"{ast.unparse(node)}: not not", lambda twin: setattr(twin, "operand", _negated(twin.operand))
    if isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPS:
        swapped = SWAPS[type(node.ops[0])]
        yield f"{ast.unparse(node)}: {swapped.__name__}", lambda twin: twin.ops.__setitem__(0, swapped())
    if isinstance(node, ast.If | ast.IfExp):
        for value in (True, False):
            words = f"if {ast.unparse(node.test)}: {value}"
            yield words, lambda twin, value=value: setattr(twin, "test", ast.Constant(value))
    if isinstance(node, ast.Attribute) and node.attr in NAMES:
        name = NAMES[node.attr]
        yield f"{ast.unparse(node)}: {name}", lambda twin: setattr(twin, "attr", name)
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
        other_value = node.value + 1 if isinstance(node.value, int) else node.value * 2
        yield f"{node.value!r}: {other_value!r}", lambda twin: setattr(twin, "value", other_value)


def _negated(node: ast.expr) -> ast.expr:
    return ast.UnaryOp(ast.Not(), node)


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Gives one module another source."""

    def __init__(self, name: str, text: str) -> None:
        self.name, self.text = name, text

    def find_spec(self, name: str, *_: object) -> importlib.machinery.ModuleSpec | None:
        return importlib.util.spec_from_loader(name, self) if name == self.name else None

    def get_source(self, _: str) -> str:
        return self.text


def run_tests(mutant: Mutant) -> None:
    """In a process of its own: exits with what pytest says of the mutant, 0 = alive."""
    import pytest

    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    sys.meta_path.insert(0, _Finder(f"collapse_lab.metrics.{mutant.module}", mutant.text))
    tests = [f"tests/metrics/test_{mutant.module}.py", "tests/metrics/test_properties.py"]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        code = pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *tests])
    os._exit(int(code))


def dies(mutant: Mutant) -> bool:
    """Whether any test notices."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "numpy", "scipy.stats", "sklearn.metrics"])
    process = context.Process(target=run_tests, args=(mutant,))
    process.start()
    process.join(SECONDS)
    if process.exitcode is None:  # a loop without end is noticed as well
        process.kill()
        process.join()
    return process.exitcode != 0


def unchanged(module: str) -> Mutant:
    """A module as it is, written as mutants are."""
    source = (ROOT / "collapse_lab" / "metrics" / f"{module}.py").read_text(encoding="utf-8")
    return Mutant(module=module, line=0, change="", text=ast.unparse(ast.parse(source)))


def sample(count: int) -> list[Mutant]:
    """`count` mutants of all three modules, each equally likely."""
    every = []
    for module in MODULES:
        every += mutants_of(module, (ROOT / "collapse_lab" / "metrics" / f"{module}.py").read_text(encoding="utf-8"))
    return random.Random(SEED).sample(every, min(count, len(every)))


def measure(quick: bool) -> Sequence[Claim]:
    """A smaller sample in quick form."""
    os.environ["OMP_NUM_THREADS"] = "1"
    for module in MODULES:  # else everything would seem to die
        if dies(unchanged(module)):
            raise RuntimeError(f"the tests of {module} fail without any change; nothing can be said of mutants")
    chosen = sample(24 if quick else SAMPLE)
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        dead = list(pool.map(dies, chosen))
    for mutant, died in zip(chosen, dead, strict=True):
        if not died:
            print(f"alive: {mutant.module}.py line {mutant.line}: {mutant.change}")
    share = sum(dead) / len(dead)
    return [Claim(name="mutants_killed", value=share, unit="share", target=0.85, better="higher")]


if __name__ == "__main__":
    main(measure)
