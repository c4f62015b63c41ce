"""Ctrl-C, SIGTERM and a closed terminal ask a training run to finish its step; nothing is lost."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from collapse_lab.ranks import Ranks

ASKING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def noted() -> Iterator[list[int]]:
    """A list that SIGINT, SIGTERM and SIGHUP are appended to while the block runs; the handlers before it come back.

    A second SIGINT interrupts at once. Only the main thread can set handlers: elsewhere the list stays empty.
    """
    received: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        if number in received and number == signal.SIGINT:
            raise KeyboardInterrupt
        received.append(number)

    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    before = {number: signal.signal(number, note) for number in ASKING}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def agreed(received: list[int], stop: bool, ranks: Ranks) -> bool:
    """Whether any rank was asked to stop; what it received, all have received then."""
    asked = ranks.highest([int(stop), *(int(number in received) for number in ASKING)])
    received += [number for number, told in zip(ASKING, asked[1:], strict=True) if told and number not in received]
    return any(asked)


def obey(received: list[int]) -> None:
    """Do what was asked, once all is saved: KeyboardInterrupt for SIGINT, exit status 143 for SIGTERM, 129 SIGHUP."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if number in received:
            raise SystemExit(128 + number)
    if received:
        raise KeyboardInterrupt
