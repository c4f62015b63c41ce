"""Ctrl-C and SIGTERM ask a training run to finish its step; nothing is lost."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def noted() -> Iterator[list[int]]:
    """A list that SIGINT and SIGTERM are appended to while the block runs; the handlers before it come back.

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
    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def obey(received: list[int]) -> None:
    """Do what was asked, once all is saved: KeyboardInterrupt for SIGINT, exit status 143 for SIGTERM."""
    if signal.SIGTERM in received:
        raise SystemExit(128 + signal.SIGTERM)
    if received:
        raise KeyboardInterrupt
