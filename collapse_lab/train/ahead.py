"""Reading a few steps ahead in a thread: what a step sees is the same, only sooner there."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")


def ahead(read: Callable[[Asked], Answer], asked: Iterable[Asked], depth: int = 2) -> Iterator[Answer]:
    """`read` of each that is asked, in order, up to `depth` of them early.

    What `read` raises is raised where its answer would have come. Ending early waits for no more than one reading.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="ahead") as pool:
        waiting: deque[Future[Answer]] = deque()
        try:
            for each in asked:
                waiting.append(pool.submit(read, each))
                if len(waiting) > depth:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
