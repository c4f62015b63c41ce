"""Processes that decode: how many, and blocks of encoded images through them in order."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import Any, TypeVar

from collapse_lab.data.decode import Content, serve

T = TypeVar("T")


def decoders(workers: int | None) -> Executor:
    """So many processes, one a core for None; 0: this one. They end with the process that asked for them."""
    if workers == 0:
        return _Here()
    context = multiprocessing.get_context("spawn")  # a fork would inherit torch's locks, and no thread that opens them
    pool = ProcessPoolExecutor(workers or _cores(), mp_context=context, initializer=serve)
    with _ctrl_c_left_to_this_process():
        for _ in range(workers or _cores()):
            pool.submit(os.getpid)  # each starts one
    return pool


def blocks_of(
    contents: Iterator[Content], at_once: int, task: Callable[..., T], pool: Executor, *settings: Any
) -> Iterator[tuple[int, T]]:
    """Number of images and `task(images, *settings)` of each block of `at_once`, in order; a few run ahead."""
    ahead: deque[tuple[int, Future[T]]] = deque()
    while chunk := list(islice(contents, at_once)):
        ahead.append((len(chunk), pool.submit(task, chunk, *settings)))
        if len(ahead) > 2 * _cores():
            count, answer = ahead.popleft()
            yield count, answer.result()
    for count, answer in ahead:
        yield count, answer.result()


@contextmanager
def _ctrl_c_left_to_this_process() -> Iterator[None]:
    """Processes started inside ignore Ctrl-C from the first: one that still imports would print a traceback."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Here(Executor):
    """Does what is submitted at once, in this process."""

    def submit(self, task: Callable[..., Any], /, *given: Any, **named: Any) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(task(*given, **named))
        return done
