"""Whether the tests of the metrics notice a wrong metric: a random sample of small changes, each run against them.

A mutant is one module of `metrics/` with one operator, comparison, number, condition, reduction or elementwise call
changed; it dies when a test fails, errs or hangs. Only the tests of that module run: its own file, and the properties
of the whole registry. Mutants are drawn evenly over all places with a stated seed. A survivor is printed with its line:
a person says whether it is the same function in other words, or a hole in the tests (`results/` holds the verdicts).
`--again FILE` runs the survivors that an earlier run printed, after the tests have changed.
"""

from __future__ import annotations

import argparse
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
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from benchmarks.claims import Claim, main

ROOT = Path(__file__).parents[1]
MODULES = ("spectrum", "channels", "similarity")
ELSEWHERE = ("decay", "correlation", "pairs", "spatial", "embedding", "gate", "labels")
SAMPLE, SAMPLE_ELSEWHERE, QUICK, SEED, SECONDS = 150, 60, 24, 0, 240

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
PAIRS = (("sum", "mean"), ("min", "max"), ("any", "all"), ("minimum", "maximum"), ("amin", "amax"))
NAMES = {name: other for pair in PAIRS for name, other in (pair, pair[::-1])}
ELEMENTWISE = ("abs", "square", "sqrt", "exp")
"""Calls without an argument that are left out."""


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One change of one module; `text` is the whole of it."""

    module: str
    line: int
    change: str
    text: str

    def __str__(self) -> str:
        return f"{self.module}.py line {self.line}: {self.change}"


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
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("min", "max"):
        builtin = NAMES[node.func.id]
        yield f"{ast.unparse(node)}: {builtin}", lambda twin: setattr(twin.func, "id", builtin)
    if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in ELEMENTWISE and not node.args:
        yield f"{ast.unparse(node)}: without {node.func.attr}", _leave_out
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
        other_value = node.value * 2 if isinstance(node.value, float) and node.value else node.value + 1
        yield f"{node.value!r}: {other_value!r}", lambda twin: setattr(twin, "value", other_value)


def _leave_out(call: Any) -> None:
    """`x.abs()` becomes `x.clone()`: the call stays and does nothing."""
    call.func.attr = "clone"


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


def fate(mutant: Mutant) -> Literal["alive", "dead", "hung"]:
    """Whether any test notices; one that does not end within `SECONDS` is noticed as well."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "numpy", "scipy.stats", "sklearn.metrics"])
    process = context.Process(target=run_tests, args=(mutant,))
    process.start()
    process.join(SECONDS)
    if process.exitcode is None:
        process.kill()
        process.join()
        return "hung"
    return "dead" if process.exitcode else "alive"


def source_of(module: str) -> str:
    return (ROOT / "collapse_lab" / "metrics" / f"{module}.py").read_text(encoding="utf-8")


def unchanged(module: str) -> Mutant:
    """A module as it is, written as mutants are."""
    return Mutant(module=module, line=0, change="", text=ast.unparse(ast.parse(source_of(module))))


def sample(modules: Sequence[str], count: int, seed: int) -> list[Mutant]:
    """`count` mutants of all these modules, each equally likely."""
    every = [mutant for module in modules for mutant in mutants_of(module, source_of(module))]
    print(f"{min(count, len(every))} of {len(every)} mutants of {', '.join(modules)}; seed {seed}")
    return random.Random(seed).sample(every, min(count, len(every)))


def printed(text: str) -> list[Mutant]:
    """The mutants that an earlier run called alive; raises ValueError where a module has changed since."""
    names = re.findall("^alive: (.*)$", text, re.MULTILINE)
    modules = sorted({name.partition(".py line ")[0] for name in names})
    every = [mutant for module in modules for mutant in mutants_of(module, source_of(module))]
    if missing := set(names) - {str(mutant) for mutant in every}:
        raise ValueError(f"the modules have changed since: there is no mutant {min(missing)!r}")
    return [mutant for mutant in every if str(mutant) in names]


def killed(chosen: Sequence[Mutant]) -> float:
    """The share of mutants that a test notices; the others are printed."""
    for module in sorted({mutant.module for mutant in chosen}):  # else everything would seem to die
        if fate(unchanged(module)) != "alive":
            raise RuntimeError(f"the tests of {module} fail without any change; nothing can be said of mutants")
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        fates = []
        for mutant, found in zip(chosen, pool.map(fate, chosen), strict=True):
            fates.append(found)
            if found != "dead":
                print(f"{found}: {mutant}", flush=True)
    return 1 - fates.count("alive") / len(fates)


def measure(quick: bool, *, seed: int = SEED, again: Path | None = None) -> Sequence[Claim]:
    """A smaller sample in quick form, or the survivors of an earlier run."""
    os.environ["OMP_NUM_THREADS"] = "1"
    claim = partial(Claim, unit="share", better="higher")
    if again:
        share = killed(printed(again.read_text(encoding="utf-8")))
        return [claim(name="survivors_killed", value=share, target=None)]
    share = killed(sample(MODULES, QUICK if quick else SAMPLE, seed))
    claims = [claim(name="mutants_killed", value=share, target=0.85)]
    if not quick:
        share = killed(sample(ELSEWHERE, SAMPLE_ELSEWHERE, seed))
        claims.append(claim(name="mutants_killed_elsewhere", value=share, target=None))
    return claims


if __name__ == "__main__":
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--seed", type=int, default=SEED, help="of the sample")
    parser.add_argument("--again", type=Path, metavar="FILE", help="only the survivors that this file holds")
    options, _ = parser.parse_known_args()
    main(partial(measure, seed=options.seed, again=options.again), parents=[parser])
