"""The command line that all analyses have."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from analyses.quick import few_digits

EXIT_REFUSED, EXIT_BY_HAND = 4, 130
DATA = "packed:packs/cifar10-12k"
"""CIFAR-10, as pool.toml says to pack it."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What one call of an analysis is to do.

    `data` is an address of images, `runs` the folder of runs that all analyses share, `out` that of the answer,
    `at_once` the number of runs that train side by side. `quick`: two steps of 32 images, to see that it works.
    """

    name: str
    question: str
    data: str
    runs: Path
    out: Path
    seeds: tuple[int, ...]
    at_once: int
    quick: bool


@contextmanager
def command(name: str, question: str | None) -> Iterator[Asked]:
    """What is asked, and how an error ends: in a sentence and exit code 4, a stop by hand in one and exit code 130."""
    try:
        yield read_command(name, question)
    except KeyboardInterrupt:
        _stop("interrupted; the same command goes on where it stopped", EXIT_BY_HAND)
    except (ValueError, LookupError, OSError, RuntimeError) as error:
        _stop(str(error.args[0]) if isinstance(error, LookupError) and error.args else str(error), EXIT_REFUSED)


def _stop(said: str, code: int) -> NoReturn:
    print(f"analyses: {said}", file=sys.stderr)
    raise SystemExit(code) from None


def read_command(name: str, question: str | None, words: Sequence[str] | None = None) -> Asked:
    """What the command line says; `question` is the text that stands at the head of the analysis.

    In an interactive window, whose command line is not ours, everything is as without options. A quick call answers
    nothing, so it writes beside the answers, into reports/quick, and its runs lie apart from real ones.
    """
    if words is None:
        words = [] if "ipykernel" in sys.modules else sys.argv[1:]
    text = (question or "").strip()
    parser = argparse.ArgumentParser(
        prog=f"python -m analyses.{name}", description=text, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="two steps of 32 images, one seed: does it run")
    parser.add_argument("--data", help=f"address of the images ({DATA}; with --quick some digits)")
    parser.add_argument("--runs", type=Path, help="folder of runs; finished ones are used again (runs/pool)")
    parser.add_argument("--out", type=Path, help=f"folder of the answer (reports/{name})")
    parser.add_argument("--seeds", type=_count, help="seeds of each arm (3)")
    parser.add_argument("--at-once", type=_count, default=2, help="runs that train side by side (2)")
    given = parser.parse_args(words)
    runs = given.runs or Path("runs", "quick" if given.quick else "pool")
    return Asked(
        name=name,
        question=text,
        data=given.data or (str(few_digits(runs / "images")) if given.quick else DATA),
        runs=runs,
        out=given.out or (Path("reports", "quick", name) if given.quick else Path("reports", name)),
        seeds=tuple(range(given.seeds or (1 if given.quick else 3))),
        at_once=given.at_once,
        quick=given.quick,
    )


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number of 1 or more, got {text!r}")
    return int(text)
