"""The command line: which commands there are, and what an error becomes. Nothing heavy is imported before its use."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from typing import NoReturn

import typer

from collapse_lab.cli import (
    analyze,
    baselines,
    capture,
    compare,
    convert,
    data,
    doctor,
    explain,
    figure,
    lists,
    merge,
    probe,
    reconstruct,
    report,
    runs,
    study,
    train,
)
from collapse_lab.runs import is_full

EXIT_ERROR, EXIT_USAGE, EXIT_EXTRA, EXIT_BAD_INPUT = 1, 2, 3, 4
EXIT_RESUMABLE, EXIT_BY_HAND = 75, 130

app = typer.Typer(
    name="collapse-lab",
    help="Whether, where, when and why the features of a vision network collapse.",
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    train.train,
    runs.runs,
    capture.capture,
    merge.merge,
    analyze.analyze,
    explain.explain,
    compare.compare,
    probe.probe,
    baselines.baselines,
    convert.convert,
    report.report,
    figure.figure,
    reconstruct.reconstruct,
    doctor.doctor,
    study.study,
    study.demo,
):
    app.command()(command)
app.add_typer(data.app, name="data")
app.add_typer(lists.app, name="list")


@app.callback()
def options(debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error.")) -> None:
    """Whether, where, when and why the features of a vision network collapse."""
    if debug:
        os.environ["COLLAPSE_LAB_DEBUG"] = "1"


def main() -> NoReturn:
    """Run the command line and exit: 0 done, 1 error, 2 usage, 3 missing extra, 4 bad data or configuration,
    5 a finding that --fail-on names, 75 interrupted and resumable, 130 interrupted by hand, 143 terminated."""
    warnings.showwarning = _say_warning
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _terminate)
    try:
        code = app(standalone_mode=False) or 0
    except (KeyboardInterrupt, typer.Abort):
        code = EXIT_BY_HAND
    except Exception as error:
        if os.environ.get("COLLAPSE_LAB_DEBUG"):
            raise
        _stop(*_explain(error))
    if code == EXIT_BY_HAND:
        _stop("interrupted; the same command goes on where it stopped", code)
    sys.exit(code)


def _terminate(number: int, _: object) -> NoReturn:
    """End as any exit does, so that what is under way is saved and processes below are stopped."""
    print("collapse-lab: terminated; the same command goes on where it stopped", file=sys.stderr)
    raise SystemExit(128 + number)


def _explain(error: Exception) -> tuple[str, int]:
    """What an error means to the user, and the exit code."""
    usage = getattr(error, "format_message", None)
    if callable(usage):
        return f"{usage()} (see --help)", EXIT_USAGE
    text = str(error.args[0]) if isinstance(error, LookupError) and error.args else str(error)
    if isinstance(error, ImportError):
        return text, EXIT_EXTRA
    if is_full(error):
        return f"{text}; make room, the same command goes on where it stopped", EXIT_RESUMABLE
    if isinstance(
        error, ValueError | LookupError | TypeError | FileNotFoundError | FileExistsError | NotADirectoryError
    ):
        return text, EXIT_BAD_INPUT
    if isinstance(error, MemoryError) or "can't allocate memory" in text:
        return "there is not enough memory; take a smaller data.size or data.batch, or more parts a step", EXIT_ERROR
    return text or type(error).__name__, EXIT_ERROR


def _stop(message: str, code: int) -> NoReturn:
    print(f"collapse-lab: {message}", file=sys.stderr)
    sys.exit(code)


def _say_warning(message: Warning | str, *_: object, **__: object) -> None:
    print(f"collapse-lab: warning: {message}", file=sys.stderr)
